"""Metadata becomes text as MusicGen trains on it, whatever fields there are."""

import pytest
import torch

from musicgen_train.conditioning.merging import FIELDS, merge_metadata

METADATA = {
    "title": "Ignored",
    "description": "A calm piece.",
    "key": "C major",
    "bpm": 120.0,
    "genre": "jazz",
    "moods": ["calm", "warm"],
    "instrument": None,
    "keywords": [],
}


def merge(metadata: dict, seed: int = 0, **options) -> str:
    return merge_metadata(metadata, torch.Generator().manual_seed(seed), **options)


ALL = {"merge_p": 1.0, "drop_description_p": 0.0, "keep_field_p": 1.0}


def test_without_merging_the_description_stands_alone():
    assert merge(METADATA, merge_p=0.0) == "A calm piece."


def test_everything_merged_is_the_description_and_every_present_field():
    first, *fields = merge(METADATA, **ALL).split(". ")
    assert first == "A calm piece"
    assert sorted(fields) == ["bpm: 120", "genre: jazz", "key: C major", "moods: calm, warm"]


def test_the_order_of_fields_varies():
    assert len({merge(METADATA, seed, **ALL) for seed in range(30)}) > 5


def test_without_description_only_fields_remain():
    text = merge(METADATA, **{**ALL, "drop_description_p": 1.0})
    assert "calm piece" not in text
    assert merge({"genre": "jazz"}, **ALL) == "genre: jazz"


@pytest.mark.parametrize("metadata", [{}, {"description": None}, {"moods": []}, {"bpm": None}])
def test_nothing_known_is_no_text(metadata):
    assert merge(metadata, **ALL) == ""


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_is_optional(field):
    metadata = {name: "value" for name in FIELDS if name != field}
    assert sorted(merge(metadata, **ALL).split(". ")) == sorted(
        f"{name}: value" for name in FIELDS if name != field
    )


def test_probabilities_are_what_they_say():
    texts = [merge(METADATA, seed) for seed in range(2000)]
    plain = sum(text == "A calm piece." for text in texts) / 2000
    merged = [text for text in texts if text != "A calm piece."]
    # Merging that keeps the description but none of four fields shows as "A calm piece".
    assert plain == pytest.approx(0.75, abs=0.04)
    described = sum(text.startswith("A calm piece") for text in merged) / len(merged)
    assert described == pytest.approx(0.5, abs=0.08)
    with_genre = sum("genre: jazz" in text for text in merged) / len(merged)
    assert with_genre == pytest.approx(0.5, abs=0.08)
