"""Checkpoints that appear on disk whole or not at all, and that can be told from damaged ones.

A file is a zip archive, as torch writes it, with a CRC-32 of each record. A folder, as
torch.distributed.checkpoint writes it, gets a manifest with the size and the CRC-32 of each file.
What is being written is called *.part, and so is what a killed run leaves behind.
"""

import errno
import io
import json
import os
import pickle
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from musicgen_train.errors import UserError, reason_of

MANIFEST = "manifest.json"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_CHUNK = 2**24  # bytes


class WholeFileIO(TorchCheckpointIO):
    """Checkpoint files that are whole: written beside their name, synced, read back, renamed.

    Lightning's own builds the file in memory once more, and leaves it to the system when it
    reaches the disk: a rename may, before the bytes do.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        assert storage_options is None, storage_options
        write_whole(checkpoint, Path(path))


def write_whole(content: dict[str, Any], path: Path) -> None:
    """Write a torch file; a full disk is told as a `UserError` and leaves what was there before."""
    temporary = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            torch.save(content, file)
            _sync(file)
        if not is_whole(temporary):
            raise UserError(
                f"{path}: what was written is not what the disk holds: check the disk of "
                f"{path.parent}; older checkpoints are left as they were"
            )
        temporary.replace(path)
        sync_folder(path.parent)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        raise disk_error(error, path) or error from None


def is_whole(path: Path) -> bool:
    """Whether a checkpoint file or folder is undamaged; all of it is read."""
    try:
        return _folder_is_whole(path) if path.is_dir() else _file_is_whole(path)
    except Exception:  # whatever stumbles over damaged bytes
        return False


def _file_is_whole(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        return bool(archive.namelist()) and archive.testzip() is None


def _folder_is_whole(folder: Path) -> bool:
    manifest = json.loads((folder / MANIFEST).read_text())
    return bool(manifest) and all(
        (folder / name).stat().st_size == entry["size"] and _crc(folder / name) == entry["crc32"]
        for name, entry in manifest.items()
    )


def seal(folder: Path, final: Path) -> None:
    """Finish a checkpoint folder that was written under a temporary name: it becomes `final`.

    All that the ranks wrote into it is synced and listed in a manifest before it gets its name.
    A checkpoint of that name is replaced.
    """
    try:
        files = sorted(path for path in folder.iterdir() if path.name != MANIFEST)
        assert files, f"nothing was written to {folder}"
        manifest = {}
        for path in files:
            with path.open("rb") as file:
                _sync(file)
            manifest[path.name] = {"size": path.stat().st_size, "crc32": _crc(path)}
        with (folder / MANIFEST).open("w") as file:
            json.dump(manifest, file, indent=2)
            _sync(file)
        sync_folder(folder)
        replaced = final.with_name(final.name + ".old.part")
        if final.exists():  # no system renames a folder onto a full one
            final.rename(replaced)
        folder.rename(final)
        sync_folder(final.parent)
        remove(replaced)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise disk_error(error, final) or error from None


def remove(path: Path) -> None:
    """Remove a checkpoint, be it a file or a folder, or nothing."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _crc(path: Path) -> int:
    crc = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            crc = zlib.crc32(chunk, crc)
    return crc


def _sync(file: Any) -> None:
    """Wait until the disk has it; what is read afterwards comes from there where that is told."""
    file.flush()
    os.fsync(file.fileno())
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names of a folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def disk_error(error: BaseException, path: Path) -> UserError | None:
    """What a full disk means for a run that writes to `path`; None for any other error.

    torch hides the error of the system behind one of its own.
    """
    known: BaseException | None = error
    while known is not None:
        if isinstance(known, OSError) and known.errno in _FULL:
            place = path.absolute()
            folder = next(folder for folder in (place, *place.parents) if folder.is_dir())
            return UserError(
                f"{path} cannot be written: the disk of {folder} is full "
                f"({shutil.disk_usage(folder).free / 1e9:.1f} GB free, {known.strerror}): free "
                "some, or lower callbacks.checkpoint.save_top_k, and go on with resume=auto; "
                "older checkpoints are whole"
            )
        known = known.__cause__ or known.__context__
    return None


@contextmanager
def full_disk_is_told(run_dir: Path) -> Iterator[None]:
    """Whatever of a run meets a full disk first, a log for instance, tells it in one line."""
    try:
        yield
    except OSError as error:
        raise disk_error(error, Path(error.filename or run_dir)) or error from None


# What the metadata of a real folder is made of; nothing else is looked up by its name.
_METADATA_CLASSES = {
    *(
        ("torch.distributed.checkpoint.metadata", name)
        for name in (
            "BytesStorageMetadata",
            "ChunkStorageMetadata",
            "Metadata",
            "MetadataIndex",
            "StorageMeta",
            "TensorProperties",
            "TensorStorageMetadata",
            "_MEM_FORMAT_ENCODING",
        )
    ),
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
    ("torch", "Size"),
    ("torch.serialization", "_get_layout"),
    ("collections", "OrderedDict"),
    ("pathlib", "PosixPath"),
    ("pathlib", "PurePosixPath"),
}


class _MetadataUnpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> Any:
        name = (module_name, global_name)
        known = module_name == "torch" and isinstance(getattr(torch, global_name, 0), torch.dtype)
        if not known and name not in _METADATA_CLASSES:
            raise pickle.UnpicklingError(f"names {module_name}.{global_name}")
        return super().find_class(*name)


def check_metadata(folder: Path) -> None:
    """Refuse a folder that could run code when torch opens it.

    torch reads `.metadata`, and every value that is no tensor, with an unrestricted unpickler.
    """
    from torch.distributed.checkpoint.metadata import BytesStorageMetadata, Metadata

    try:
        with (folder / ".metadata").open("rb") as file:
            metadata = _MetadataUnpickler(file).load()
        assert isinstance(metadata, Metadata), type(metadata)
        for index, place in metadata.storage_data.items():  # type: ignore[union-attr]
            if isinstance(metadata.state_dict_metadata[index.fqn], BytesStorageMetadata):
                _check_value(folder, place)
    except Exception as error:
        raise UserError(
            f"{folder} is no checkpoint folder of train.py, or a damaged one "
            f"({reason_of(error)}): take an earlier one"
        ) from None


def _check_value(folder: Path, place: Any) -> None:
    assert Path(place.relative_path).name == place.relative_path, place.relative_path
    with (folder / place.relative_path).open("rb") as file:
        file.seek(place.offset)
        torch.load(io.BytesIO(file.read(place.length)), weights_only=True)
