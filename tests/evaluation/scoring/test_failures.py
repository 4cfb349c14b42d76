import math

import pytest
import torch

from musicgen_train.evaluation.clips import Clip, ClipFile, write_clip
from musicgen_train.evaluation.comparison import Comparison, System
from musicgen_train.evaluation.heard_cache import HeardCache
from musicgen_train.evaluation.heard_set import FACTS, HeardSet
from musicgen_train.evaluation.listening import hear
from musicgen_train.evaluation.ranks import Ranks
from musicgen_train.evaluation.report.verdicts import failing_lines, summary, weak_points
from musicgen_train.evaluation.scoring.failures import failure_measurements

RATE = 8000


def noise(level: float = 0.1, seconds: float = 5.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return level * torch.randn(1, round(seconds * RATE), generator=generator)


def falls_silent(after: float) -> torch.Tensor:
    wav = noise()
    wav[:, round(after * RATE) :] = 0
    return wav


def clips(tmp_path, title: str, wavs: dict[str, torch.Tensor]) -> HeardSet:
    cache, files = HeardCache(tmp_path / "heard"), []
    for name, wav in wavs.items():
        path = tmp_path / title / f"{name}.flac"
        write_clip(path, Clip(name, wav, RATE))
        files.append(ClipFile(name, path))
    hear([FACTS], [file.path for file in files], cache, Ranks())
    return HeardSet(title, files, cache)


def measured(ours: HeardSet, real: HeardSet):
    return failure_measurements(Comparison([System("text", "from text", ours)], real, real))


def test_the_real_clips_themselves_do_not_fail_whatever_they_are(tmp_path):
    wavs = {"a": noise(), "b": falls_silent(1.0), "c": noise(3.0)}
    ours, real = clips(tmp_path, "ours", wavs), clips(tmp_path, "real", wavs)
    failing, loudness = measured(ours, real)
    assert failing.value == 0.0 and not failing_lines(failing)
    assert loudness.value == pytest.approx(0.0) and loudness.unit == "LU"


def test_silence_clipping_and_broken_samples_are_found_and_named(tmp_path):
    wavs = {"a": falls_silent(1.0), "b": noise(3.0), "c": noise(), "d": falls_silent(4.0)}
    ours = clips(tmp_path, "ours", wavs)
    ours.faults.non_finite.append("c")
    real = clips(tmp_path, "real", dict.fromkeys("abcd", noise()))
    failing, _ = measured(ours, real)
    assert failing.name == "failures.clips.text" and failing.value == 0.75
    assert failing.settings["failing"] == {
        "fall silent": ["a"], "are clipped": ["b"], "hold broken samples": ["c"]
    }  # fmt: skip
    assert failing.per_clip == {"a": 1.0, "b": 1.0, "c": 1.0, "d": 0.0}  # d for 1 s only
    assert failing_lines(failing)[0] == "1 of 4 fall silent: a"
    assert any(
        "Music from text: 1 of 4 are clipped: b." in line for line in weak_points([failing], {})
    )
    assert "75 %" in summary([failing])[0].text


def test_no_failure_in_few_clips_leaves_room_for_some(tmp_path):
    ours = clips(tmp_path, "ours", {f"{i}": noise() for i in range(10)})
    failing, _ = measured(ours, ours)
    assert failing.value == 0.0 and failing.interval[0] == 0.0
    assert failing.interval[1] == pytest.approx(1 - 0.025 ** (1 / 10), abs=1e-6)


def test_a_softer_clip_is_so_many_loudness_units_below_the_real_one(tmp_path):
    ours = clips(tmp_path, "ours", {"a": noise(0.05), "b": noise(0.2), "silent": 0 * noise()})
    real = clips(tmp_path, "real", dict.fromkeys(("a", "b", "silent"), noise(0.1)))
    _, loudness = measured(ours, real)
    assert loudness.per_clip["a"] == pytest.approx(-6.02, abs=0.02)
    assert loudness.value == pytest.approx(0.0, abs=0.02)
    assert loudness.others["mean of the sizes"] == pytest.approx(6.02, abs=0.02)
    assert loudness.settings["dropped"] == {"silent": "undefined"}


def test_without_real_clips_of_the_names_loudness_is_beside_their_mean(tmp_path):
    ours = clips(tmp_path, "ours", {"a": noise(0.2)})
    real = clips(tmp_path, "real", {"x": noise(0.1), "y": noise(0.1)})
    failing, loudness = measured(ours, real)
    assert loudness.value == pytest.approx(6.02, abs=0.02) and "mean" in loudness.good_end_is
    assert failing.value == 0.0 and math.isfinite(failing.value)
