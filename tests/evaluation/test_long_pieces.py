"""Pieces beyond the window: as long as asked, and the same whatever was made before."""

import pytest
import torch

from musicgen_train.evaluation.held_out import read_held_out
from musicgen_train.evaluation.long_pieces import LongForm, long_pieces
from musicgen_train.evaluation.measurement import Measurement
from musicgen_train.evaluation.model_evaluation import evaluate_model
from musicgen_train.evaluation.report.page import write_report
from musicgen_train.evaluation.report.results import read_results
from musicgen_train.evaluation.sampling import Sampling
from musicgen_train.musicgen import MusicGen
from tests.evaluation.small_evaluation import (
    RATE,
    SECONDS,
    small_evaluation,
    small_parts,
    write_dataset,
)

KINDS = ("control", "drift", "silence", "level")
FORM = LongForm(6.0, 2, SECONDS)


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    data = write_dataset(tmp_path_factory.mktemp("long") / "data", 6)
    return read_held_out(data, 3, SECONDS).prompts


def made(prompts, form: LongForm = FORM) -> torch.Tensor:
    kind = long_pieces(small_parts(), prompts, form, Sampling(seed=3))
    assert len(kind.segments) == form.n_pieces
    return kind.make(kind.segments, 0, lambda share: None)[0]


def test_a_long_piece_is_what_the_model_gives_a_user_who_asks_for_it(prompts):
    wavs, parts = made(prompts), small_parts()
    assert wavs.shape == (2, 1, round(6.0 * RATE))
    model = MusicGen("m", parts.codec, parts.lm, parts.text_encoder, parts.chroma, SECONDS)
    model.set_generation_params(top_k=16, duration=6.0)
    texts = [prompt.description for prompt in prompts[:2]]
    assert torch.equal(model.generate(texts, seeds=[3, 4]), wavs)


def test_long_pieces_are_made_measured_and_shown_and_cost_no_clip_anew(tmp_path):
    held_out = read_held_out(write_dataset(tmp_path / "data", 4), 2, SECONDS)

    def evaluate(form: LongForm | None) -> dict[str, Measurement]:
        evaluation = small_evaluation(tmp_path / "out", metrics=("text", "failures"))
        if form is not None:
            evaluation.listeners.long_judge = evaluation.listeners.text_judge
        rows = evaluate_model(small_parts(), held_out, SECONDS, Sampling(), evaluation, form)
        return {row.name: row for row in rows}

    def clips() -> dict[str, int]:
        folder = tmp_path / "out" / "audio"
        kinds = ("reference", "others", "reconstruction", "text", "melody", "untrained", "long_20s")
        found = (path for kind in kinds for path in (folder / kind).glob("*.flac"))
        return {path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in found}

    short = evaluate(None)
    before = clips()
    rows = evaluate(LongForm(20.0, 2, SECONDS))
    after = clips()
    assert after.keys() - before.keys() == {"long_20s/000.flac", "long_20s/001.flac"}
    assert {name: after[name] for name in before} == before
    assert rows.keys() - short.keys() == {f"long_form.{k}" for k in KINDS}
    assert {n: r.to_json() for n, r in rows.items() if n in short} == {
        name: row.to_json() for name, row in short.items()
    }
    assert rows["long_form.drift"].n_clips == 2
    pieces = read_results(tmp_path / "out")["long_form"]
    assert [len(piece["parts"]) for piece in pieces] == [4, 4]
    page = write_report(tmp_path / "out", tmp_path / "report")
    assert "audio/long/001.flac" in page.read_text()
    assert (tmp_path / "report" / "plots" / "long_form.png").stat().st_size > 0


def test_another_duration_is_another_folder():
    assert FORM.kind == "long_6s" and LongForm(7.5, 2, SECONDS).kind == "long_7.5s"
