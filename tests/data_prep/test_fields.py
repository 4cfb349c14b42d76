import pytest

from data_prep.fields import FIELDS, normalise
from data_prep.key_names import key_name, parse_key


@pytest.mark.parametrize(
    ("given", "bpm"),
    [("120.0", 120), (" 98,5 BPM ", 98.5), (120.0, 120), (119.987, 119.99), (0, None), ("", None),
     (float("nan"), None), (float("inf"), None), (10**400, None), (True, None), ("fast", None),
     ([128, 64], 128), ({"a": 1}, None), ("90-100", None)],
)  # fmt: skip
def test_bpm_is_a_number_or_left_out(given, bpm):
    assert normalise({"bpm": given}).get("bpm") == bpm


@pytest.mark.parametrize(
    ("given", "items"),
    [("a; b", ["a", "b"]), ("a, b;A", ["a", "b"]), ("Pop/Funk", ["Pop/Funk"]), ("a\0b", ["a", "b"]),
     (["b ", "a", "b"], ["b", "a"]), ("['low quality', \"strings\"]", ["low quality", "strings"]),
     (["Folk, World, & Country"], ["Folk, World, & Country"]), (["a", None, {}, 3], ["a", "3"]),
     ("Other", None), ([], None), (None, None), (float("nan"), None)],
)  # fmt: skip
def test_lists_come_from_lists_and_from_text(given, items):
    assert normalise({"genre": given}).get("genre") == items


@pytest.mark.parametrize(
    ("given", "text"),
    [(" a\n\tb\0c\x1b[0m ", "a b c [0m"), ("e\u0301", "é"), (1999, "1999"), ("", None),
     ("Unknown", None), (float("nan"), None), (["x", "y"], "x"), (b"x", None),
     ("\ud800x", "x"), ("y" * 10000, "y" * 200)],
)  # fmt: skip
def test_text_is_one_short_line_without_control_characters(given, text):
    assert normalise({"title": given}).get("title") == text


def test_other_names_of_fields_are_known_and_unknown_ones_left_out():
    given = {"Caption": "c", "Album Artist": "a", "MOOD": "m", "tempo": 90, "Initial_Key": "Am"}
    assert normalise(given | {"stems": {}, "duration": 3, 7: 8}) == {
        "description": "c", "artist": "a", "moods": ["m"], "bpm": 90, "key": "A minor",
    }  # fmt: skip
    assert normalise({"mood": "other", "moods": "", "tempo": 90, "bpm": 80}) == {"bpm": 80}


def test_normalising_twice_changes_nothing():
    given = dict.fromkeys(FIELDS, "120; x") | {"bpm": "120.50", "key": "bb min"}
    once = normalise(given)
    assert normalise(once) == once
    assert list(once) == list(FIELDS)


def test_every_key_is_read_in_every_spelling():
    for note in range(12):
        for minor in (False, True):
            name = key_name(note, minor)
            letter, mode = name.split()
            for text in (name, letter + mode, f"{letter.lower()} {mode[:3].upper()}.",
                         letter + ("m" if minor else "M")):  # fmt: skip
                assert parse_key(text) == name, text
    assert len({parse_key(f"{hour}{ring}") for hour in range(1, 13) for ring in "AB"}) == 24
    assert (parse_key("8A"), parse_key("5b"), parse_key("G♯m")) == (
        "A minor", "Eb major", "G# minor",
    )  # fmt: skip
    assert [parse_key(text) for text in ("", "H", "o", "13A", "all", "D dorian")] == [None] * 6
    assert normalise({"key": "D dorian"}) == {"key": "D dorian"}
    assert normalise({"key": "o"}) == {}
