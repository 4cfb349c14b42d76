"""The page's fine-tuning with the very recipe: three short songs and the model that ships."""

import pytest

from musicgen_train.app.device_queue import DeviceQueue
from musicgen_train.app.finetune_options import FinetuneOptions
from musicgen_train.app.finetunings import Finetunings
from musicgen_train.app.models import ModelShelf
from musicgen_train.app.runs import find_evaluations, table
from tests.app.finetunings_here import dropped, ended, until, wav

pytestmark = pytest.mark.slow
LONG = 900.0  # seconds


def end(job):
    return until(lambda: None if (status := job.status()).active else status, LONG)


def test_songs_become_a_model_with_estimate_captions_stop_and_resume(tmp_path):
    songs = dropped(tmp_path, [])
    for number, hertz in enumerate((110, 220, 440)):
        upload = wav(tmp_path / "uploads/upload.wav", seconds=17, rate=16_000, hertz=hertz)
        songs.add(upload, f"song {number} 🎵.wav")
    shelf = ModelShelf(["tiny"], runs_dir=tmp_path / "runs", device="cpu")
    job = Finetunings(tmp_path / "runs", DeviceQueue(), shelf, "cpu").create("mine", songs)
    asked = {
        "base": "tiny", "trigger": "my 'style', {x}=1 🎵", "separator": "none", "rank": 2,
        "steps": 12, "batch_size": 2, "prior_share": 0.0, "clips": 2,
    }  # fmt: skip

    job.start(FinetuneOptions(goal="estimate", **asked))
    status = end(job)
    assert status.state == "new" and status.plan is not None and status.plan.songs == 3, status
    assert status.plan.total_seconds > 0 and status.plan.memory and status.plan.steps == 12

    job.start(FinetuneOptions(goal="captions", **asked))
    status = end(job)
    assert status.state == "done", status
    assert {song.state for song in status.songs} == {"prepared"} and len(status.songs) == 3
    assert job.save_captions({row.song: "a calm triangle" for row in job.captions()}) == 3

    job.start(FinetuneOptions(**asked))
    until(lambda: job.losses() or not job.status().active, LONG)
    job.stop()
    assert end(job).state == "stopped"
    job.start(job.options())
    status = end(job)
    assert (status.state, status.message) == ("done", ""), status
    assert [stage.state for stage in status.stages] == ["done"] * 9
    assert [step for step, _ in job.losses()][-1] == 11 and len(job.training_samples()) >= 4
    texts = [pair.text for pair in job.samples() if pair.kind == "style"]
    assert texts == ["my 'style', {x}=1 🎵, a calm triangle"] * 2
    assert all(pair.before and pair.after for pair in job.samples())

    label = job.result().label
    assert label in shelf.choices() and label in shelf.adapters_of("tiny")
    assert job.packed("adapter", tmp_path / "out").stat().st_size > 1000
    assert job.packed("report", tmp_path / "out").stat().st_size > 10_000
    evaluations = find_evaluations(tmp_path / "runs")
    assert [run.label for run in evaluations] == ["mine, before", "mine, after"]
    assert table(evaluations).rows


def test_a_song_that_nothing_is_left_of_fails_in_one_line(tmp_path):
    songs = dropped(tmp_path, ["short.wav"])
    shelf = ModelShelf(["tiny"], runs_dir=tmp_path / "runs", device="cpu")
    job = Finetunings(tmp_path / "runs", DeviceQueue(), shelf, "cpu").create("mine", songs)
    job.start(FinetuneOptions(separator="none"))
    status = end(job)
    assert status.state == "failed" and str(tmp_path) not in status.message + status.log, status
    assert "\n" not in status.message and "short" in status.message
    assert ended(job).state == "failed"
