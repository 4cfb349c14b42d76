"""The options of a MusicGen, read from audiocraft's `xp.cfg`."""

from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from musicgen_train.errors import UserError
from musicgen_train.formats.files import brief
from musicgen_train.formats.lm_building import check_lm_config
from musicgen_train.formats.xp_config import XpConfig

PROJECTION = "condition_provider.conditioners.{}.output_proj.weight"
TEXT, MELODY = "description", "self_wav"  # the only conditions of the released models
_T5 = f"conditioners.{TEXT}.t5"
_CHROMA = f"conditioners.{MELODY}.chroma_stem"
# What LanguageModel calls an option, and where audiocraft keeps it.
PLACES = {
    **{
        name: f"transformer_lm.{name}"
        for name in ("n_q", "card", "dim", "num_heads", "num_layers", "dropout")
    },
    "ffn_mult": "transformer_lm.hidden_scale",
    "delays": "codebooks_pattern.delay.delays",
    "text_dim": "the width of the text projection",
    "chroma_dim": f"{_CHROMA}.n_chroma",
    "chroma_length": "the number of chroma frames in dataset.segment_duration",
}
# Options of which only one value is known here, and what audiocraft takes where none is written.
ONLY: dict[str, tuple[Any, Any]] = {
    "lm_model": ("transformer_lm", None),
    "transformer_lm.activation": ("gelu", "relu"),
    "transformer_lm.norm_first": (True, False),
    "transformer_lm.bias_ff": (False, True),
    "transformer_lm.bias_attn": (False, True),
    "transformer_lm.bias_proj": (False, True),
    "transformer_lm.past_context": (None, None),
    "transformer_lm.causal": (True, False),
    "transformer_lm.layer_scale": (None, None),
    "transformer_lm.positional_embedding": ("sin", "sin"),
    "transformer_lm.max_period": (10000, 10000),
    "transformer_lm.positional_scale": (1, 1),
    "transformer_lm.xpos": (False, False),
    "transformer_lm.norm": ("layer_norm", "layer_norm"),
    "transformer_lm.qk_layer_norm": (False, False),
    "transformer_lm.qk_layer_norm_cross": (False, False),
    "transformer_lm.kv_repeat": (1, 1),
    "codebooks_pattern.delay.flatten_first": (0, 0),
    "codebooks_pattern.delay.empty_initial": (0, 0),
    "fuser.cross_attention_pos_emb": (False, False),
    "fuser.sum": ([], []),
    "fuser.ignore": ([], []),
    "fuser.input_interpolate": ([], []),
    "tokens.padding_with_special_token": (False, False),
    "interleave_stereo_codebooks.per_timestep": (False, False),
}
_ONLY_TEXT = {
    f"conditioners.{TEXT}.model": ("t5", None),
    f"{_T5}.finetune": (False, False),
    f"{_T5}.normalize_text": (False, False),
}
_ONLY_MELODY = {
    f"conditioners.{MELODY}.model": ("chroma_stem", None),
    f"{_CHROMA}.argmax": (True, False),
}
# Options that change no number of a trained model: they are of training, or of speed.
_IDLE = {
    "transformer_lm": {
        "emb_lr", "lr", "weight_decay", "attention_dropout", "custom", "memory_efficient",
        "attention_as_float32", "checkpointing", "weight_init", "depthwise_init", "zero_bias_init",
        "two_step_cfg", "cross_attention", "q_modeling",
    },
    "codebooks_pattern.delay": set(),
    "fuser": {"cross", "prepend", "cross_attention_pos_emb_scale"},
    "interleave_stereo_codebooks": {"use"},
    "tokens": set(),
    "conditioners": {"args", TEXT, MELODY},
    "conditioners.args": {"merge_text_conditions_p", "drop_desc_p"},
    f"conditioners.{TEXT}": {"t5"},
    _T5: {"name", "word_dropout", "autocast_dtype"},
    f"conditioners.{MELODY}": {"chroma_stem"},
    _CHROMA: {
        "sample_rate", "n_chroma", "radix2_exp", "match_len_on_eval", "eval_wavs", "n_eval_wavs",
        "cache_path",
    },
}  # fmt: skip
T5_WIDTHS = {  # the text encoders that audiocraft knows
    "t5-small": 512, "t5-base": 768, "t5-large": 1024, "t5-3b": 1024, "t5-11b": 1024,
    "google/flan-t5-small": 512, "google/flan-t5-base": 768, "google/flan-t5-large": 1024,
}  # fmt: skip


class Described(NamedTuple):
    """What `xp.cfg` says of a MusicGen."""

    lm: dict[str, Any]  # the arguments of LanguageModel
    t5: str | None  # its name on the hub
    chroma: dict[str, Any] | None  # the arguments of ChromaExtractor
    max_duration: float  # seconds
    stereo: bool  # the codec is run on left and right
    codec_n_q: int | None  # codebooks of the codec, where it is told to use fewer than it has


