from types import SimpleNamespace

import pytest
import torch

from musicgen_train.evaluation.clips import Clip, ClipFile, write_clip
from musicgen_train.evaluation.comparison import Comparison, Prompt, System
from musicgen_train.evaluation.embedders.identity import sha256_of
from musicgen_train.evaluation.heard_cache import HeardCache
from musicgen_train.evaluation.heard_set import FACTS, HeardSet
from musicgen_train.evaluation.listening import hear
from musicgen_train.evaluation.long_pieces import LongForm
from musicgen_train.evaluation.ranks import Ranks
from musicgen_train.evaluation.report.verdicts import failing_lines
from musicgen_train.evaluation.scoring.long_form import LongFormScorer
from tests.evaluation.scoring.synthetic import NamedEmbedder, made_up

RATE, FORM = 8000, LongForm(64.0, 3, 8.0)
LABELS = {"instrument": ["flute", "piano", "organ"], "genre": ["folk", "jazz"],
          "tempo": ["slow", "fast"]}  # fmt: skip
PLACES = {"a": 0, "b": 1, "c": 2}  # of each piece's sound among the judge's directions


def judge() -> NamedEmbedder:
    found = NamedEmbedder("judge")
    found.judge = SimpleNamespace(labels=LABELS, tempo_edges=[100.0])
    return found


def hears(sound: int, windows: int) -> dict[str, torch.Tensor]:
    """Windows that sound alike, but for a little."""
    generator = torch.Generator().manual_seed(sound)
    vectors = torch.eye(8)[sound] + 0.02 * torch.randn(windows, 8, generator=generator)
    logits = {head: torch.zeros(windows, len(names)) for head, names in LABELS.items()}
    logits["instrument"][:, sound % 3] = 9.0
    return {"vectors": vectors, **{f"logits.{h}": values for h, values in logits.items()}}


def joined(first: dict, second: dict) -> dict:
    return {key: torch.cat([first[key], second[key]]) for key in first}


def scorer(tmp_path, changes: bool, silent_after: float = 64.0) -> LongFormScorer:
    """Three pieces; with `changes` each becomes the next one in the middle."""
    listener, cache, files = judge(), HeardCache(tmp_path / "heard"), []
    for name, sound in PLACES.items():
        wav = 0.1 * torch.randn(1, 64 * RATE, generator=torch.Generator().manual_seed(sound))
        if name == "a":
            wav[:, round(silent_after * RATE) :] = 0
        path = tmp_path / "long" / f"{name}.flac"
        write_clip(path, Clip(name, wav, RATE))
        files.append(ClipFile(name, path, f"track {name}"))
        hear([FACTS], [path], cache, Ranks())
        later = (sound + 1) % 3 if changes else sound
        cache.write(listener, sha256_of(path), joined(hears(sound, 30), hears(later, 31)))
    real = made_up(
        tmp_path, "real", listener, {n: hears(PLACES[n[0]], 5) for n in ("a1", "a2", "b1")},
        tracks={"a1": "track a", "a2": "track a", "b1": "track b"},
    )  # fmt: skip
    wanted = {name: {"instrument": LABELS["instrument"][PLACES[name]]} for name in PLACES}
    prompts = {name: Prompt(name, f"track {name}", wanted=wanted[name]) for name in PLACES}
    comparison = Comparison([System("text", "from text", real)], real, real, prompts=prompts)
    return LongFormScorer(comparison, HeardSet("long", files, cache), listener, FORM)


def rows_of(found: LongFormScorer) -> dict:
    return {row.name: row for row in found.measurements()}


def test_a_piece_that_changes_in_the_middle_is_told_from_one_that_does_not(tmp_path):
    same = rows_of(scorer(tmp_path / "same", changes=False))
    changed = rows_of(scorer(tmp_path / "changed", changes=True))
    stays, drifts = same["long_form.drift"], changed["long_form.drift"]
    assert stays.value < 0.1 < 1.0 < drifts.value
    assert stays.bad_end > 1.0 and stays.good_end_is == "clips of one real track"
    assert stays.position() > 0.9
    assert drifts.others["within a half"] < 0.1
    asked, lost = same["long_form.control"], changed["long_form.control"]
    assert (asked.value, asked.good_end, asked.bad_end) == (1.0, 1.0, 0.0)
    assert (lost.value, lost.good_end) == (0.0, 1.0)
    assert lost.others["third quarter"] == 0.0 and lost.others["second quarter"] == 1.0


def test_a_piece_that_falls_silent_is_named_with_the_time_and_one_that_sounds_is_not(tmp_path):
    rows = rows_of(scorer(tmp_path / "silent", changes=False, silent_after=48.0))
    silence = rows["long_form.silence"]
    assert silence.value == pytest.approx(0.25 / 3, abs=0.01)
    assert silence.others == {
        "first quarter": 0.0, "second quarter": 0.0, "third quarter": 0.0,
        "last quarter": pytest.approx(1 / 3, abs=0.01),
    }  # fmt: skip
    assert failing_lines(silence) == ["1 of 3 fall silent: a (from 48 s)"]
    assert rows["long_form.level"].value == pytest.approx(-80 / 3, abs=1)
    whole = rows_of(scorer(tmp_path / "whole", changes=False))
    assert whole["long_form.silence"].value == 0.0 and not failing_lines(whole["long_form.silence"])
    assert whole["long_form.level"].value == pytest.approx(0, abs=0.1)


def test_without_two_clips_of_a_track_a_piece_is_its_own_scale(tmp_path):
    found = scorer(tmp_path, changes=True)
    found.comparison.pairs = found.comparison.reference = made_up(
        tmp_path, "one", found.judge, {"x": hears(0, 5)}
    )
    drift = rows_of(found)["long_form.drift"]
    assert drift.good_end_is == "within a half" and drift.good_end < 0.1 and not drift.others


def test_parts_cover_the_piece_and_no_window_reaches_from_one_half_into_the_other(tmp_path):
    found = scorer(tmp_path, changes=True)
    parts = found.pieces["a"]
    assert [parts[0].start, parts[-1].end, len(parts)] == [0.0, 64.0, 8]
    table = found.table(tmp_path)
    assert table[0]["audio"] == "long/a.flac"
    heard = [part["heard"] for part in table[0]["parts"]]
    assert heard == [1.0] * 4 + [0.0] * 4
    assert [part["labels"]["instrument"] for part in table[0]["parts"]][3:5] == ["flute", "piano"]


@pytest.mark.parametrize("duration, n_parts", [(20.0, 4), (48.0, 8), (64.0, 8), (120.0, 16)])
def test_quarters_hold_equally_many_parts_that_each_hold_a_window(duration, n_parts):
    form = LongForm(duration, 2, 8.0)
    assert form.n_parts == n_parts and duration / n_parts >= 5.0
