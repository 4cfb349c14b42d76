"""The options of a MusicGen, written as audiocraft's `xp.cfg` holds them."""

from pathlib import Path
from typing import Any

from musicgen_train.codec.stereo import StereoCodec
from musicgen_train.conditioning.text import T5TextEncoder, t5_origin
from musicgen_train.errors import UserError
from musicgen_train.formats.audiocraft_lm_config import MELODY, ONLY, PLACES, T5_WIDTHS, TEXT
from musicgen_train.musicgen import MusicGen


def describe_for_audiocraft(model: MusicGen) -> dict[str, Any]:
    """The content of `xp.cfg`; what audiocraft could not build is a `UserError`."""
    conditioners, placed = _conditioners(model)
    if list(model.lm.delays) != sorted(model.lm.delays):
        raise UserError(f"audiocraft wants delays that grow, not {model.lm.delays}: save as native")
    return {
        "solver": "musicgen",
        "device": "cpu",
        "dtype": "float32",
        "sample_rate": model.codec.sample_rate,
        "channels": model.codec.channels,
        "dataset": {"segment_duration": model.max_duration},
        "lm_model": "transformer_lm",
        "transformer_lm": _transformer_section(model.lm.config),
        "codebooks_pattern": {
            "modeling": "delay",
            "delay": {"delays": list(model.lm.delays), "flatten_first": 0, "empty_initial": 0},
        },
        "fuser": {
            "cross_attention_pos_emb": False, "cross_attention_pos_emb_scale": 1, **placed
        },
        "conditioners": conditioners,
        # Used by training only; the values are those of audiocraft's recipes.
        "classifier_free_guidance": {"training_dropout": 0.3, "inference_coef": 3.0},
        "attribute_dropout": {"text": {}, "wav": {MELODY: 0.5}} if MELODY in conditioners else {},
        "tokens": {"padding_with_special_token": False},
        "interleave_stereo_codebooks": {
            "use": isinstance(model.codec, StereoCodec), "per_timestep": False
        },
        "compression_model_n_q": None,
    }  # fmt: skip


def _conditioners(model: MusicGen) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Each condition's section, and the fuser's places with the conditions in them."""
    config = model.lm.config
    conditioners: dict[str, Any] = {}
    placed: dict[str, list[str]] = {"sum": [], "prepend": [], "cross": [], "input_interpolate": []}
    for name, there, place, section in (
        (MELODY, config["chroma_dim"], config["fuse_chroma"], _chroma_section),
        (TEXT, config["text_dim"], config["fuse_text"], _text_section),
    ):
        if there is None:
            continue
        if place == "sum":
            raise UserError("audiocraft adds no condition to the steps (fuse: sum): save as native")
        placed[place].append(name)
        conditioners[name] = section(model)
    return conditioners, placed


def _transformer_section(config: dict[str, Any]) -> dict[str, Any]:
    section = {
        place.removeprefix("transformer_lm."): config[name]
        for name, place in PLACES.items()
        if place.startswith("transformer_lm.")
    }
    for place, (value, _) in ONLY.items():
        # audiocraft's own configurations leave these two to its constructors.
        if place.startswith("transformer_lm.") and place.split(".")[1] not in (
            "max_period", "positional_scale",
        ):  # fmt: skip
            section[place.removeprefix("transformer_lm.")] = value
    return section | {
        "emb_lr": None, "custom": False, "memory_efficient": True, "attention_as_float32": False,
        "checkpointing": "none", "weight_init": "gaussian", "depthwise_init": "current",
        "zero_bias_init": True, "cross_attention": False, "attention_dropout": None,
        "two_step_cfg": False,
    }  # fmt: skip


def _text_section(model: MusicGen) -> dict[str, Any]:
    encoder = model.text_encoder
    if not isinstance(encoder, T5TextEncoder):
        kind = "none" if encoder is None else type(encoder).__name__
        raise UserError(
            f"audiocraft's models read text by T5, but the text encoder here is {kind}: save as "
            "native"
        )
    origin = t5_origin(encoder.name_or_path)
    for name in (encoder.name_or_path, origin, Path(origin).name):
        name = name.removeprefix("google-t5/")
        if name in T5_WIDTHS:
            break
    else:
        raise UserError(
            f"audiocraft knows text encoders by name only, and none is {encoder.name_or_path!r}: "
            f"name one of {', '.join(T5_WIDTHS)}, or save as native"
        )
    if T5_WIDTHS[name] != encoder.dim:
        raise UserError(
            f"audiocraft's {name} has width {T5_WIDTHS[name]}, this model's text encoder "
            f"{encoder.name_or_path!r} has {encoder.dim}: save as native"
        )
    options = {"name": name, "finetune": False, "word_dropout": 0.3, "normalize_text": False}
    return {"model": "t5", "t5": options}


def _chroma_section(model: MusicGen) -> dict[str, Any]:
    chroma = model.chroma
    if chroma is None:
        raise UserError("this melody model has no chroma extractor: load the whole model")
    exponent = chroma.window.bit_length() - 1
    if chroma.window != 2**exponent or chroma.hop != chroma.window // 4:
        raise UserError(
            f"audiocraft's chroma has a window of a power of 2 and a hop of a quarter, not "
            f"{chroma.window} and {chroma.hop}: save as native"
        )
    frames = chroma.n_frames(int(chroma.sample_rate * model.max_duration))
    if frames != model.lm.config["chroma_length"]:
        raise UserError(
            f"audiocraft would give this model {frames} chroma frames, those of "
            f"{model.max_duration:g} s, not {model.lm.config['chroma_length']}: save as native"
        )
    options = {
        "sample_rate": chroma.sample_rate, "n_chroma": chroma.n_chroma, "radix2_exp": exponent,
        "argmax": True, "match_len_on_eval": False, "eval_wavs": None, "n_eval_wavs": 0,
        "cache_path": None,
    }  # fmt: skip
    return {"model": "chroma_stem", "chroma_stem": options}
