import numpy as np
import pytest
import torch

from data_prep.tempo import estimate_tempo
from tests.data_prep.random_songs import no_music, song

RATE = 16000


@pytest.mark.parametrize("bpm", [72, 97.3, 120, 141, 168])
def test_the_tempo_is_heard_whatever_the_gain(bpm):
    wav = torch.from_numpy(song(0, 16.0, RATE, bpm))
    for gain in (1.0, 0.001):
        found = estimate_tempo([gain * wav], RATE)
        assert found is not None
        nearest = min((found, found / 2, 2 * found), key=lambda tempo: abs(tempo - bpm))
        assert nearest == pytest.approx(bpm, rel=0.01)


def test_it_does_not_depend_on_the_sizes_of_blocks_or_on_the_rate():
    wav = torch.from_numpy(song(0, 16.0, 22050, 110))
    whole = estimate_tempo([wav], 22050)
    assert whole == pytest.approx(110, rel=0.01)
    assert estimate_tempo(wav.split(7777, 1), 22050) == whole
    wav = torch.from_numpy(song(0, 16.0, 8000, 110))
    assert estimate_tempo([wav], 8000) == pytest.approx(110, rel=0.01)


QUIET = no_music(RATE) | {"too short": song(0, 3.0, RATE)[0]}


@pytest.mark.parametrize("wav", QUIET.values(), ids=QUIET)
def test_without_a_beat_there_is_no_tempo(wav):
    assert estimate_tempo([torch.from_numpy(wav[None].astype(np.float32))], RATE) is None
    assert estimate_tempo([], RATE) is None
