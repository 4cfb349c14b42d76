"""Any codec: native, audiocraft's or transformers', from a folder, a file or the hub."""

from pathlib import Path
from typing import Any

from musicgen_train.codec.encodec import Encodec
from musicgen_train.codec.stereo import StereoCodec
from musicgen_train.errors import UserError
from musicgen_train.formats.audiocraft_codec import FILE_NAME, read_audiocraft_codec
from musicgen_train.formats.files import path_of, read_json
from musicgen_train.formats.hub import fetch_codec, hub_id
from musicgen_train.formats.lightning_checkpoint import read_lightning_codec
from musicgen_train.formats.native import ASSETS, FORMAT, read_native_codec, shipped
from musicgen_train.formats.transformers_codec import read_transformers_codec
from musicgen_train.formats.transformers_weights import whole_weights


def load_codec(path_or_name: str | Path) -> Encodec | StereoCodec:
    """Load a codec in evaluation mode, whoever wrote it.

    path_or_name: a folder (native, transformers' EncodecModel or MusicGen, audiocraft's), the file
    compression_state_dict.bin, a checkpoint of train.py (*.ckpt), a codec that ships in assets, or
    a name of the hub: `encodec_32khz`, `small` (the codec of facebook/musicgen-small),
    `owner/repository`. Of a native stereo folder it is a `StereoCodec`.
    """
    path = path_of(path_or_name)
    if path.suffix in (".safetensors", ".json") and path.is_file():
        raise UserError(f"{path} is one file of a checkpoint: give its folder, {path.parent}")
    if path.is_file():
        return (read_lightning_codec if path.suffix == ".ckpt" else read_audiocraft_codec)(path)
    for folder in (path, ASSETS / path_or_name):
        if folder.is_dir():
            return _read_folder(folder)
    repository = hub_id(str(path_or_name))
    if repository is None or len(path.parents) > 2:
        raise UserError(
            f"no checkpoint at {path_or_name}: give the folder of a codec, one that ships "
            f"({', '.join(shipped()) or 'none'}), or a name of the hub like facebook/encodec_32khz"
        )
    return _read_folder(fetch_codec(repository))


def load_encodec(path_or_name: str | Path) -> Encodec:
    """As `load_codec`, for what works on one codec only: a stereo pair of it is refused."""
    codec = load_codec(path_or_name)
    if isinstance(codec, StereoCodec):
        raise UserError(
            f"{path_or_name} is a stereo codec made of a mono one, which cannot be taken here: "
            "give the mono codec that it was made of"
        )
    return codec


def _read_folder(folder: Path) -> Encodec | StereoCodec:
    config, audiocraft = folder / "config.json", folder / FILE_NAME
    if not config.is_file():
        if not audiocraft.is_file():
            raise UserError(f"no checkpoint at {folder}: it has no config.json and no {FILE_NAME}")
        return read_audiocraft_codec(audiocraft)
    content = read_json(config)
    content = content if isinstance(content, dict) else {}
    if "model_type" not in content and content.get("format") == FORMAT:
        return read_native_codec(folder)
    if audiocraft.is_file():
        # The hub's MusicGen folders hold both; where the large file was left out, the small one
        # serves, and beside somebody else's config.json too.
        weights = whole_weights(folder)
        if not _holds_codec(content) or weights is None or ".bin" in weights.name:
            return read_audiocraft_codec(audiocraft)
    return read_transformers_codec(folder) if "model_type" in content else read_native_codec(folder)


def _holds_codec(config: dict[str, Any]) -> bool:
    return config.get("model_type") in ("encodec", "musicgen", "musicgen_melody")
