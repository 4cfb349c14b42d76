"""The options of an EnCodec, as audiocraft's `xp.cfg` holds them."""

from typing import Any

from musicgen_train.codec.encodec import Encodec
from musicgen_train.errors import UserError
from musicgen_train.formats.codec_building import check_exportable
from musicgen_train.formats.files import brief
from musicgen_train.formats.xp_config import XpConfig

# What Encodec calls an option, and where audiocraft keeps it.
PLACES = {
    "sample_rate": "encodec.sample_rate",
    "channels": "encodec.channels",
    "normalize": "encodec.renormalize",
    **{
        name: f"seanet.{name}"
        for name in (
            "dimension", "n_filters", "n_residual_layers", "ratios", "kernel_size",
            "residual_kernel_size", "last_kernel_size", "dilation_base", "pad_mode", "compress",
            "lstm", "causal", "norm",
        )
    },
    "skip": "seanet.true_skip",
    "trim_right_ratio": "seanet.decoder.trim_right_ratio",
    "n_q": "rvq.n_q",
    "card": "rvq.bins",
    "quantizer_dropout": "rvq.q_dropout",
    "decay": "rvq.decay",
    "dead_code_threshold": "rvq.threshold_ema_dead_code",
}  # fmt: skip
_NORMS = {"weight_norm": "weight", "time_group_norm": "group", "none": "none"}
_SKIPS = {True: "identity", False: "conv"}
# Options of which only one value is known here; it is also audiocraft's own default.
_ONLY = {
    "compression_model": "encodec",
    "encodec.autoencoder": "seanet",
    "encodec.quantizer": "rvq",
    "seanet.activation": "ELU",
    "seanet.activation_params": {"alpha": 1.0},
    "seanet.norm_params": {},
    "seanet.disable_norm_outer_blocks": 0,
    "seanet.encoder": {},
    "seanet.decoder.final_activation": None,
    "rvq.orthogonal_reg_weight": 0.0,
}
# What audiocraft takes where nothing is written; the other options are always there.
_DEFAULTS = {
    "normalize": False,
    "quantizer_dropout": False,
    "decay": 0.99,
    "dead_code_threshold": 2,
}
# Options that change no number of a codec whose codebooks have started.
_IDLE = {
    "encodec.causal", "encodec.renorm", "seanet.channels", "seanet.decoder.final_activation_params",
    "rvq.kmeans_init", "rvq.kmeans_iters", "rvq.orthogonal_reg_active_codes_only",
    "rvq.orthogonal_reg_max_codes",
}  # fmt: skip


def codec_config_from_audiocraft(xp: XpConfig) -> dict[str, Any]:
    """`Encodec`'s arguments; an option that is unknown here is a `UserError`, never ignored."""
    for key, value in _ONLY.items():
        if xp.get(key, value) != value:
            raise UserError(
                f"{xp.source}: {key} is {brief(xp[key])}, but only {value!r} is supported"
            )
    known = {*PLACES.values(), *_ONLY, *_IDLE, "seanet.decoder"}
    for section in ("encodec", "seanet", "seanet.decoder", "rvq"):
        for key in sorted(f"{section}.{name}" for name in xp.names(section)):
            if key not in known:
                raise UserError(f"{xp.source}: the option {key} of xp.cfg is not supported")
    config = {
        name: xp.get(place, _DEFAULTS[name]) if name in _DEFAULTS else xp[place]
        for name, place in PLACES.items()
    }
    if config["normalize"] is None:  # as audiocraft 1.0 wrote it
        config["normalize"] = False
    if xp.get("seanet.channels", config["channels"]) != config["channels"]:
        raise UserError(f"{xp.source}: seanet.channels is not encodec.channels")
    for name, values in (("norm", _NORMS), ("skip", _SKIPS)):
        value = config[name]
        if type(value) not in (bool, str) or value not in values:
            choice = ", ".join(map(str, values))
            raise UserError(
                f"{xp.source}: {PLACES[name]} is {brief(value)}: only {choice} are known"
            )
        config[name] = values[value]
    return config


def codec_config_to_audiocraft(codec: Encodec) -> dict[str, Any]:
    """The part of audiocraft's configuration that builds this codec."""
    check_exportable(codec)
    config = dict(codec.config)
    if config["chunk_duration"] or config["chunk_overlap"]:
        raise UserError("audiocraft has no codec that works in chunks: export to transformers")
    if config["causal"] and config["normalize"]:
        raise UserError("audiocraft refuses a causal codec that normalises: export to transformers")
    config["norm"] = next(theirs for theirs, ours in _NORMS.items() if ours == config["norm"])
    config["skip"] = config["skip"] == "identity"
    values = {
        "sample_rate": config["sample_rate"],
        "channels": config["channels"],
        **{place: config[name] for name, place in PLACES.items()},
        **_ONLY,
        "encodec.causal": config["causal"],
        "seanet.channels": config["channels"],
        "seanet.decoder.final_activation_params": None,
        "rvq.kmeans_init": True,
        "rvq.kmeans_iters": 50,
        "rvq.orthogonal_reg_active_codes_only": False,
    }
    tree: dict[str, Any] = {}
    for place, value in values.items():
        *sections, name = place.split(".")
        node = tree
        for section in sections:
            node = node.setdefault(section, {})
        node[name] = value
    return tree
