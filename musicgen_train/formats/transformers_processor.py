"""What stands beside the weights of transformers' MusicGen: tokenizer, processor, generation."""

import math
import tempfile
from pathlib import Path
from typing import Any

from musicgen_train.errors import UserError
from musicgen_train.formats.files import brief, read_json
from musicgen_train.formats.transformers_lm_config import max_steps
from musicgen_train.musicgen import MusicGen

# One file of the whole processor since transformers 5, one of the feature extractor before.
_NEW, _OLD = "processor_config.json", "preprocessor_config.json"
_WINDOW, _HOP = 16384, 4096  # the defaults of transformers


def processor_config(model: MusicGen) -> dict[str, dict[str, Any]]:
    """What AutoProcessor reads, by file: the feature extractor as both generations want it."""
    chroma = None if model.lm.config["chroma_dim"] is None else model.chroma
    if chroma is None:
        kind = "MusicgenProcessor"
        extractor = {
            "feature_extractor_type": "EncodecFeatureExtractor",
            "feature_size": model.codec.channels,
            "sampling_rate": model.codec.sample_rate,
            "chunk_length_s": None,
            "overlap": None,
            "padding_side": "left",
            "padding_value": 0.0,
            "return_attention_mask": True,
        }
    else:
        kind = "MusicgenMelodyProcessor"
        extractor = {
            "feature_extractor_type": "MusicgenMelodyFeatureExtractor",
            "feature_size": chroma.n_chroma,
            "num_chroma": chroma.n_chroma,
            "sampling_rate": chroma.sample_rate,
            "n_fft": chroma.window,
            "hop_length": chroma.hop,
            "chunk_length": math.ceil(model.max_duration),  # whole seconds are all it takes
            "n_samples": math.ceil(model.max_duration) * chroma.sample_rate,
            "stem_indices": [3, 2],
            "padding_side": "right",
            "padding_value": 0.0,
            "return_attention_mask": False,
        }
    return {
        _OLD: {**extractor, "processor_class": kind},
        _NEW: {"feature_extractor": extractor, "processor_class": kind},
    }


def generation_config(model: MusicGen) -> dict[str, Any]:
    """The content of generation_config.json, as the released models have it."""
    card = model.lm.card
    return {
        "bos_token_id": card,
        "pad_token_id": card,
        "decoder_start_token_id": card,
        "do_sample": True,
        "guidance_scale": 3.0,
        "max_length": max_steps(model),
    }


def write_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Write the tokenizer's files, each of which appears whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".tokenizer") as temporary:
        tokenizer.save_pretrained(temporary)
        for path in sorted(Path(temporary).iterdir()):
            path.chmod(0o644)
            path.replace(folder / path.name)


def read_chroma(folder: Path, sample_rate: int, n_chroma: int) -> dict[str, Any]:
    """`ChromaExtractor`'s arguments; transformers' defaults where no file tells them."""
    content, path = _extractor(folder)
    values = {
        "sampling_rate": content.get("sampling_rate", sample_rate),
        "n_fft": content.get("n_fft", _WINDOW),
        "hop_length": content.get("hop_length", _HOP),
        "num_chroma": content.get("num_chroma", content.get("feature_size", n_chroma)),
    }
    for name, value in values.items():
        if type(value) is not int or not 1 <= value <= 2**20:
            raise UserError(f"{path}: {name} is {brief(value)}, but should be a whole number")
    if values["num_chroma"] != n_chroma:
        raise UserError(
            f"{path}: num_chroma is {values['num_chroma']}, but that of config.json is {n_chroma}"
        )
    return {
        "sample_rate": values["sampling_rate"],
        "n_chroma": n_chroma,
        "window": values["n_fft"],
        "hop": values["hop_length"],
    }


def read_max_duration(folder: Path, frame_rate: float) -> float:
    """Seconds in one window, from generation_config.json; 30 where it does not say."""
    path = folder / "generation_config.json"
    content = read_json(path) if path.is_file() else {}
    steps = content.get("max_length") if isinstance(content, dict) else None
    if steps is None:
        return 30.0
    if type(steps) is not int or not 1 <= steps <= 2**20:
        raise UserError(f"{path}: max_length is {brief(steps)}, but should be a number of steps")
    seconds = steps / frame_rate
    # A few steps beyond whole seconds are those of the delays: 1503 steps are 30 s as well.
    return float(int(seconds)) if seconds >= 1 else seconds


def _extractor(folder: Path) -> tuple[dict[str, Any], Path]:
    for file in (_NEW, _OLD):
        path = folder / file
        if not path.is_file():
            continue
        content = read_json(path)
        if isinstance(content, dict) and file == _NEW:
            content = content.get("feature_extractor")
        if isinstance(content, dict):
            return content, path
    return {}, folder / _OLD
