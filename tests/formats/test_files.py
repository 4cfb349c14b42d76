"""Files: broken ones are named in one line, new ones appear whole or not at all."""

import os
import pickle
import resource
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from musicgen_train.errors import UserError
from musicgen_train.formats import files
from musicgen_train.formats.files import (
    path_of,
    read_json,
    read_pickle,
    read_tensors,
    write_json,
    write_pickle,
    write_tensors,
)

READERS = [read_json, read_tensors, read_pickle]


@pytest.fixture
def small_files_only():
    """The system refuses larger ones, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("write", "content"),
    [
        (write_json, {"a": "x" * 100_000}),
        (write_tensors, {"a": torch.zeros(25_000)}),
        (write_pickle, {"a": torch.zeros(25_000)}),
    ],
)
def test_a_disk_that_is_full_is_said_and_nothing_is_left(
    write, content, tmp_path, small_files_only
):
    (tmp_path / "model.bin").write_text("before")
    with pytest.raises(OSError, match="File too large") as raised:
        write(content, tmp_path / "model.bin")
    assert raised.value.filename == str(tmp_path / "model.bin")
    assert [path.name for path in tmp_path.iterdir()] == ["model.bin"]
    assert (tmp_path / "model.bin").read_text() == "before"


def test_content_that_cannot_be_written_leaves_nothing(tmp_path):
    with pytest.raises(TypeError):
        write_json({"a": object()}, tmp_path / "config.json")
    assert not list(tmp_path.iterdir())


def refused(read, path):
    with pytest.raises(UserError) as raised:
        read(path)
    message = str(raised.value)
    assert str(path) in message and "\n" not in message and len(message) < 500
    return message


@pytest.mark.parametrize("text", ["", "{", "9" * 5000, "[" * 100_000, "\udcff"])
def test_what_is_no_json_is_said(text, tmp_path):
    (tmp_path / "a.json").write_bytes(text.encode(errors="surrogateescape"))
    assert "is no JSON" in refused(read_json, tmp_path / "a.json")


@pytest.mark.parametrize("read", READERS)
def test_a_file_that_is_no_file_is_not_waited_for(read, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "is missing" in refused(read, tmp_path / "pipe")
    assert "is missing" in refused(read, tmp_path)


@pytest.mark.parametrize("read", READERS)
def test_a_file_that_may_not_be_read_is_not_called_corrupt(read, tmp_path, monkeypatch):
    save_file({"a": torch.ones(1)}, tmp_path / "file")

    def forbid(*_, **__):
        raise PermissionError(13, "Permission denied")

    for place, name in ((files, "safe_open"), (torch, "load"), (files.Path, "read_text")):
        monkeypatch.setattr(place, name, forbid)
    assert "cannot be read: Permission denied" in refused(read, tmp_path / "file")


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you")]
)
def test_a_file_that_does_not_fit_is_not_called_corrupt(error, tmp_path, monkeypatch):
    def load(*_, **__):
        raise error

    torch.save({}, tmp_path / "file")
    monkeypatch.setattr(torch, "load", load)
    assert "does not fit into memory" in refused(read_pickle, tmp_path / "file")


class Harmful:
    """Pickles as a shell command."""

    def __reduce__(self):
        return os.system, ("true",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("content", [Harmful(), {"a": 1, "b": [Harmful()]}], ids=["bare", "inside"])
def test_a_plain_pickle_with_code_is_called_that(content, protocol, tmp_path):
    (tmp_path / "file").write_bytes(pickle.dumps(content, protocol=protocol))
    assert "could run code" in refused(read_pickle, tmp_path / "file")


@pytest.mark.parametrize("content", [b"", b"hello world\n", bytes(range(256)), pickle.dumps({})])
def test_other_bytes_are_corrupt(content, tmp_path):
    (tmp_path / "file").write_bytes(content)
    assert "truncated or corrupt" in refused(read_pickle, tmp_path / "file")


@pytest.mark.parametrize("number", [np.float64(1.5), np.float32(2), np.int64(-3), np.bool_(True)])
@pytest.mark.parametrize("core", ["_core", "core"], ids=["numpy 2", "numpy 1"])
def test_numbers_of_numpy_are_read_only_where_they_are_expected(number, core, tmp_path):
    torch.save({"a": number, "b": torch.ones(2)}, tmp_path / "new")
    with zipfile.ZipFile(tmp_path / "new") as new, zipfile.ZipFile(tmp_path / "file", "w") as file:
        for name in new.namelist():
            file.writestr(name, new.read(name).replace(b"numpy._core", f"numpy.{core}".encode()))
    assert "could run code" in refused(read_pickle, tmp_path / "file")
    content = read_pickle(tmp_path / "file", numpy_scalars=True)
    assert content["a"] == number and torch.equal(content["b"], torch.ones(2))
    assert "could run code" in refused(read_pickle, tmp_path / "file")  # nothing stays allowed


@pytest.mark.parametrize("content", [Harmful(), np.zeros(2), {"a": np.array([Harmful()])}])
def test_where_numbers_of_numpy_are_expected_code_still_is_not(content, tmp_path):
    torch.save({"a": content}, tmp_path / "file")
    with pytest.raises(UserError, match="could run code"):
        read_pickle(tmp_path / "file", numpy_scalars=True)


@pytest.mark.parametrize("name", ["x" * 300, "./" + "x" * 300, "/" + "x/" * 3000, "a\0b"])
def test_a_name_that_no_file_can_have_is_refused(name):
    with pytest.raises(UserError, match="no checkpoint at") as raised:
        path_of(name)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 300
