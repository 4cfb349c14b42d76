"""Sampling draws from the distribution it is asked for."""

import pytest
import torch

from musicgen_train.lm.sampling import Sampling, choose, draw_uniforms, guide, sample

LOGITS = torch.tensor([2.0, -1.0, 0.5, 1.0, -3.0])


def frequencies(**options) -> torch.Tensor:
    """How often each token comes out for evenly spread randomness."""
    n = 20000
    uniform = (torch.arange(n) + 0.5) / n
    tokens = sample(LOGITS.expand(n, -1), uniform, **options)
    return torch.bincount(tokens, minlength=len(LOGITS)) / n


def kept(tokens: list[int], temperature: float = 1.0) -> torch.Tensor:
    """The distribution of the given tokens alone."""
    probs = torch.softmax(LOGITS / temperature, dim=-1)
    keep = torch.zeros_like(probs)
    keep[tokens] = 1
    return probs * keep / (probs * keep).sum()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"top_k": 0}, kept([0, 1, 2, 3, 4])),
        ({"top_k": 250}, kept([0, 1, 2, 3, 4])),
        ({"top_k": 2}, kept([0, 3])),
        ({"top_k": 1}, kept([0])),
        ({"top_k": 0, "temperature": 0.5}, kept([0, 1, 2, 3, 4], temperature=0.5)),
        # Probabilities 0.59, 0.22, 0.13, 0.03, 0.004: 0.7 needs the first two.
        ({"top_k": 1, "top_p": 0.7}, kept([0, 3])),
        ({"top_p": 0.001}, kept([0])),
        ({"top_p": 1.0}, kept([0, 1, 2, 3, 4])),
    ],
)
def test_tokens_come_as_often_as_their_probability(options, expected):
    torch.testing.assert_close(frequencies(**options), expected, rtol=0, atol=2e-4)


def test_extreme_randomness_never_picks_an_impossible_token():
    logits = torch.tensor([[0.0, -torch.inf, 0.0, -torch.inf]]).expand(2, -1)
    almost_one = 1 - 2**-24
    tokens = sample(logits, torch.tensor([0.0, almost_one]), top_k=0)
    assert set(tokens.tolist()) <= {0, 2}
    assert sample(LOGITS[None], torch.tensor([almost_one]), top_p=0.7).tolist() == [3]


def test_broken_logits_and_absurd_temperatures_give_tokens_all_the_same():
    uniform = torch.tensor([[0.3]])
    for logits in (torch.full((1, 1, 5), torch.nan), torch.full((1, 1, 5), torch.inf)):
        assert 0 <= choose(logits, uniform, Sampling(), 1).item() < 5
    for temperature in (0.0, 1e-40, 5e-324):
        coldest = Sampling(temperature=temperature)
        assert choose(LOGITS[None, None], uniform, coldest, 1).item() == 0


def test_one_uniform_per_token_leaves_the_shape_alone():
    logits = torch.randn(2, 3, 7)
    assert sample(logits, torch.rand(2, 3)).shape == (2, 3)


def test_noise_of_a_row_follows_from_its_seed_only():
    together = draw_uniforms([3, 4], 9, 4)
    assert torch.equal(draw_uniforms([4], 9, 4)[0], together[1])
    assert torch.equal(draw_uniforms([3], 5, 4)[0], together[0, :5])
    assert not torch.equal(together[0], together[1])


def test_guidance_runs_from_unconditional_through_conditional():
    cond, uncond = torch.tensor([1.0]), torch.tensor([3.0])
    assert [guide(cond, uncond, c).item() for c in (0.0, 1.0, 3.0)] == [3.0, 1.0, -3.0]
