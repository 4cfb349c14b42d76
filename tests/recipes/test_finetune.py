"""A fine-tuning from songs to report, in miniature; and what goes wrong with songs."""

import json
import os
import shutil

import pytest

from musicgen_train.data.audio import read_audio
from musicgen_train.data.index import load_index
from musicgen_train.data.shards import ShardReader
from musicgen_train.errors import UserError
from musicgen_train.formats import load_lm, load_musicgen
from recipes.finetune import finetune
from recipes.finetuning.captions import read_captions
from recipes.finetuning.run_folder import RunFolder
from tests.recipes.finetuning_songs import base, settings, song, songs, t5_base

RUN = RunFolder("mine")
STAGES = (
    "prepare", "tokenize", "captions", "prior", "train", "samples", "evaluate", "export", "report",
)  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a finished fine-tuning of six songs with an adapter."""
    folder = tmp_path_factory.mktemp("finetuning")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        songs(folder / "songs", 6, about={"genre": "folk"})
        base(folder / "base")
        finetune(settings("songs", "base", name="mine", method="lora", trigger="my style"))
    return folder


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A fresh folder to run in, with a base."""
    monkeypatch.chdir(tmp_path)
    base(tmp_path / "base")
    return tmp_path


@pytest.fixture
def again(finished, tmp_path, monkeypatch):
    """A copy of the finished fine-tuning, and a function that runs it again."""
    shutil.copytree(finished, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    chosen = {"name": "mine", "method": "lora", "trigger": "my style"}
    RUN.owner.write_text(json.dumps({"input_dir": str(tmp_path / "copy" / "songs")}))
    return lambda **more: finetune(settings("songs", "base", **chosen | more))


def done(capsys):
    """Stages by what the last run said: done already, or done."""
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[")]
    return {stage: line.endswith("done already") for stage, line in zip(STAGES, lines, strict=True)}


def texts(dataset):
    index = load_index(dataset)
    reader = ShardReader(index)
    rows = [json.loads(reader.read(row, "json")) for row in range(len(index))]
    return [(row["track_id"], row.get("description", ""), row) for row in rows]


def test_one_command_makes_everything(finished, monkeypatch):
    monkeypatch.chdir(finished)
    made = {path.name for path in RUN.path.iterdir() if not path.name.startswith(".")}
    assert {"captions.jsonl", "codes", "prior", "samples", "evaluation", "model", "adapter"} <= made
    page = (RUN / "report/index.html").read_text()
    assert "my style" in page and page.count("<audio") == 2 * 3 + 2 * 2
    status = json.loads(RUN.status.read_text())
    assert status["state"] == "done" and [s["state"] for s in status["stages"]] == ["done"] * 9
    assert {s["state"] for s in status["songs"]} == {"prepared"} and len(status["songs"]) == 6
    assert not list(RUN.path.glob(".*.partial")) and not list(RUN.path.rglob("*.part"))


def test_an_estimate_says_what_it_would_take_and_begins_nothing(place):
    songs(place / "songs")
    finetune(settings("songs", "base", name="mine", estimate=True))
    told = json.loads(RUN.estimate.read_text())
    assert told["state"] == "done" and len(told["estimate"]) == 9
    plan = told["plan"]
    assert (plan["songs"], plan["music_seconds"], plan["steps"]) == (3, 12.0, 4)
    assert plan["memory"] > 1e9 and plan["segment_duration"] == 1.0
    assert sorted(path.name for path in RUN.path.iterdir()) == ["estimate.json", "finetune.json"]


def test_music_of_a_caption_is_heard_at_each_quarter_of_the_training(finished):
    run = finished / "runs/mine"
    [text] = json.loads((run / "training_texts.json").read_text())["texts"]
    assert text.startswith("my style, ")
    clips = {path.parent.name for path in run.glob("training/samples/step_*/prompt_0.flac")}
    assert clips == {f"step_{step}" for step in (1, 2, 3, 4)}


def test_what_is_made_of_a_base_inherits_its_licence(finished):
    for file in ("model/config.json", "adapter/adapter.json"):
        assert json.loads((finished / RUN.path / file).read_text())["licence"] == "cc-by-nc-4.0"


def test_training_reads_the_trigger_and_the_bases_own_music_does_not(finished):
    run = finished / "runs/mine"
    for _, text, row in texts(run / "codes"):
        assert text.startswith("my style, ") and row["trigger"] == "my style"
    for _, text, row in texts(run / "prior"):
        assert text and "my style" not in text and "trigger" not in row


def test_held_out_songs_are_in_no_training_batch(finished):
    rows = texts(finished / "runs/mine/codes")
    split = {track: row["split"] for track, _, row in rows}
    assert sorted(split.values()) == ["train"] * 5 + ["valid"]


def test_before_and_after_have_the_same_texts_and_seeds_and_differ(finished):
    samples = finished / "runs/mine/samples"
    requests = [json.loads((samples / s / "request.json").read_text()) for s in ("before", "after")]
    models = [request.pop("model") for request in requests]
    assert requests[0] == requests[1] and models[0] != models[1]
    clips = [read_audio(samples / s / "style_000.flac")[0] for s in ("before", "after")]
    assert clips[0].shape == clips[1].shape


def test_the_exported_model_is_what_was_trained_and_not_the_base(finished):
    ours = load_lm(finished / "runs/mine/model").state_dict()
    trained = load_lm(finished / "runs/mine/training/model").state_dict()
    before = load_lm(finished / "base").state_dict()
    assert all(ours[name].equal(trained[name]) for name in ours)
    assert not all(ours[name].equal(before[name]) for name in ours)
    assert load_musicgen(finished / "runs/mine/model").max_duration == 1.0


def test_nothing_is_done_twice(again, capsys):
    capsys.readouterr()
    again()
    assert all(done(capsys).values())


def test_an_edited_caption_redoes_only_what_reads_it(again, capsys):
    lines = RUN.captions.read_text().splitlines()
    lines[2] = json.dumps({**json.loads(lines[2]), "caption": "Slow and sad"})
    RUN.captions.write_text("\n".join(lines) + "\n")
    capsys.readouterr()
    again(stage=["captions"])
    assert "my style, Slow and sad" in {text for _, text, _ in texts(RUN / "codes")}
    capsys.readouterr()
    again()
    stages = done(capsys)
    assert all(stages[name] for name in ("prepare", "tokenize", "captions", "prior"))
    assert not stages["train"]
    assert "Slow and sad" in RUN.captions.read_text()


def test_a_song_more_is_taken_in(again, capsys):
    song(RUN.path.parents[1] / "songs", "new", hertz=500)
    capsys.readouterr()
    again(stage=["prepare", "tokenize", "captions"])
    assert "7 files = 7 prepared" in capsys.readouterr().out
    assert len(RUN.captions.read_text().splitlines()) == 7


def test_before_is_not_made_again_for_another_training(again, capsys):
    before = (RUN / "samples/before/style_000.flac").stat().st_mtime_ns
    after = (RUN / "samples/after/request.json").read_text()
    capsys.readouterr()
    again(lr=0.1, stage=["train", "samples"])
    assert "lr changed from" in capsys.readouterr().out
    assert (RUN / "samples/before/style_000.flac").stat().st_mtime_ns == before
    assert (RUN / "samples/after/request.json").read_text() != after


def test_other_clips_are_measured_again_though_the_training_is_the_same(again, capsys):
    sampling = {"cfg_coef": 1.0, "top_k": 5, "temperature": 1.0}
    again(prior_share=0.0, stage=["prior", "train", "samples", "evaluate"])
    capsys.readouterr()
    again(prior_share=0.0, sampling=sampling, stage=["prior", "samples", "evaluate"])
    assert "[7/9] Measuring: again, for samples gave another result" in capsys.readouterr().out


def test_a_half_written_model_of_a_killed_run_does_not_stay(again):
    shutil.rmtree(RUN / "model")
    (RUN / ".model.abc").mkdir()
    again(stage=["export"])
    assert (RUN / "model/config.json").is_file() and not (RUN / ".model.abc").exists()


def test_clips_that_are_gone_are_made_again(again, capsys):
    shutil.rmtree(RUN / "samples/after")
    capsys.readouterr()
    again(stage=["samples"])
    assert "its result is gone" in capsys.readouterr().out
    assert (RUN / "samples/after/style_000.flac").is_file()


@pytest.mark.parametrize(
    "options",
    [
        {"text": False},
        pytest.param({"melody": False}, marks=pytest.mark.slow),
        pytest.param({"stereo": True}, marks=pytest.mark.slow),
    ],
)
def test_any_base_goes_all_the_way(place, options):
    base(place / "other", **options)
    songs(place / "songs", 2)
    finetune(settings("songs", "other", name="mine"))
    assert (RUN / "report/index.html").is_file()
    assert load_musicgen(RUN / "model").audio_channels == (2 if options.get("stereo") else 1)


def test_a_trigger_that_no_text_encoder_would_read_is_refused(place):
    base(place / "other", text=False)
    songs(place / "songs", 1)
    with pytest.raises(UserError, match="base=other reads no text"):
        finetune(settings("songs", "other", name="mine", trigger="my style"))


def test_a_song_whose_name_is_no_text_is_fine_tuned_on(place):
    first = song(place / "songs", "0")
    os.rename(first, first.with_name("caf\udce9.flac"))
    finetune(settings("songs", "base", name="mine", stage=STAGES[:3]))
    (told,) = json.loads(RUN.status.read_text())["songs"]
    assert told == {"song": "caf\\xe9.flac", "state": "prepared", "reason": ""}
    assert list(read_captions(RUN.captions)) == ["caf\\xe9.flac"]


def test_an_interrupted_preparation_is_stopped_and_has_not_failed(place, monkeypatch):
    songs(place / "songs", 1)

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("data_prep.prepare.run_all", interrupted)
    with pytest.raises(UserError, match="interrupted; run the same command to go on"):
        finetune(settings("songs", "base", name="mine"))
    assert json.loads(RUN.status.read_text())["state"] == "stopped"


def test_one_song_is_measured_against_itself_and_that_is_said(place, capsys):
    songs(place / "songs", 1)
    finetune(settings("songs", "base", name="mine"))
    out = capsys.readouterr().out
    assert "no song is kept out of training, of 1 song" in out
    assert "nobody knows whether it copies" in (RUN / "report/index.html").read_text()


def test_bad_files_among_songs_are_left_out_and_named(place, capsys):
    songs(place / "songs", 2)
    (place / "songs/broken.mp3").write_bytes(b"no music")
    (place / "songs/empty.wav").touch()
    song(place / "songs", "short", seconds=0.2)
    finetune(settings("songs", "base", name="mine", stage=["prepare"]))
    assert "5 files = 2 prepared + 1 filtered + 2 failed" in capsys.readouterr().out
    status = json.loads(RUN.status.read_text())
    assert {s["song"]: s["state"] for s in status["songs"]}["broken.mp3"] == "failed"


def test_songs_that_are_only_voices_are_one_line(place):
    song(place / "songs", "sung", about={"stems": {"vocals": "sung.stems/v.flac"}})
    song(place / "songs/sung.stems", "v")
    with pytest.raises(UserError, match="all its stems are vocals") as told:
        finetune(settings("songs", "base", name="mine", separator="auto"))
    assert "\n" not in str(told.value)
    assert json.loads(RUN.status.read_text())["state"] == "failed"


def test_many_songs_are_looked_at_quickly(place, capsys):
    first = song(place / "songs", "0", seconds=1.0)
    for i in range(1, 500):
        shutil.copy(first, place / f"songs/{i}.flac")
    with pytest.raises(UserError, match="run stage="):
        finetune(settings("songs", "base", name="mine", stage=["train"]))
    assert "500 songs, about 8.3 minutes" in capsys.readouterr().out


@pytest.mark.parametrize("bad", ["missing", "codec", "no_checkpoint"])
def test_a_wrong_base_is_one_line_before_anything_is_made(place, bad):
    from musicgen_train.formats import save_codec

    songs(place / "songs", 1)
    save_codec(load_musicgen("base").codec, place / "codec")
    (place / "no_checkpoint").mkdir()
    with pytest.raises(UserError, match=f"base={bad}") as told:
        finetune(settings("songs", bad, name="mine"))
    assert "\n" not in str(told.value) and not (RUN / "dataset").exists()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"train": {"optim": {"wd": 1}}}, r"optim\.wd"),
        ({"train": {"name": "other"}}, "train.name"),
        ({"train": {"max_steps": 5}}, "train.max_steps"),
        ({"train": {"data": {"path": "other"}}}, "train.data.path"),
        ({"train": {"task": {"adapter": None}}}, "train.task.adapter"),
        ({"train": {"trainer": "ddp"}}, "one GPU"),
        ({"prior_share": 1e-5}, "prior_share"),
        ({"method": "lora", "targets": "ffn"}, "targets"),
        ({"method": "lora", "targets": ["ffn.sideways"]}, "no matrix ffn.sideways"),
        ({"segment_duration": 2.0}, "segment_duration=2"),
        ({"preset": "gpu9"}, "preset=gpu9"),
        ({"stage": ["cook"]}, "stage=cook"),
        ({"separator": "demucs", "demucs_repo": "nowhere"}, "nowhere"),
    ],
)
def test_what_training_would_refuse_is_told_before_anything_is_made(place, change, named):
    songs(place / "songs", 1)
    with pytest.raises(UserError, match=named) as told:
        finetune(settings("songs", "base", name="mine", **change))
    assert "\n" not in str(told.value) and not (RUN / "dataset").exists()


@pytest.mark.slow
@pytest.mark.parametrize("melody", [False, True])
def test_a_base_that_reads_text_by_t5_is_written_for_transformers_and_as_an_adapter(place, melody):
    songs(place / "songs", 2)
    t5_base(place / "t5", melody)
    finetune(settings("songs", "t5", name="mine", method="dora"))
    assert (RUN / "transformers/model.safetensors").is_file()
    assert (RUN / "adapter/adapter_model.safetensors").is_file()
