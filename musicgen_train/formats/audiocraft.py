"""Language models in audiocraft's layout: key names and configuration."""

import re
from typing import Any

import torch
from torch import Tensor

_LAYER = {
    "self_attn.in_proj_weight": "self_attn.qkv.weight",
    "self_attn.out_proj.weight": "self_attn.out.weight",
    "cross_attention.out_proj.weight": "cross_attn.out.weight",
    "linear1.weight": "ffn.up.weight",
    "linear2.weight": "ffn.down.weight",
    "norm1.weight": "norm_self.weight",
    "norm1.bias": "norm_self.bias",
    "norm_cross.weight": "norm_cross.weight",
    "norm_cross.bias": "norm_cross.bias",
    "norm2.weight": "norm_ffn.weight",
    "norm2.bias": "norm_ffn.bias",
}
_OUTSIDE = {
    "out_norm.weight": "final_norm.weight",
    "out_norm.bias": "final_norm.bias",
    "condition_provider.conditioners.description.output_proj.weight": "fuser.text_proj.weight",
    "condition_provider.conditioners.description.output_proj.bias": "fuser.text_proj.bias",
    "condition_provider.conditioners.self_wav.output_proj.weight": "fuser.chroma_proj.weight",
    "condition_provider.conditioners.self_wav.output_proj.bias": "fuser.chroma_proj.bias",
}
# The chroma window follows from the configuration.
_DERIVED = "condition_provider.conditioners.self_wav.chroma."


def lm_state_from_audiocraft(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename audiocraft's `best_state` to `LanguageModel`'s keys, fusing the codebooks.

    An unknown key raises `KeyError`: nothing is dropped in silence.
    """
    n_q = sum(key.startswith("emb.") for key in state)
    renamed = {
        "embedding.weight": torch.cat([state[f"emb.{k}.weight"] for k in range(n_q)]),
        "heads.weight": torch.cat([state[f"linears.{k}.weight"] for k in range(n_q)]),
    }
    for key, tensor in state.items():
        if key.startswith(("emb.", "linears.", _DERIVED)):
            continue
        match = re.fullmatch(r"transformer\.layers\.(\d+)\.(.+)", key)
        if match is None:
            renamed[_OUTSIDE[key]] = tensor
        elif match[2] == "cross_attention.in_proj_weight":
            q, kv = tensor.split([tensor.shape[1], 2 * tensor.shape[1]])
            renamed[f"layers.{match[1]}.cross_attn.q.weight"] = q
            renamed[f"layers.{match[1]}.cross_attn.kv.weight"] = kv
        else:
            renamed[f"layers.{match[1]}.{_LAYER[match[2]]}"] = tensor
    return renamed


def lm_config_from_audiocraft(cfg: dict[str, Any], state: dict[str, Tensor]) -> dict[str, Any]:
    """`LanguageModel`'s arguments from the parsed `xp.cfg` and `best_state`."""
    lm = cfg["transformer_lm"]
    text_proj = state.get("condition_provider.conditioners.description.output_proj.weight")
    chroma_proj = state.get("condition_provider.conditioners.self_wav.output_proj.weight")
    cross = cfg["fuser"].get("cross") or []
    config: dict[str, Any] = {
        "n_q": lm["n_q"],
        "card": lm["card"],
        "dim": lm["dim"],
        "num_heads": lm["num_heads"],
        "num_layers": lm["num_layers"],
        "ffn_mult": lm["hidden_scale"],
        "dropout": lm["dropout"],
        "delays": list(cfg["codebooks_pattern"]["delay"]["delays"]),
        "text_dim": None if text_proj is None else text_proj.shape[1],
        "chroma_dim": None if chroma_proj is None else chroma_proj.shape[1],
        "fuse_text": "cross" if "description" in cross else "prepend",
        "fuse_chroma": "cross" if "self_wav" in cross else "prepend",
    }
    if chroma_proj is not None:
        window = 2 ** cfg["conditioners"]["self_wav"]["chroma_stem"]["radix2_exp"]
        n_samples = int(cfg["dataset"]["segment_duration"] * cfg["sample_rate"])
        config["chroma_length"] = max(n_samples, window) // (window // 4) + 1
    return config
