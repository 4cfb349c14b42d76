import numpy as np
import pytest
import torch

from data_prep.key import estimate_key
from data_prep.key_names import key_name
from tests.data_prep.random_songs import MAJOR, MINOR, no_music, song

RATE = 16000


@pytest.mark.parametrize("tonic", [0, 1, 4, 6, 9, 11])
@pytest.mark.parametrize("minor", [False, True])
def test_the_key_is_heard(tonic, minor):
    wav = torch.from_numpy(song(3, 16.0, RATE, tonic=tonic, scale=MINOR if minor else MAJOR))
    assert estimate_key([wav], RATE) == key_name(tonic, minor)


@pytest.mark.parametrize("cents", [-40, 25, 40])
def test_a_piece_may_be_out_of_tune(cents):
    wav = torch.from_numpy(song(3, 16.0, RATE, tonic=2))
    assert estimate_key([wav], round(RATE * 2 ** (cents / 1200))) == "D major"


def test_it_does_not_depend_on_the_sizes_of_blocks_or_on_gain():
    wav = torch.from_numpy(song(4, 16.0, RATE, tonic=7))
    assert estimate_key([wav], RATE) == "G major"
    assert estimate_key(wav.split(7777, 1), RATE) == "G major"
    assert estimate_key([0.003 * wav], RATE) == "G major"


QUIET = no_music(RATE)


@pytest.mark.parametrize("wav", QUIET.values(), ids=QUIET)
def test_without_a_clear_key_there_is_none(wav):
    assert estimate_key([torch.from_numpy(wav[None].astype(np.float32))], RATE) is None
    assert estimate_key([], RATE) is None
