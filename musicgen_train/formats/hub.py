"""Models of the Hugging Face hub: their names, and the folders that hold them on this machine."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from musicgen_train.errors import UserError, reason_of
from musicgen_train.formats.files import read_json
from musicgen_train.formats.transformers_weights import whole_weights

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
MUSICGEN_NAMES = tuple(
    prefix + size
    for prefix in ("", "stereo-")
    for size in ("small", "medium", "large", "melody", "melody-large")
)
_ENCODEC = re.compile(r"encodec_(24|32|48)khz")
_BESIDE = (  # what a model's folder holds beside its weights
    "config.json", "generation_config.json", "README.md", "metrics.json", "tokenizer*",
    "spiece.model", "special_tokens_map.json", "preprocessor_config.json", "processor_config.json",
)  # fmt: skip
_SAFETENSORS = ("model.safetensors.index.json", "model*.safetensors")
_OLD_PICKLES = ("pytorch_model.bin.index.json", "pytorch_model*.bin")
_TENSORS = (*_BESIDE, *_SAFETENSORS, "codec.safetensors")
_PICKLES = ("README.md", "state_dict.bin", "compression_state_dict.bin")


def hub_id(name: str) -> str | None:
    """The repository that a name stands for: `small`, `encodec_32khz` or `owner/repository`."""
    if name in MUSICGEN_NAMES:
        return f"facebook/musicgen-{name}"
    if _ENCODEC.fullmatch(name):
        return f"facebook/{name}"
    return name if HUB_ID.fullmatch(name) else None


def model_name(folder: Path, repository: str | None) -> str:
    """What a model is called that has no name of its own: as its repository, or else its folder."""
    return (repository or folder.resolve().name or "musicgen")[:80]


def is_released_codec(name: str) -> bool:
    """Whether a name is that of a codec, `encodec_32khz` or `facebook/encodec_32khz`."""
    return _ENCODEC.fullmatch(name.removeprefix("facebook/")) is not None


def cached(repository: str) -> Path | None:
    """The folder of a repository in the hub's cache, whatever of it is there."""
    return _snapshot(repository, ("config.json",), offline=True)[0]


def fetch_codec(repository: str, place: str = "a folder, and name that") -> Path:
    """The folder of a hub repository's codec: from the cache, else downloaded.

    `place` is where else the user may put the files.
    """
    kinds = [  # the smallest first
        (("compression_state_dict.bin",), _has("compression_state_dict.bin")),
        (("config.json", "codec.safetensors"), _has("config.json", "codec.safetensors")),
        (("config.json", *_SAFETENSORS), _has_transformers),
        (("config.json", *_OLD_PICKLES), _has_transformers),
    ]
    attempts = [(repository, offline, *kind) for offline in (True, False) for kind in kinds]
    folder, reason = _fetch(attempts, "no codec is in it")
    if folder is not None:
        return folder
    raise UserError(
        f"the codec {repository} is not in the hub's cache and cannot be downloaded ({reason}): "
        f"go online once, or put its config.json and model.safetensors into {place}"
    )


def fetch_musicgen(repository: str, *, lm_only: bool = False) -> Path:
    """The folder of a hub repository's MusicGen: from the cache, else downloaded.

    Safetensors come first, with the text encoder and tokenizer beside them; where a repository
    has none, audiocraft's two files serve. An incomplete cache is completed if that is possible.

    lm_only: without a network, a language model without its tokenizer or codec will do.
    """
    pickles = (_PICKLES, _has(*_PICKLES[1:]))
    old = (*_BESIDE, *_OLD_PICKLES)
    generating = [(_TENSORS, _generates), pickles, (old, _generates)]
    online = [(_TENSORS, _has_model), pickles, (old, _has_model)]
    attempts = [(repository, True, *each) for each in generating]
    attempts += [(repository, False, *each) for each in online]
    if lm_only:
        just_lm = [(_TENSORS, _has_model), (_PICKLES, _has("state_dict.bin"))]
        attempts += [(repository, offline, *each) for offline in (True, False) for each in just_lm]
    folder, reason = _fetch(attempts, "no MusicGen is in it")
    if folder is not None:
        return folder
    raise UserError(
        f"the model {repository} is not in the hub's cache and cannot be downloaded ({reason}): "
        "go online once, or put its config.json, generation_config.json, tokenizer.json and "
        "model.safetensors (or model.safetensors.index.json and all it names), or else its "
        f"state_dict.bin and compression_state_dict.bin, into the folder {repository} here"
    )


_Complete = Callable[[Path], bool]
_Files = tuple[str, ...]  # patterns of names
_Attempt = tuple[str, bool, _Files, _Complete]  # repository, offline, files, is it there


def fetch_files(
    repositories: Sequence[str], kinds: Sequence[_Files], complete: _Complete
) -> tuple[Path | None, str]:
    """The folder of a repository, from the cache, else downloaded; else None and why not.

    repositories: names of one, which may have moved. kinds: of files that serve, the best first.
    """
    attempts = [
        (repository, offline, files, complete)
        for offline in (True, False)
        for repository in repositories
        for files in kinds
    ]
    return _fetch(attempts, "it lacks files")


def _fetch(attempts: list[_Attempt], reason: str) -> tuple[Path | None, str]:
    """The first folder that has what an attempt wants; else None and why not."""
    # The cache comes first: it answers at once, and without a network.
    for repository, offline, files, complete in attempts:
        folder, failure = _snapshot(repository, files, offline)
        if folder is not None and complete(folder):
            return folder, ""
        if failure and not offline:
            reason = failure
    return None, reason


def _has(*files: str) -> _Complete:
    return lambda folder: all((folder / name).is_file() for name in files)


def _has_transformers(folder: Path) -> bool:
    """All the weights that config.json describes."""
    return _has("config.json")(folder) and whole_weights(folder) is not None


def _has_model(folder: Path) -> bool:
    """A language model's weights, or another kind of checkpoint, which its reader will name."""
    if "codec" in (config := _config(folder)) and "lm" not in config:
        return _has("codec.safetensors")(folder)
    return _has_transformers(folder)


def _generates(folder: Path) -> bool:
    """As above, in transformers' layout with a tokenizer, in the native one with a codec."""
    if not _has_model(folder):
        return False
    config = _config(folder)
    if config.get("model_type") in ("musicgen", "musicgen_melody"):
        return any(_has(name)(folder) for name in ("tokenizer.json", "spiece.model"))
    return "lm" not in config or _has("codec.safetensors")(folder)


def _config(folder: Path) -> dict[str, Any]:
    try:
        content = read_json(folder / "config.json")
    except UserError:
        return {}
    return content if isinstance(content, dict) else {}


def _snapshot(repository: str, files: _Files, offline: bool) -> tuple[Path | None, str]:
    """The folder of a repository and ""; or what there is of it in the cache, and a reason."""
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(repository, allow_patterns=list(files), local_files_only=offline)
        return Path(folder), ""
    except (OSError, ValueError) as error:  # what the hub raises derives from these
        # A cache that lacks some file may still hold all that is needed.
        partial = getattr(error, "snapshot_path", None)
        return Path(partial) if partial else None, reason_of(error).rstrip(". ")
