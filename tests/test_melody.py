"""The chroma of a melody in any window of the music."""

import pytest
import torch

from musicgen_train.conditioning.chroma import ChromaExtractor
from musicgen_train.errors import UserError
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
    (made,) = prepare_melodies([both], rate, [1.0], RATE)
    (expected,) = prepare_melodies([(left + right) / 2], rate, [1.0], RATE)
    assert made is not None and expected is not None and made.shape == (1, RATE // 2)
    torch.testing.assert_close(made, expected)


def test_a_separator_gets_no_more_of_a_melody_than_will_be_heard(monkeypatch):
    class Separator:
        samplerate, audio_channels = RATE, 2

    lengths = []

    def stems(model, wav, device):
        lengths.append(wav.shape[-1] / RATE)
        return wav

    monkeypatch.setattr("musicgen_train.melody.find_separator", lambda name: Separator())
    monkeypatch.setattr("musicgen_train.melody.melodic_stems", stems)
    wavs = [tone(0.5), None, tone(60.0), tone(60.0)]
    made = prepare_melodies(wavs, RATE, [1.0, 1.0, 1.0, 2.0], RATE, "htdemucs")
    assert lengths == [0.5, 2.0, 3.0]  # a second of margin
    assert [None if wav is None else wav.shape[-1] / RATE for wav in made] == [0.5, None, 2.0, 3.0]


def test_a_melody_that_many_clips_follow_is_separated_once(monkeypatch):
    class Separator:
        samplerate, audio_channels = RATE, 1

    separated = []
    monkeypatch.setattr("musicgen_train.melody.find_separator", lambda name: Separator())
    monkeypatch.setattr(
        "musicgen_train.melody.melodic_stems", lambda model, wav, _: separated.append(1) or wav
    )
    wav, other = tone(0.5, 200.0), tone(0.5, 300.0)
    made = prepare_melodies([wav, other, wav, wav], RATE, [1.0, 1.0, 1.0, 1.0], RATE, "htdemucs")
    assert len(separated) == 2
    for found, given in zip(made, [wav, other, wav, wav], strict=True):
        assert found is not None
        torch.testing.assert_close(found, given)


@pytest.mark.parametrize("separator", [None, "htdemucs"])
def test_a_melody_of_which_nothing_is_left_is_named(monkeypatch, separator):
    class Separator:
        samplerate, audio_channels = RATE, 2

    monkeypatch.setattr("musicgen_train.melody.find_separator", lambda name: Separator())
    with pytest.raises(UserError, match="melody 1 is shorter than one sample at 1600 Hz"):
        prepare_melodies([None, torch.ones(1, 1)], 44_100, [1.0, 1.0], RATE, separator)


def test_the_chroma_does_not_depend_on_torchs_defaults():
    melodies = Melodies([two_notes(), None], EXTRACTOR, 26, 1.0)
    expected = melodies.window([0, 1], 0.4)
    torch.set_default_device("meta")
    torch.set_default_dtype(torch.float64)
    try:
        made = melodies.window([0, 1], 0.4)
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)
    assert made is not None and expected is not None and torch.equal(made, expected)
