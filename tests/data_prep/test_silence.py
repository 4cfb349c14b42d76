"""Where a track sounds."""

import numpy as np
import pytest
import torch

from data_prep.silence import frame_length, frame_levels, sounding

RATE = 8000


def frames(pattern: str) -> np.ndarray:
    return np.array([mark == "." for mark in pattern])


@pytest.mark.parametrize(
    ("pattern", "longest", "stretches"),
    [
        ("", 2, []),
        ("xxxx", 2, [(0, 4)]),
        ("....", 2, []),
        ("..", 2, [(0, 2)]),
        ("..xx..", 2, [(0, 6)]),
        ("...xx...", 2, [(3, 5)]),
        ("x..x...x", 2, [(0, 4), (7, 8)]),
        ("x.x", 0, [(0, 1), (2, 3)]),
        ("...xx...", None, [(0, 8)]),
    ],
)
def test_only_longer_silences_part_a_track(pattern, longest, stretches):
    found, n_silences = sounding(frames(pattern), longest)
    assert found == stretches
    if longest is not None:
        assert n_silences == sum(len(run) > longest for run in pattern.split("x"))


def test_a_sine_has_3_db_less_than_its_peak_in_blocks_of_any_size():
    time = torch.arange(int(2.345 * RATE)) / RATE
    wav = torch.stack([torch.sin(2 * torch.pi * 100 * time)] * 2)
    wav[:, : 20 * frame_length(RATE)] = 0
    levels = frame_levels([wav], RATE)
    assert len(levels) == 47  # 46 of 50 ms and a rest
    assert levels[:20] == pytest.approx(-200)
    assert levels[20:46] == pytest.approx(-3.01, abs=0.01)
    assert np.array_equal(frame_levels(wav.split(77, dim=1), RATE), levels)
    assert len(frame_levels([], RATE)) == 0
