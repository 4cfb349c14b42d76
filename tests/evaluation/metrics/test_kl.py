import math

import pytest
import torch

from musicgen_train.evaluation.metrics.kl import (
    clip_log_probabilities,
    kl_divergence,
    multi_head_kl,
)


def distributions(seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (3 * torch.randn(50, 9, generator=generator)).log_softmax(-1)


def test_the_divergence_of_a_distribution_from_itself_is_exactly_zero():
    p = distributions(0)
    assert (kl_divergence(p, p) == 0).all()


def test_the_divergence_is_never_negative_and_agrees_with_the_definition():
    p, q = distributions(0), distributions(1)
    found = kl_divergence(p, q)
    assert (found > 0).all()
    expected = (p.exp() * (p - q)).sum(-1)
    assert torch.allclose(found, expected.double(), atol=1e-5)


def test_a_label_that_the_reference_excludes_costs_nothing():
    p = torch.tensor([0.5, 0.5, 0.0]).log()
    q = torch.tensor([0.25, 0.25, 0.5]).log()
    assert float(kl_divergence(p, q)) == pytest.approx(math.log(2))


def test_heads_count_equally_and_must_match():
    p, q = distributions(0), distributions(1)
    one, two = multi_head_kl({"a": p}, {"a": q}), multi_head_kl({"b": q}, {"b": p})
    both = multi_head_kl({"a": p, "b": q}, {"a": q, "b": p})
    assert torch.allclose(both, (one + two) / 2)
    with pytest.raises(ValueError, match="heads differ"):
        multi_head_kl({"a": p}, {"b": q})


def test_a_clip_is_the_mixture_of_its_windows():
    logits = 5 * torch.randn(4, 6)
    expected = logits.softmax(-1).mean(0)
    assert torch.allclose(clip_log_probabilities(logits).exp().float(), expected, atol=1e-6)
    # Two windows that are sure of different labels leave the clip undecided.
    sure = torch.tensor([[50.0, 0.0], [0.0, 50.0]])
    assert torch.allclose(clip_log_probabilities(sure).exp(), torch.tensor([0.5, 0.5]).double())
