"""Laws of the synthesised voice."""

import numpy as np

from data_prep.demo.piece import Note
from data_prep.demo.voice import VOWELS, articulate, formant_filter, sing

RATE = 44100


def test_the_voice_sings_the_written_pitch_with_vibrato():
    notes = [Note(0.1, 1.4, 57, 90)]
    wav = sing(notes, 2 * RATE, RATE, np.random.default_rng(0))[0]
    heard = []
    for first in range(int(0.6 * RATE), int(1.3 * RATE), 1000):
        auto = np.correlate(wav[first : first + 2400], wav[first : first + 2400], "full")[2399:]
        heard.append(RATE / (100 + auto[100:400].argmax()))
    semitones = 12 * np.log2(np.array(heard) / 220)
    assert abs(semitones.mean()) < 0.4
    assert 0.2 < np.ptp(semitones) < 2.0


def test_the_voice_is_silent_between_phrases():
    notes = [Note(0.0, 0.5, 57, 90), Note(1.5, 0.4, 60, 90)]
    wav = sing(notes, 2 * RATE, RATE, np.random.default_rng(1))
    assert np.abs(wav[:, int(0.7 * RATE) : int(1.3 * RATE)]).max() == 0.0


def test_vowels_differ_in_their_formants():
    source = np.zeros(8192)
    source[:: RATE // 110] = 1.0
    frequencies = np.fft.rfftfreq(8192, 1 / RATE)
    second = (frequencies > 1500) & (frequencies < 3200)
    share = {}
    for vowel in VOWELS:
        wav = articulate(source, [formant_filter(vowel, 1.0, RATE)] * 2, RATE)
        power = np.abs(np.fft.rfft(wav)) ** 2
        share[vowel] = power[second].sum() / power.sum()
    assert share["i"] > 3 * share["u"] and share["e"] > 3 * share["o"]
