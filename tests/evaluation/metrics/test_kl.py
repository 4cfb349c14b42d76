import math

import pytest
import torch

from musicgen_train.errors import UserError
from musicgen_train.evaluation.metrics.kl import (
    clip_log_probabilities,
    kl_audiocraft,
    kl_audiocraft_of_clips,
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


def logits(seed: int, windows: int = 20, labels: int = 527) -> torch.Tensor:
    return 2 * torch.randn(windows, labels, generator=torch.Generator().manual_seed(seed))


def test_audiocrafts_epsilon_puts_equal_windows_below_zero():
    p = logits(0)
    found = kl_audiocraft(p, p)
    assert torch.allclose(found, torch.tensor(-527e-6), atol=3e-5)
    assert (found < 0).all()


def test_audiocrafts_divergence_is_its_definition_with_the_reference_first():
    reference, generated = logits(0), logits(1)
    p, q = reference.double().softmax(-1), generated.double().softmax(-1)
    expected = (p * (p.log() - (q + 1e-6).log())).sum(-1)
    assert torch.allclose(kl_audiocraft(reference, generated).double(), expected, atol=1e-5)
    reverse = (q * (q.log() - (p + 1e-6).log())).sum(-1)
    assert torch.allclose(kl_audiocraft(generated, reference).double(), reverse, atol=1e-5)
    assert not torch.allclose(expected, reverse, atol=1e-2)


def test_audiocrafts_epsilon_bounds_what_a_missing_label_costs():
    sure, other = torch.tensor([[200.0, 0.0]]), torch.tensor([[0.0, 200.0]])
    assert float(kl_audiocraft(sure, other)) == pytest.approx(-math.log(1e-6), rel=1e-5)
    exact = kl_divergence(sure.log_softmax(-1), other.log_softmax(-1))
    assert float(exact) == pytest.approx(200)


def test_audiocraft_counts_windows_and_not_clips():
    long, short = (logits(0, 3), logits(1, 3)), (logits(2, 1), logits(3, 1))
    both = kl_audiocraft_of_clips([long, short])
    assert both.windows == 4
    each = torch.cat([kl_audiocraft(*long), kl_audiocraft(*short)]).double()
    assert both.forward == pytest.approx(float(each.mean()), rel=1e-6)
    swapped = kl_audiocraft_of_clips([(q, p) for p, q in (long, short)])
    assert (swapped.forward, swapped.reverse) == (both.reverse, both.forward)
    assert both.forward != pytest.approx(both.reverse, rel=1e-3)


def test_windows_that_only_one_clip_has_are_left_out_and_none_at_all_is_told():
    reference, generated = logits(0, 3), logits(1, 2)
    found = kl_audiocraft_of_clips([(reference, generated), (logits(2, 0), logits(3, 0))])
    assert found == kl_audiocraft_of_clips([(reference[:2], generated)])
    with pytest.raises(UserError, match=r"longer than 0\.15 s"):
        kl_audiocraft_of_clips([(logits(2, 0), logits(3, 1))])


def exact_kl(reference: torch.Tensor, generated: torch.Tensor) -> torch.Tensor:
    """Of two clips [W, L], each the mixture of its windows."""
    return kl_divergence(*map(clip_log_probabilities, (reference, generated)))


@pytest.mark.parametrize("seed", range(3))
def test_clips_are_at_no_exact_distance_from_themselves_and_at_some_from_others(seed):
    clip, other = logits(seed, 3), logits(seed + 10, 2)
    assert exact_kl(clip, clip) == 0
    assert exact_kl(clip, clip.flip(0)) == pytest.approx(0, abs=1e-12)
    found, reverse = exact_kl(clip, other), exact_kl(other, clip)
    assert min(found, reverse) > 0.1
    assert found != pytest.approx(float(reverse), rel=1e-3)


def test_a_constant_added_to_the_logits_of_a_window_changes_nothing():
    reference, generated = logits(0, 3), logits(1, 3)
    shift = torch.tensor([[-3.0], [0.5], [7.0]])
    shifted = exact_kl(reference + shift, generated - shift)
    assert torch.allclose(exact_kl(reference, generated), shifted, atol=1e-6)
    as_audiocraft = kl_audiocraft(reference, generated)
    assert torch.allclose(kl_audiocraft(reference + shift, generated - shift), as_audiocraft)


def test_with_one_window_each_the_exact_divergence_is_audiocrafts_without_the_epsilon():
    reference, generated = logits(0, 1), logits(1, 1)
    exact = float(exact_kl(reference, generated))
    assert float(kl_audiocraft(reference, generated)) == pytest.approx(exact, abs=0.02)
    assert float(kl_audiocraft(reference, generated)) < exact
