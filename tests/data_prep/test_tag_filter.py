import pytest

from data_prep.captions import compose_description
from data_prep.tag_filter import vocal_tag


@pytest.mark.parametrize(
    "tag",
    ["vocals", "Vocal", "female vocals", "lead-vocal", "VOCAL_CHOP", "free vocals", "a cappella",
     "A  Cappella", "Voices", "free-form singing", "Non-English vocals",
     "no drums, female vocals", "no autotune vocals", "non-stop singing",
     "not instrumental, vocals", "no drums; vocals", "non-lead vocals", "no drums\uff0cvocals",
     "off-key singing"],
)  # fmt: skip
def test_tags_with_vocals_are_found(tag):
    found = vocal_tag({"instrument": ["piano", tag]}, ["vocals", "voice", "singing", "a cappella"])
    assert found == f"instrument: {tag}"


@pytest.mark.parametrize(
    "tag",
    ["no vocals", "no lead vocals", "without any voice", "non-vocal", "vocal-free", "vocal removed",
     "voiceless", "instrumental", "trap", "vocalise", "not singing", "off vocal",
     "off-vocal version", "slow, no vocals", "piano without lead vocals", "no vocals, no rap"],
)  # fmt: skip
def test_tags_without_vocals_are_not(tag):
    words = ["vocals", "voice", "singing", "rap"]
    assert vocal_tag({"genre": tag, "keywords": [tag]}, words) is None


def test_the_list_of_words_decides():
    metadata = {"genre": "choir music", "title": "vocals", "moods": None}
    assert vocal_tag(metadata, ["vocals"]) is None
    assert vocal_tag(metadata, []) is None
    assert vocal_tag(metadata, [""]) is None
    assert vocal_tag(metadata) == "genre: choir music"


def test_a_caption_says_what_is_known():
    metadata = {
        "genre": ["Folk"], "moods": ["Calm", "warm"], "instrument": ["flute", "guitar", "oboe"],
        "keywords": ["fingerpicked", "folk", "female vocals", "no vocals"], "bpm": 93.4,
        "key": "F minor", "title": "x", "artist": "y",
    }  # fmt: skip
    assert compose_description(metadata) == (
        "Calm, warm folk with flute, guitar and oboe, fingerpicked, no vocals, 93 bpm, in F minor"
    )


@pytest.mark.parametrize(
    ("metadata", "caption"),
    [({}, ""), ({"title": "x"}, ""), ({"bpm": 90}, "Music, 90 bpm"), ({"genre": "EDM"}, "EDM"),
     ({"instrument": ["piano"], "key": "C major"}, "Music with piano, in C major"),
     ({"keywords": ["loud"]}, "Music, loud"), ({"genre": ["choir"]}, ""),
     ({"genre": "breakfast", "keywords": ["fast", "fast"]}, "Breakfast, fast"),
     ({"genre": "jazz", "keywords": ["Jazz", "slow"]}, "Jazz, slow"),
     ({"genre": ["EDM hit", "Lo-Fi"], "moods": "Feel Good"}, "Feel good EDM hit and lo-fi")],
)  # fmt: skip
def test_a_caption_of_little_is_short(metadata, caption):
    assert compose_description(metadata) == caption
