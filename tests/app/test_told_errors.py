import logging
from pathlib import Path

import pytest
import torch

from musicgen_train.app.told_errors import told, without_paths
from musicgen_train.errors import UserError


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("/srv/models/x/config.json is no JSON", "config.json is no JSON"),
        ("no file '/srv/models/a b.wav': look", "no file 'a b.wav': look"),
        ("(/srv/models/x.bin)", "(x.bin)"),
        ("see https://example.org/a/b/c", "see https://example.org/a/b/c"),
        ("12 steps/s and/or more", "12 steps/s and/or more"),
        ("runs/mine/model is gone", "runs/mine/model is gone"),
        ("~/music/x.wav is gone", "x.wav is gone"),
    ],
)
def test_folders_of_the_server_are_not_told(line, shown):
    assert without_paths(line) == shown


def test_a_place_is_called_what_the_visitor_calls_it(tmp_path):
    place = tmp_path / "my models" / "x"
    place.mkdir(parents=True)
    line = f"{place}/config.json: no model at {place}"
    assert without_paths(line, {str(place): "x"}) == "x/config.json: no model at x"
    link = tmp_path / "link"
    link.symlink_to(place)
    assert without_paths(line, {str(link): "x"}) == "x/config.json: no model at x"


def test_the_home_of_the_server_is_not_told_even_with_spaces_in_it(monkeypatch):
    monkeypatch.setattr(Path, "home", lambda: Path("/home/John Smith"))
    assert without_paths("/home/John Smith/x.wav is gone") == "x.wav is gone"


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB (/srv/x.py)"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can't allocate "
                     "memory: you tried to allocate 4000 bytes. Error code 12"),
        MemoryError(),
    ],
)  # fmt: skip
def test_want_of_memory_is_told_with_a_remedy(error):
    assert told(error).startswith("not enough memory for this: choose fewer variants")


def test_what_nobody_expected_is_for_the_log(caplog):
    try:
        {}["/srv/secret"]
    except KeyError as error:
        with caplog.at_level(logging.ERROR):
            line = told(error)
    assert "secret" not in line
    assert "Traceback" in caplog.text
    assert "secret" in caplog.text


def test_what_a_user_can_mend_is_told_as_it_is():
    assert told(UserError("top_k -1: give 0")) == "top_k -1: give 0"
