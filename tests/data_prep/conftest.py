"""A library of music for the tests of preparation."""

from pathlib import Path

import pytest

from tests.data_prep.small_library import write_track


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Four artists with two tracks each of 5 s, without vocals."""
    for artist in ("ada", "bo", "cy", "dee"):
        for title in ("one", "two"):
            write_track(tmp_path / "library", artist, title, 5.0)
    return tmp_path / "library"
