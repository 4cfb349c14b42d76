"""A separator on a stream does what demucs does on the whole track."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pytest
import torch
from demucs.apply import BagOfModels, apply_model
from demucs.htdemucs import HTDemucs

from musicgen_train.conditioning.stem_stream import Level, measure_level, stream_stems

RATE = 8000
TINY = {
    "sources": ["drums", "bass", "other", "vocals"], "channels": 8, "nfft": 512, "depth": 2,
    "t_layers": 1, "t_heads": 2, "bottom_channels": 16, "samplerate": RATE,
}  # fmt: skip


def bag(*segments: Any, weights: list | None = None) -> BagOfModels:
    torch.manual_seed(0)
    models: Any = [HTDemucs(**TINY, segment=segment).eval() for segment in segments]
    return BagOfModels(models, weights)


def noise(n_samples: int) -> torch.Tensor:
    return 0.1 + 0.3 * torch.randn(2, n_samples, generator=torch.Generator().manual_seed(1))


ONE = bag(Fraction(1, 2))
UNEQUAL = bag(Fraction(1, 2), Fraction(3, 8), weights=[[1.0, 0.0, 0.5, 2.0], [0.25, 1.0, 0.5, 1.0]])


# A window has 4000 samples and begins 3000 after the last one.
@pytest.mark.parametrize("n_samples", [1, 100, 2999, 3000, 3001, 4000, 4001, 7000, 20_003])
@pytest.mark.parametrize("model", [ONE, UNEQUAL], ids=["one", "unequal"])
def test_it_equals_demucs_on_the_whole_track(model, n_samples):
    wav = noise(n_samples)
    whole = apply_model(model, wav[None], shifts=0, split=True, overlap=0.25)[0]
    for size, batch_size in ((n_samples, 1), (777, 3), (5000, 2)):
        blocks = wav.split(size, dim=1)
        found = torch.cat(list(stream_stems(model, blocks, Level(0.0, 1.0), "cpu", batch_size)), -1)
        assert found.shape == whole.shape
        assert (found - whole).abs().max() < 1e-5 * whole.abs().max()


def test_a_track_is_brought_to_its_level_and_back():
    wav = noise(9000)
    level = measure_level(wav.split(1234, dim=1))
    mono = wav.mean(dim=0)
    assert level.centre == pytest.approx(mono.mean().item(), abs=1e-6)
    assert level.spread == pytest.approx(mono.std().item(), abs=1e-6)
    mix = (wav - level.centre) / level.spread
    whole = apply_model(ONE, mix[None], shifts=0)[0] * level.spread + level.centre
    found = torch.cat(list(stream_stems(ONE, [wav], level)), dim=-1)
    assert (found - whole).abs().max() < 1e-5 * whole.abs().max()
    assert measure_level([]) == Level(0.0, 1.0)


def test_no_more_is_read_than_the_next_windows_need():
    n_read = 0

    def blocks() -> Iterator[torch.Tensor]:
        nonlocal n_read
        for block in noise(100_000).split(1000, dim=1):
            n_read += block.shape[1]
            yield block

    n_out = 0
    for piece in stream_stems(UNEQUAL, blocks(), Level(0.0, 1.0), "cpu", 2):
        n_out += piece.shape[-1]
        assert n_read - n_out <= 5 * 4000 + 2 * RATE
    assert n_out == n_read == 100_000
    assert list(stream_stems(ONE, [], Level(0.0, 1.0))) == []
