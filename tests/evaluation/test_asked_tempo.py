"""The tempo of a text: what it names is taken, what it does not name is not made up."""

import math

import pytest

from musicgen_train.evaluation.asked_tempo import tempo_classes, tempo_phrase

EDGES = [104.0, 119.0, 132.0]


@pytest.mark.parametrize(
    "text, phrase, classes",
    [
        ("Rock, 127 bpm, guitar", "127 bpm", [2, 3]),  # 4 % of 127 reach 132
        ("around 96.5 BPM", "96.5 bpm", [0]),
        ("140 beats per minute", "140 bpm", [3]),
        ("A slow ambient song, 72 bpm", "72 bpm", [0]),  # the number says it more exactly
        ("Mid-tempo funk", "mid-tempo", [0, 1, 2]),
        ("dreamy and fast", "fast", [2, 3]),
        ("a steady, mid-tempo groove", "mid-tempo", [0, 1, 2]),  # both words say one thing
    ],
)
def test_a_tempo_that_a_text_names_is_every_class_that_holds_some_of_it(text, phrase, classes):
    assert tempo_phrase(text) == phrase
    assert tempo_classes(phrase, EDGES) == classes


@pytest.mark.parametrize(
    "text",
    [
        "calm piano",
        "fast square-wave arpeggios",  # a sound, in music of any tempo
        "flute over a wash of slow pads",
        "slow, then fast",
        "90 bpm, then 140 bpm",
        "a slow-burning song",
        "breakfast at noon",
        "bpm 1200",
    ],
)
def test_a_text_that_names_no_tempo_or_two_asks_for_none(text):
    assert tempo_phrase(text) is None


def test_with_no_edges_every_tempo_is_the_one_class():
    assert tempo_classes("slow", []) == tempo_classes("300 bpm", []) == [0]
    assert tempo_classes("fast", [math.inf]) == [0]
