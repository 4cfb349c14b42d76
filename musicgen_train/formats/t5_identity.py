"""Which T5 an export names, since most layouts hold its name and not its weights."""

import re
from pathlib import Path
from typing import NamedTuple

import torch

from musicgen_train.conditioning.text import T5TextEncoder, load_t5, t5_origin
from musicgen_train.errors import UserError

_RELEASED = re.compile(r"((google|google-t5)/)?(flan-)?t5-[\w.-]+")  # on the hub


class Identity(NamedTuple):
    """What a T5 is called in a file, and what there is to say of that; "" for nothing."""

    name: str
    remark: str = ""


def native_identity(name_or_path: str) -> Identity:
    """Of a native folder: a released T5 by its name on the hub, else as it was given.

    A T5 in a folder, or inside a MusicGen, that calls itself a released one is compared with that
    if the hub's cache has it.
    """
    local = Path(name_or_path).is_dir()
    if not local and "musicgen" not in name_or_path:
        return Identity(name_or_path)
    origin, why = t5_origin(name_or_path), ""
    if _RELEASED.fullmatch(origin):
        same = same_weights(name_or_path, origin)
        if same is None:
            return Identity(origin, taken_to_be(origin))
        if same:
            return Identity(origin)
        why = f", as its weights are not those of {origin}"
    if not local:
        return Identity(name_or_path)
    return Identity(
        name_or_path, f"the text encoder is not in the export{why}: it is needed at {name_or_path}"
    )


def audiocraft_remark(encoder: T5TextEncoder, name: str) -> str:
    """What there is to say of an export to audiocraft that calls the T5 `name`; "" for nothing."""
    given = encoder.name_or_path
    if not Path(given).is_dir() and given.removeprefix("google-t5/") == name:
        return ""
    same = same_weights(given, name)
    if same is False:
        raise UserError(
            f"audiocraft would load {name}, but the text encoder {given} has other weights: export "
            "to transformers or native"
        )
    return "" if same else taken_to_be(name)


def taken_to_be(name: str) -> str:
    """That nothing could be compared."""
    return f"the text encoder was taken to be {name}, which is not in the hub's cache to compare"


def same_weights(name_or_path: str, released: str) -> bool | None:
    """Whether a T5 is the released one of that name; None if the cache does not have that."""
    for repository in (released, f"google-t5/{released}"):
        try:
            theirs = load_t5(_cached(repository))[1].state_dict()
        except (OSError, ValueError):  # what the hub raises derives from these, as UserError does
            continue
        ours = load_t5(name_or_path)[1].state_dict()
        return ours.keys() == theirs.keys() and all(
            _close(tensor, theirs[name]) for name, tensor in ours.items()
        )
    return None


def _close(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal, but for the rounding of a file in half precision."""
    if a.shape != b.shape:
        return False
    return bool(((a - b).abs() <= 2**-8 * b.abs() + 1e-7).all())


def _cached(repository: str) -> str:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import IncompleteSnapshotError

    try:
        return snapshot_download(repository, local_files_only=True)
    except IncompleteSnapshotError as error:  # it may still hold all that is needed
        return error.snapshot_path
