"""The log-mel of CLAP is that of transformers' feature extractor."""

import itertools
import math

import numpy as np
import pytest
import torch
from transformers import ClapFeatureExtractor

from musicgen_train.evaluation.embedders.clap_features import WINDOW, log_mel, windows

HOP = WINDOW // 2
SECOND = 48_000


def noise(n):
    return 0.1 * torch.randn(n, generator=torch.Generator().manual_seed(n))


def chord(n):
    """Plucked tones far louder than what lies between them."""
    t = torch.arange(n) / SECOND
    tones = ((110, 0.3), (220, 0.2), (330, 0.1), (1760, 0.05))
    return sum(a * torch.sin(2 * math.pi * f * t) for f, a in tones) * torch.exp(-3 * (t % 0.5))


@pytest.mark.parametrize("make", [noise, chord, torch.zeros])
@pytest.mark.parametrize("n", [1, 480, 130_001, WINDOW // 2, WINDOW - 1, WINDOW])
def test_a_window_is_what_transformers_hears(make, n):
    wav = make(n)
    extractor = ClapFeatureExtractor(truncation="rand_trunc", frequency_min=50)
    theirs = extractor(wav.numpy().astype(np.float32), sampling_rate=SECOND, return_tensors="pt")
    ours = log_mel(windows(wav, HOP))
    assert ours.shape == (1, 1, 1001, 64) and ours.dtype == torch.float32
    assert (ours - theirs["input_features"]).abs().max() < 1.5e-4


@pytest.mark.parametrize("start", [0, 12_345, HOP])
def test_any_window_of_a_longer_clip_is_heard_as_if_it_were_alone(start):
    wav = chord(WINDOW + HOP)
    both = torch.stack([wav[start : start + WINDOW], noise(WINDOW)])
    alone = log_mel(both[:1])
    assert (log_mel(both)[:1] - alone).abs().max() < 1e-4


def test_silence_is_flat():
    assert (log_mel(windows(torch.zeros(100), HOP)) == -100).all()


@pytest.mark.parametrize("n", [WINDOW, WINDOW + 1, WINDOW + HOP, 2 * WINDOW + 7, 3 * WINDOW])
def test_windows_cover_every_sample_and_end_with_the_clip(n):
    starts = windows(torch.arange(n), HOP)[:, 0].tolist()
    assert starts[0] == 0 and starts[-1] == n - WINDOW
    assert all(0 < b - a <= HOP for a, b in itertools.pairwise(starts))
    assert all(start % HOP == 0 for start in starts[:-1])
    assert len(starts) == 1 + math.ceil((n - WINDOW) / HOP)


@pytest.mark.parametrize("n", [0, 1, 7, WINDOW // 2 + 1])
def test_a_short_clip_is_repeated_whole_then_silence_follows(n):
    wav = torch.arange(1.0, n + 1)
    window = windows(wav, HOP)
    copies = WINDOW // n if n else 0
    assert window.shape == (1, WINDOW)
    assert torch.equal(window[0, : copies * n], wav.repeat(copies))
    assert not window[0, copies * n :].any()
