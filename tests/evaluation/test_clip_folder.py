import numpy as np
import pytest
import torch

from musicgen_train.errors import UserError
from musicgen_train.evaluation.clip_folder import ClipFolder
from musicgen_train.evaluation.ranks import Ranks

REQUEST = {"model": "abc", "duration": 2.0, "splits": ["test"], "loudness": None}


def written(folder: ClipFolder) -> None:
    wavs = torch.linspace(-0.5, 0.5, 2 * 800).reshape(2, 1, 800)
    folder.write("text", ["000", "001"], wavs, 8000, {"nats": np.array([1.5, 2.5])})


def test_a_batch_is_whole_once_its_figures_are_there(tmp_path):
    folder = ClipFolder(tmp_path)
    folder.open(REQUEST, Ranks())
    assert not folder.has("text", ["000", "001"])
    written(folder)
    assert folder.has("text", ["000", "001"])
    assert folder.figures("text", ["000", "001"])["nats"].tolist() == [1.5, 2.5]
    folder.place("text", "001").unlink()
    assert not folder.has("text", ["000", "001"])


def test_the_same_request_goes_on_and_another_is_refused_by_what_differs(tmp_path):
    ClipFolder(tmp_path).open(REQUEST, Ranks())
    written(ClipFolder(tmp_path))
    ClipFolder(tmp_path).open(dict(REQUEST), Ranks())
    assert ClipFolder(tmp_path).has("text", ["000", "001"])
    with pytest.raises(UserError, match=r"holds another evaluation \(duration: 2\.0, now 3\.0\)"):
        ClipFolder(tmp_path).open(REQUEST | {"duration": 3.0}, Ranks())
    assert ClipFolder(tmp_path).has("text", ["000", "001"])


def test_what_a_killed_run_left_behind_is_swept_away(tmp_path):
    folder = ClipFolder(tmp_path)
    folder.open(REQUEST, Ranks())
    written(folder)
    left = [folder.place("text", "002").with_name(".002.flac.7.tmp"), folder.work / ".x.npz.7.tmp"]
    for path in left:
        path.write_bytes(b"half")
    folder.open(REQUEST, Ranks())
    assert not any(path.exists() for path in left) and folder.has("text", ["000", "001"])


@pytest.mark.parametrize("what", ["figures", "clip"])
def test_a_batch_with_a_damaged_file_is_not_whole(tmp_path, what):
    folder = ClipFolder(tmp_path)
    folder.open(REQUEST, Ranks())
    written(folder)
    (figures,) = folder.work.glob("*.npz")
    place = figures if what == "figures" else folder.place("text", "001")
    place.write_bytes(place.read_bytes()[:100])
    assert not folder.has("text", ["000", "001"])


def test_long_names_and_names_in_folders_have_figures_of_their_own(tmp_path):
    folder = ClipFolder(tmp_path)
    folder.open(REQUEST, Ranks())
    for name in ("a/b", "a-b", "x" * 190 + "/" + "y" * 190):
        folder.write("text", [name], torch.zeros(1, 1, 800), 8000, {})
        assert folder.has("text", [name])
    assert len(list(folder.work.glob("*.npz"))) == 3


def test_a_damaged_request_is_one_line(tmp_path):
    (tmp_path / "request.json").write_text("{")
    with pytest.raises(UserError, match=r"request\.json is no JSON"):
        ClipFolder(tmp_path).open(REQUEST, Ranks())


def test_a_folder_that_another_process_does_not_see_is_refused(tmp_path):
    ClipFolder(tmp_path / "mine").open(REQUEST, Ranks(0, 2))
    with pytest.raises(UserError, match="is not on a file system that all processes see"):
        ClipFolder(tmp_path / "theirs").open(REQUEST, Ranks(1, 2))
