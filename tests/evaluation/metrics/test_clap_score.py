"""Cosines of clips and texts, against loops over all pairs."""

import pytest
import torch
from torch.nn import functional as F

from musicgen_train.evaluation.metrics.clap_score import clap_scores


def vectors(counts=(1, 3, 2, 5), width=8):
    generator = torch.Generator().manual_seed(0)
    audio = [F.normalize(torch.randn(n, width, generator=generator), dim=1) for n in counts]
    return audio, F.normalize(torch.randn(len(counts), width, generator=generator), dim=1)


def test_the_score_is_the_mean_over_windows_of_the_cosine():
    audio, text = vectors()
    found = clap_scores(audio, text)
    for score, windows, vector in zip(found, audio, text, strict=True):
        assert score == pytest.approx(float((windows @ vector).mean()), abs=1e-6)


def test_a_clip_that_says_its_text_scores_one_and_its_opposite_minus_one():
    _, text = vectors()
    same = [vector.repeat(3, 1) for vector in text]
    assert torch.allclose(clap_scores(same, text), torch.ones(4).double())
    assert torch.allclose(clap_scores([-v for v in same], text), -torch.ones(4).double())


def test_lengths_of_vectors_do_not_count():
    audio, text = vectors()
    scaled = [3 * windows for windows in audio]
    assert torch.allclose(clap_scores(scaled, 0.2 * text), clap_scores(audio, text), atol=1e-6)


def test_no_clips_have_no_scores():
    assert clap_scores([], torch.zeros(0, 8)).shape == (0,)


def test_a_clip_without_windows_scores_nan_and_spoils_no_other():
    audio, text = vectors()
    without = [audio[0][:0], *audio[1:]]
    assert clap_scores(without, text)[0].isnan()
    assert torch.equal(clap_scores(without, text)[1:], clap_scores(audio, text)[1:])
