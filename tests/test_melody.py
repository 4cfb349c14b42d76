"""The chroma of a melody in any window of the music."""

import pytest
import torch

from musicgen_train.conditioning.chroma import ChromaExtractor
from musicgen_train.melody import Melodies, prepare_melodies
from tests.small_musicgen import RATE, tone

EXTRACTOR = ChromaExtractor(RATE, window=256, hop=64)


def heard(wav: torch.Tensor | None, start: float = 0.0, duration: float = 2.0) -> list[int]:
    """The loudest pitch class of each chroma frame of a window."""
    melodies = Melodies([wav, tone(0.5)], EXTRACTOR, int(duration * RATE) // 64 + 1, duration)
    chroma = melodies.window([0, 1], start)
    assert chroma is not None
    return chroma[0].argmax(-1).tolist()


def two_notes() -> torch.Tensor:
    return torch.cat([tone(0.4, 262.0), tone(0.4, 330.0)], dim=1)  # C, E


def test_a_melody_shorter_than_the_music_is_repeated():
    once = two_notes()
    assert heard(once) == heard(once.repeat(1, 5))
    notes = heard(once)
    assert notes[2:8] == notes[22:28] == [0] * 6 and notes[12:18] == notes[32:38] == [4] * 6


def test_the_melody_moves_on_with_the_window():
    assert heard(two_notes(), start=0.4, duration=0.4)[2:8] == [4] * 6
    assert heard(two_notes(), start=0.8, duration=0.4)[2:8] == [0] * 6


def test_no_melody_is_the_null_chroma_and_a_batch_without_any_is_none():
    assert set(heard(None)) == {0}
    melodies = Melodies([None, tone(0.5), None], EXTRACTOR, 26, 1.0)
    assert melodies.window([0, 2], 0.0) is None
    chroma = melodies.window([1], 0.0)
    assert chroma is not None and chroma.shape == (1, 26, 12)


@pytest.mark.parametrize("rate", [RATE, 4000])
def test_channels_are_mixed_and_the_rate_is_the_extractors(rate):
    left, right = tone(0.5, 200.0, rate), tone(0.5, 300.0, rate)
    both = torch.cat([left, right])
    (made,) = prepare_melodies([both], rate, 1, RATE)
    (expected,) = prepare_melodies([(left + right) / 2], rate, 1, RATE)
    assert made is not None and expected is not None and made.shape == (1, RATE // 2)
    torch.testing.assert_close(made, expected)
