import math

import pytest
import torch

from musicgen_train.conditioning.chroma import ChromaExtractor
from musicgen_train.evaluation.metrics.chroma_agreement import chroma_agreement
from musicgen_train.evaluation.report.sonify import sonify_chroma

RATE = 16_000


def random_chroma(frames: int, seed: int) -> torch.Tensor:
    return torch.rand(frames, 12, generator=torch.Generator().manual_seed(seed))


def tune(factor: float = 1.0, level: float = 0.3) -> torch.Tensor:
    """Four held notes, their frequencies times `factor`: [1, 1, N]."""
    time = torch.arange(RATE) / RATE
    notes = [261.63, 329.63, 392.0, 293.66]
    tones = [torch.sin(2 * math.pi * factor * f * time) for f in notes]
    return level * torch.cat(tones)[None, None]


def agreement(a: torch.Tensor, b: torch.Tensor):
    extractor = ChromaExtractor(sample_rate=RATE, window=4096, hop=1024)
    return chroma_agreement(extractor(a)[0], extractor(b)[0])


def test_a_clip_agrees_with_itself_and_with_a_quieter_copy():
    same = agreement(tune(), tune(level=0.05))
    assert same.argmax == 1.0
    assert same.cosine == pytest.approx(1.0, abs=1e-3)


def test_octaves_agree_and_semitones_do_not():
    assert agreement(tune(), tune(2.0)).argmax > 0.95
    assert agreement(tune(), tune(2 ** (1 / 12))).argmax < 0.05


def test_unrelated_chroma_agrees_by_chance():
    found = chroma_agreement(random_chroma(20_000, 0), random_chroma(20_000, 1))
    assert found.argmax == pytest.approx(1 / 12, abs=0.01)


def test_silence_never_counts_as_agreement():
    silent, voiced = torch.zeros(50, 12), random_chroma(50, 0)
    voiced[:, 0] = 2.0  # C everywhere, which is also the argmax of silence
    assert chroma_agreement(voiced, silent).argmax == 0.0
    assert chroma_agreement(voiced, silent).cosine == 0.0
    both = chroma_agreement(silent, silent)
    assert both.voiced == 0.0 and math.isnan(both.argmax)
    every = chroma_agreement(silent, silent, silence=-1.0)  # as audiocraft: C on both sides
    assert (every.argmax, every.voiced, every.frames) == (1.0, 1.0, len(silent))


def test_a_sonified_melody_has_the_chroma_it_was_made_from():
    asked = torch.eye(12)[[0, 0, 0, 4, 4, 4, 7, 7, 7, 11, 11, 11]]
    wav = sonify_chroma(asked, duration=6.0, sample_rate=RATE)
    assert wav.shape == (1, 6 * RATE) and wav.abs().max() < 1
    heard = ChromaExtractor(sample_rate=RATE, window=4096, hop=RATE // 4)(wav[None])[0].argmax(-1)
    middles = heard[[3, 9, 15, 21]].tolist()  # frames 0.25 s apart, 1.5 s a note
    assert middles == [0, 4, 7, 11]
