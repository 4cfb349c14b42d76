"""Conditions are dropped sample by sample, as often as asked, and resume exactly."""

import pytest
import torch

from musicgen_train.conditioning.chroma import one_hot
from musicgen_train.conditioning.dropout import drop_conditions, drop_words


def generators(B: int, seed: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed * 100_000 + i) for i in range(B)]


def drop(B: int = 4000, seed: int = 0, **options) -> tuple[torch.Tensor, torch.Tensor]:
    """Which texts and which chromas were dropped: two [B] masks."""
    texts, chroma = drop_conditions(
        ["text"] * B, torch.ones(B, 3, 12), generators(B, seed), **options
    )
    dropped = chroma.sum(dim=(1, 2))
    assert set(dropped.tolist()) <= {0.0, 36.0}, "a chroma is dropped whole or not at all"
    return torch.tensor([text == "" for text in texts]), dropped == 0


def test_guidance_drops_all_conditions_of_a_sample_together():
    text, chroma = drop(cfg_dropout=0.3)
    assert torch.equal(text, chroma)
    assert text.float().mean().item() == pytest.approx(0.3, abs=0.03)
    assert 0 < text[:20].sum() < 20, "samples of one batch are drawn apart"


def test_attributes_are_dropped_apart():
    text, chroma = drop(cfg_dropout=0.0, text_dropout=0.2, chroma_dropout=0.5)
    assert text.float().mean().item() == pytest.approx(0.2, abs=0.03)
    assert chroma.float().mean().item() == pytest.approx(0.5, abs=0.03)
    assert (text & chroma).float().mean().item() == pytest.approx(0.1, abs=0.03)


def test_extreme_probabilities_are_certain():
    assert not any(mask.any() for mask in drop(cfg_dropout=0.0))
    assert all(mask.all() for mask in drop(cfg_dropout=1.0))


def test_what_is_drawn_for_a_sample_does_not_depend_on_its_batch():
    whole = drop_conditions(["a"] * 50, None, generators(50))[0]
    own = generators(50)
    parts = [drop_conditions(["a"] * n, None, own[i : i + n])[0] for i, n in ((0, 20), (20, 30))]
    assert parts[0] + parts[1] == whole
    assert "" in whole and "a" in whole


def test_a_dropped_chroma_is_the_null_chroma_and_the_input_is_untouched():
    chroma = torch.zeros(1, 2, 12)
    chroma[..., 5] = 1.0
    _, dropped = drop_conditions(["a"], chroma, generators(1), cfg_dropout=1.0)
    assert one_hot(dropped)[0].argmax(dim=-1).tolist() == [0, 0]
    assert one_hot(chroma)[0].argmax(dim=-1).tolist() == [5, 5]


def test_words_are_dropped_apart_and_keep_their_order():
    text = " ".join(str(i) for i in range(2000))
    kept = drop_words(text, 0.3, torch.Generator().manual_seed(0)).split()
    assert len(kept) / 2000 == pytest.approx(0.7, abs=0.04)
    assert kept == sorted(kept, key=int)
    assert drop_words(text, 0.0, torch.Generator()) == text
    assert drop_words(text, 1.0, torch.Generator()) == ""
