"""A file is what it was or what it should become, and any text of a path survives."""

import json

import pytest

from musicgen_train.errors import UserError
from musicgen_train.whole_files import replacing, write_json, write_text, writing


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    place = tmp_path / "a.txt"
    write_text(place, "old")
    with pytest.raises(ZeroDivisionError), replacing(place) as partial:
        partial.write_text("new")
        raise ZeroDivisionError
    assert place.read_text() == "old"
    assert list(tmp_path.iterdir()) == [place]


def test_json_holds_any_name_whatever_the_locale(tmp_path):
    content = {"folder": "/music/café 音楽 \udce9", "songs": [1, None]}  # one of no encoding
    write_json(tmp_path / "new" / "a.json", content)
    text = (tmp_path / "new" / "a.json").read_text(encoding="ascii")
    assert json.loads(text) == content and text.endswith("\n")


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    place = tmp_path / "file" / "a.txt"
    told = pytest.raises(UserError, match=r"a\.txt: cannot be written \(Not a directory\)")
    with told, writing(place), replacing(place) as partial:
        partial.write_text("new")
