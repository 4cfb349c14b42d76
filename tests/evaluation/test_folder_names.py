from pathlib import Path

import pytest

from musicgen_train.evaluation.folder_names import shortest_names


@pytest.mark.parametrize(
    ("places", "names"),
    [
        (["/runs/a/eval", "/runs/b/eval"], ["a/eval", "b/eval"]),
        (["/runs/a", "/runs/b", "/other/a"], ["runs/a", "runs/b", "other/a"]),
        (["/a", "/b/a"], ["/a", "b/a"]),
        (["/runs/b\udcff"], ["b\ufffd"]),
    ],
)
def test_names_have_as_few_parts_as_tell_them_apart(places, names):
    assert shortest_names([Path(place) for place in places]) == names
