"""Files of checkpoints: broken ones are named, and new ones appear whole or not at all."""

import errno
import json
import os
import pickletools
import re
import reprlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from musicgen_train.errors import UserError

_CALLS = ("GLOBAL", "STACK_GLOBAL", "INST")


def brief(value: Any) -> str:
    """A value from a stranger's file, as short as a message wants it, however deep it is."""
    short = reprlib.Repr()
    short.maxlevel, short.maxstring = 2, 80
    return short.repr(value)


def path_of(path_or_name: str | Path) -> Path:
    """What a user wrote as a path; what no file can be called, or may not be seen, is refused."""
    path = Path(path_or_name)
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass  # it may be a name of the hub
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"no checkpoint at {brief(str(path))}: {reason}") from None
    return path


def read_json(path: Path) -> Any:
    """The content of a JSON file."""
    try:
        return json.loads(_existing(path).read_text())
    except UserError:
        raise
    except (ValueError, RecursionError):  # also of a number with thousands of digits
        raise UserError(f"{path} is no JSON: copy or export it again") from None
    except OSError as error:
        raise _unreadable(path, error) from None


def read_tensors(path: Path, prefix: str = "") -> dict[str, Tensor]:
    """The tensors of a safetensors file under a prefix, which is left out of their names."""
    try:
        with safe_open(str(_existing(path)), "pt") as file:
            names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118
            # Copies: the file is mapped into memory, and it may change while the model lives.
            return {name.removeprefix(prefix): file.get_tensor(name).clone() for name in names}
    except SafetensorError as error:
        raise UserError(f"{path} is truncated or corrupt ({error}): copy it again") from None
    except OSError as error:
        raise _unreadable(path, error) from None


def read_pickle(path: Path, *, mapped: bool = False, numpy_scalars: bool = False) -> Any:
    """A torch pickle of tensors and plain values; anything that could run code is refused.

    mapped: leave the tensors on disk until they are used, for a file with more than is wanted.
    numpy_scalars: numbers of numpy are plain values, too.
    """
    allowed = _numpy_scalar_types() if numpy_scalars else []
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(allowed):
            warnings.simplefilter("ignore")  # about the protocols of old files
            return torch.load(_existing(path), map_location="cpu", weights_only=True, mmap=mapped)
    except UserError:
        raise
    except Exception as error:  # whatever stumbles over bytes that are no pickle
        # A file that ends too soon is an invalid argument to seek().
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise _unreadable(path, error) from None
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            raise UserError(f"{path} does not fit into memory: free some") from None
        if "GLOBAL" in str(error) or _names_code(path):
            raise UserError(
                f"{path} holds more than tensors and plain values, and opening that could run "
                "code: export the model again, without its training state"
            ) from None
        raise UserError(f"{path} is truncated or corrupt: copy it again") from None


def _numpy_scalar_types() -> list[Any]:
    """What a pickled number of numpy is made of: a constructor, and types of real numbers."""
    scalar = np.float64(0).__reduce__()[0]
    numbers = (np.dtypes.BoolDType, *(type(np.dtype(code)) for code in "bBhHiIlLefd"))
    # Files of numpy 1 say core, those of numpy 2 _core.
    names = [f"numpy.{core}.multiarray.scalar" for core in ("core", "_core")]
    return [*((scalar, name) for name in names), np.dtype, *numbers]


def _names_code(path: Path) -> bool:
    """Whether a plain pickle, which torch has no word for, calls something by its name."""
    with path.open("rb") as file:
        start = file.read(2**20)
    try:
        return any(code.name in _CALLS for code, _, _ in pickletools.genops(start))
    except Exception:  # bytes that are no pickle, of which pickletools says anything
        return False


def _unreadable(path: Path, error: OSError) -> UserError:
    return UserError(f"{path} cannot be read: {error.strerror or error}")


def write_json(content: dict[str, Any], path: Path) -> None:
    """Write a JSON file."""
    _write(path, lambda temporary: temporary.write_text(json.dumps(content, indent=2) + "\n"))


def write_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Write a safetensors file, with the mark that transformers asks for."""
    plain = to_plain(tensors)
    _write(path, lambda temporary: save_file(plain, str(temporary), metadata={"format": "pt"}))


def write_pickle(content: dict[str, Any], path: Path) -> None:
    """Write a torch pickle, which should hold nothing but tensors and plain values."""

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:  # given a path, torch does not say what went wrong
            torch.save(content, file)

    _write(path, write)


def to_plain(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same numbers, away from devices, gradients and shared memory."""
    return {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise UserError(f"{path} is missing: copy the whole checkpoint folder")
    return path


def _write(path: Path, write: Callable[[Path], Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    try:
        write(temporary)
        temporary.chmod(0o644)  # safetensors writes files that only their owner can read
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError | SafetensorError | RuntimeError):
            raise _unwritable(path, error) from error
        raise


def _unwritable(path: Path, error: Exception) -> OSError:
    """A full disk, say, which each library calls by a name of its own."""
    for known in (error, error.__context__):
        if isinstance(known, OSError):
            return OSError(known.errno, known.strerror or str(known), str(path))
    number = re.search(r"os error (\d+)", str(error))
    if number:
        return OSError(int(number[1]), os.strerror(int(number[1])), str(path))
    return OSError(errno.EIO, str(error).strip().split("\n")[0], str(path))
