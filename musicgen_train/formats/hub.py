"""Models of the Hugging Face hub: their names, and the folders that hold them on this machine."""

import re
from pathlib import Path

from musicgen_train.errors import UserError

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_MUSICGEN = re.compile(r"(stereo-)?(small|medium|large|melody|melody-large)")
_ENCODEC = re.compile(r"encodec_(24|32|48)khz")
# What may hold a codec, the smallest first; the weights stand last.
_CODEC_FILES = (
    ("compression_state_dict.bin",),
    ("config.json", "model.safetensors.index.json", "model*.safetensors"),
    ("config.json", "pytorch_model.bin"),
)


def hub_id(name: str) -> str | None:
    """The repository that a name stands for: `small`, `encodec_32khz` or `owner/repository`."""
    if _MUSICGEN.fullmatch(name):
        return f"facebook/musicgen-{name}"
    if _ENCODEC.fullmatch(name):
        return f"facebook/{name}"
    return name if HUB_ID.fullmatch(name) else None


def fetch_codec(repository: str, place: str = "a folder, and name that") -> Path:
    """The folder of a hub repository's codec: from the cache, else downloaded.

    `place` is where else the user may put the files.
    """
    reason = "no codec is in it"
    for offline in (True, False):  # the cache first: it answers at once, and without a network
        for files in _CODEC_FILES:
            try:
                folder = _snapshot(repository, files, offline)
            except (OSError, ValueError) as error:  # what the hub raises derives from these
                reason = str(error).strip().splitlines()[0].rstrip(". ")
                continue
            if any(folder.glob(files[-1])):
                return folder
    raise UserError(
        f"the codec {repository} is not in the hub's cache and cannot be downloaded ({reason}): "
        f"go online once, or put its config.json and model.safetensors into {place}"
    )


def _snapshot(repository: str, files: tuple[str, ...], offline: bool) -> Path:
    from huggingface_hub import snapshot_download

    patterns = list(files)
    return Path(snapshot_download(repository, allow_patterns=patterns, local_files_only=offline))