def describe(xp: XpConfig, state: dict[str, Tensor]) -> Described:
    """Read `xp.cfg`; an option that is unknown here is a `UserError`, never ignored."""
    conditioners = _names(xp, "conditioners") - {"args"}
    only = dict(ONLY)
    if TEXT in conditioners:
        only |= _ONLY_TEXT
    if MELODY in conditioners:
        only |= _ONLY_MELODY
    stereo = xp.get("interleave_stereo_codebooks.use", False)
    if type(stereo) is not bool:
        raise UserError(f"{xp.source}: interleave_stereo_codebooks.use is {brief(stereo)}")
    _check_known(xp, only, _unread(xp, stereo))
    duration = _number(xp, "dataset.segment_duration", 0.01, 3600)
    lm: dict[str, Any] = {
        name: xp[place] for name, place in PLACES.items() if place.startswith("transformer_lm.")
    }
    check_lm_config(lm, xp.source, PLACES)
    lm["delays"] = _delays(xp, lm["n_q"])
    lm |= _places(xp, conditioners)
    lm["text_dim"] = _width(state, TEXT, xp.source) if TEXT in conditioners else None
    chroma = None
    if MELODY in conditioners:
        chroma = _chroma(xp)
        lm["chroma_dim"] = chroma["n_chroma"]
        n_samples = int(chroma["sample_rate"] * duration)
        lm["chroma_length"] = max(n_samples, chroma["window"]) // chroma["hop"] + 1
    n_q = xp.get("compression_model_n_q", None)
    return Described(lm, _t5(xp, conditioners), chroma, duration, stereo, n_q)


def _unread(xp: XpConfig, stereo: bool) -> tuple[str, ...]:
    """Sections that audiocraft does not look into: those of patterns and stereo not in use."""
    sections = () if stereo else ("interleave_stereo_codebooks",)
    # Of the patterns it only reads the one that is named, whatever else stands beside it.
    if xp.get("codebooks_pattern.modeling", None) != "delay":
        sections += ("codebooks_pattern.delay",)
    return sections


def _check_known(xp: XpConfig, only: dict[str, tuple[Any, Any]], unread: tuple[str, ...]) -> None:
    for key, (value, default) in only.items():
        if key.rpartition(".")[0] in unread:
            continue
        found = xp.get(key, default)
        if found != value and not (value == [] and found is None):
            raise UserError(
                f"{xp.source}: {key} is {brief(found)}, but only {value!r} is supported"
            )
    places = {*ONLY, *_ONLY_TEXT, *_ONLY_MELODY, *PLACES.values()}
    for section, idle in _IDLE.items():
        if section in unread:
            continue
        for name in sorted(_names(xp, section) - idle):
            if f"{section}.{name}" not in places:
                raise UserError(
                    f"{xp.source}: the option {section}.{name} of xp.cfg is not supported"
                )


def _names(xp: XpConfig, section: str) -> set[str]:
    """The options of a section; a section that is absent or null has none."""
    return set() if xp.get(section, None) is None else xp.names(section)


def _delays(xp: XpConfig, n_q: int) -> list[int] | None:
    modeling = xp.get("codebooks_pattern.modeling", None)
    if modeling is None:  # as the first exports have it
        if xp.get("transformer_lm.q_modeling", None) != "delay":
            raise UserError(f"{xp.source}: codebooks_pattern.modeling is missing in xp.cfg")
        return None
    if modeling == "parallel" and not _names(xp, "codebooks_pattern.parallel"):
        return [0] * n_q
    if modeling != "delay":
        raise UserError(
            f"{xp.source}: codebooks_pattern.modeling is {brief(modeling)}, but only 'delay' and "
            "'parallel' without options are supported"
        )
    return xp.get("codebooks_pattern.delay.delays", None)


def _places(xp: XpConfig, conditioners: set[str]) -> dict[str, str]:
    """`fuse_text` and `fuse_chroma` of the conditions that there are."""
    fused = {}
    for place in ("cross", "prepend"):
        names = xp.get(f"fuser.{place}", [])
        if names is not None and not isinstance(names, list):
            raise UserError(f"{xp.source}: fuser.{place} is {brief(names)}, but should be a list")
        fused |= {str(name): place for name in names or []}
    if fused.keys() != conditioners:
        raise UserError(
            f"{xp.source}: fuser has a place for {brief(sorted(fused))}, but the conditioners are "
            f"{brief(sorted(conditioners))}"
        )
    if xp.get("transformer_lm.cross_attention", False) and "cross" not in fused.values():
        raise UserError(f"{xp.source}: transformer_lm.cross_attention is on, but fuser.cross empty")
    names = {TEXT: "fuse_text", MELODY: "fuse_chroma"}
    return {names[name]: place for name, place in fused.items()}


def _width(state: dict[str, Tensor], name: str, source: Path) -> int:
    """How many features a projection takes."""
    weight = state.get(PROJECTION.format(name))
    if weight is None or weight.dim() != 2:
        raise UserError(f"{source}: {PROJECTION.format(name)} is missing: export the model again")
    return weight.shape[1]


def _t5(xp: XpConfig, conditioners: set[str]) -> str | None:
    if TEXT not in conditioners:
        return None
    name = xp[f"{_T5}.name"]
    if not isinstance(name, str) or name not in T5_WIDTHS:
        raise UserError(
            f"{xp.source}: {_T5}.name is {brief(name)}: only {', '.join(T5_WIDTHS)} are known"
        )
    return name if "/" in name else f"google-t5/{name}"


def _chroma(xp: XpConfig) -> dict[str, Any]:
    window = 2 ** int(_number(xp, f"{_CHROMA}.radix2_exp", 5, 20, whole=True))
    return {
        "sample_rate": int(_number(xp, f"{_CHROMA}.sample_rate", 100, 1e6, whole=True)),
        "n_chroma": int(_number(xp, f"{_CHROMA}.n_chroma", 1, 128, whole=True)),
        "window": window,
        "hop": window // 4,
    }


def _number(xp: XpConfig, key: str, lowest: float, highest: float, whole: bool = False) -> float:
    value = xp[key]
    if type(value) not in ((int,) if whole else (int, float)) or not lowest <= value <= highest:
        kind = "whole number" if whole else "number"
        wanted = f"a {kind} from {lowest:g} to {highest:g}"
        raise UserError(f"{xp.source}: {key} is {brief(value)}, but should be {wanted}")
    return value
