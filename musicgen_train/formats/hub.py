"""Models of the Hugging Face hub: their names, and the folders that hold them on this machine."""

import json
import re
from collections.abc import Callable
from pathlib import Path

from musicgen_train.errors import UserError

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
MUSICGEN_NAMES = tuple(
    prefix + size
    for prefix in ("", "stereo-")
    for size in ("small", "medium", "large", "melody", "melody-large")
)
_ENCODEC = re.compile(r"encodec_(24|32|48)khz")
# What may hold a codec, the smallest first; the weights stand last.
_CODEC_FILES = (
    ("compression_state_dict.bin",),
    ("config.json", "model.safetensors.index.json", "model*.safetensors"),
    ("config.json", "pytorch_model.bin"),
)
_BESIDE = (  # what a model's folder holds beside its weights
    "config.json", "generation_config.json", "README.md", "metrics.json", "tokenizer*",
    "spiece.model", "special_tokens_map.json", "preprocessor_config.json", "processor_config.json",
)  # fmt: skip
_TENSORS = (
    *_BESIDE, "model.safetensors.index.json", "model*.safetensors", "codec.safetensors"
)  # fmt: skip
_PICKLES = ("README.md", "state_dict.bin", "compression_state_dict.bin")
_OLD_PICKLE = (*_BESIDE, "pytorch_model.bin")


def hub_id(name: str) -> str | None:
    """The repository that a name stands for: `small`, `encodec_32khz` or `owner/repository`."""
    if name in MUSICGEN_NAMES:
        return f"facebook/musicgen-{name}"
    if _ENCODEC.fullmatch(name):
        return f"facebook/{name}"
    return name if HUB_ID.fullmatch(name) else None


def fetch_codec(repository: str, place: str = "a folder, and name that") -> Path:
    """The folder of a hub repository's codec: from the cache, else downloaded.

    `place` is where else the user may put the files.
    """
    attempts = [
        (offline, files, lambda folder, weights=files[-1]: any(folder.glob(weights)))
        for offline in (True, False)
        for files in _CODEC_FILES
    ]
    folder, reason = _fetch(repository, attempts, "no codec is in it")
    if folder is not None:
        return folder
    raise UserError(
        f"the codec {repository} is not in the hub's cache and cannot be downloaded ({reason}): "
        f"go online once, or put its config.json and model.safetensors into {place}"
    )


def fetch_musicgen(repository: str) -> Path:
    """The folder of a hub repository's MusicGen: from the cache, else downloaded.

    Safetensors come first, with the text encoder and tokenizer beside them; where a repository
    has none, audiocraft's two files serve. An incomplete cache is completed if that is possible.
    """
    whole = [(_TENSORS, _has_tensors_and_tokenizer), (_PICKLES, _has_pickles)]
    online = [(_TENSORS, _has_tensors), (_PICKLES, _has_pickles), (_OLD_PICKLE, _has_old_pickle)]
    attempts = [(True, *each) for each in whole] + [(False, *each) for each in online]
    # Without a network, weights without their tokenizer are still a language model.
    attempts += [(True, *each) for each in online]
    folder, reason = _fetch(repository, attempts, "no MusicGen is in it")
    if folder is not None:
        return folder
    raise UserError(
        f"the model {repository} is not in the hub's cache and cannot be downloaded ({reason}): "
        "go online once, or put its config.json, generation_config.json, tokenizer.json and "
        "model.safetensors (or model.safetensors.index.json and all it names), or else its "
        f"state_dict.bin and compression_state_dict.bin, into the folder {repository} here"
    )


_Attempt = tuple[bool, tuple[str, ...], Callable[[Path], bool]]  # offline, files, is it there


def _fetch(repository: str, attempts: list[_Attempt], reason: str) -> tuple[Path | None, str]:
    """The first folder that has what an attempt wants; else None and why not."""
    # The cache comes first: it answers at once, and without a network.
    for offline, files, complete in attempts:
        try:
            folder = _snapshot(repository, files, offline)
        except (OSError, ValueError) as error:  # what the hub raises derives from these
            if not offline:
                reason = str(error).strip().splitlines()[0].rstrip(". ")
            continue
        if complete(folder):
            return folder, ""
    return None, reason


def _has_tensors(folder: Path) -> bool:
    """All the weights that config.json describes; a native folder's codec too."""
    if not (folder / "config.json").is_file():
        return False
    if (folder / "model.safetensors").is_file():
        return True
    try:
        index = json.loads((folder / "model.safetensors.index.json").read_text())
        return all((folder / Path(str(name)).name).is_file()
                   for name in set(index["weight_map"].values()))  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _has_tensors_and_tokenizer(folder: Path) -> bool:
    """What generates: a native folder with its codec, or transformers' with its tokenizer."""
    beside = ("codec.safetensors", "tokenizer.json", "spiece.model")
    return _has_tensors(folder) and any((folder / name).is_file() for name in beside)


def _has_pickles(folder: Path) -> bool:
    return all((folder / name).is_file() for name in _PICKLES[1:])


def _has_old_pickle(folder: Path) -> bool:
    return (folder / "config.json").is_file() and (folder / "pytorch_model.bin").is_file()


def _snapshot(repository: str, files: tuple[str, ...], offline: bool) -> Path:
    from huggingface_hub import snapshot_download

    patterns = list(files)
    return Path(snapshot_download(repository, allow_patterns=patterns, local_files_only=offline))
