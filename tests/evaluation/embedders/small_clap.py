"""A tiny random CLAP, a word tokenizer, and the layout in which LAION publishes checkpoints."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor
from transformers import ClapConfig, ClapModel, PreTrainedTokenizerFast

WORDS = ("a", "happy", "sad", "rock", "jazz", "song", "with", "piano", "and", "loud", "drums")


def small_tokenizer() -> PreTrainedTokenizerFast:
    """One token per word, between those of RoBERTa."""
    words = ["<s>", "<pad>", "</s>", "<unk>", *WORDS]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
    )


def clap_config(
    width: int = 16, depths: tuple[int, ...] = (1, 1, 2, 1), text: dict[str, Any] | None = None
) -> ClapConfig:
    """HTSAT-tiny in small; depths are those of its stages."""
    small = {"vocab_size": 32, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 1,
             "intermediate_size": 32, "max_position_embeddings": 80}  # fmt: skip
    audio = {"patch_embeds_hidden_size": width, "hidden_size": width * 8, "depths": depths,
             "num_attention_heads": [4, 8, 16, 32]}  # fmt: skip
    return ClapConfig(
        text_config={**(small if text is None else text), "layer_norm_eps": 1e-5},
        audio_config=audio,
        projection_dim=512 if text == {} else 24,
    )


def small_clap(seed: int = 0) -> ClapModel:
    """Random weights, larger than new models have them, so that mistakes are heard."""
    torch.manual_seed(seed)
    model = ClapModel(clap_config()).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        norm = model.audio_model.audio_encoder.batch_norm
        norm.running_mean.fill_(-30.0)
        norm.running_var.fill_(400.0)
    return model


def laion_layout(model: ClapModel) -> dict[str, Tensor]:
    """The state dict that laion_clap 1.1.7 has for the same model, the unused parts included."""
    state = {name: tensor for name, tensor in model.state_dict().items() if "logit_scale" in name}
    for side in ("audio", "text"):
        projection = getattr(model, f"{side}_projection")
        state |= under(f"{side}_projection.0", projection.linear1)
        state |= under(f"{side}_projection.2", projection.linear2)
        width = projection.linear2.out_features
        for layer in (0, 3):
            state |= under(f"{side}_transform.sequential.{layer}", linear(width, width))
    text = under("text_branch", model.text_model)
    state |= {n: t for n, t in text.items() if not n.endswith((".position_ids", ".token_type_ids"))}
    return state | htsat_layout(model)


def htsat_layout(model: ClapModel) -> dict[str, Tensor]:
    """The audio side: transformer stages between a front end and two heads for tags."""
    encoder = model.audio_model.audio_encoder
    place = "audio_branch"
    state = {f"{place}.spectrogram_extractor.stft.conv_{part}.weight": torch.zeros(513, 1, 1024)
             for part in ("real", "imag")}  # fmt: skip
    state[f"{place}.logmel_extractor.melW"] = torch.zeros(513, 64)
    state |= under(f"{place}.bn0", encoder.batch_norm)
    state |= under(f"{place}.patch_embed", encoder.patch_embed)
    state |= under(f"{place}.norm", encoder.norm)
    state[f"{place}.tscam_conv.weight"] = torch.zeros(527, encoder.num_features, 2, 3)
    state[f"{place}.tscam_conv.bias"] = torch.zeros(527)
    state |= under(f"{place}.head", linear(527, 527))
    for i, stage in enumerate(encoder.layers):
        for j, block in enumerate(stage.blocks):
            name = f"{place}.layers.{i}.blocks.{j}"
            state |= block_layout(name, block)
            side = 64 // 2**i
            if j % 2 and side > 8:  # shifted windows
                state[f"{name}.attn_mask"] = torch.zeros((side // 8) ** 2, 64, 64)
        if stage.downsample is not None:
            state |= under(f"{place}.layers.{i}.downsample", stage.downsample)
    return state


def block_layout(name: str, block: Any) -> dict[str, Tensor]:
    """One block of Swin, its queries, keys and values in one matrix."""
    attention = block.attention.self
    parts = (attention.query, attention.key, attention.value)
    return {
        **under(f"{name}.norm1", block.layernorm_before),
        f"{name}.attn.relative_position_bias_table": attention.relative_position_bias_table,
        f"{name}.attn.relative_position_index": attention.relative_position_index,
        f"{name}.attn.qkv.weight": torch.cat([part.weight for part in parts]),
        f"{name}.attn.qkv.bias": torch.cat([part.bias for part in parts]),
        **under(f"{name}.attn.proj", block.attention.output.dense),
        **under(f"{name}.norm2", block.layernorm_after),
        **under(f"{name}.mlp.fc1", block.intermediate.dense),
        **under(f"{name}.mlp.fc2", block.output.dense),
    }


def linear(inputs: int, outputs: int) -> torch.nn.Linear:
    """Without numbers: nobody reads them."""
    return torch.nn.Linear(inputs, outputs, device="meta").to_empty(device="cpu")


def under(name: str, module: torch.nn.Module) -> dict[str, Tensor]:
    """The state of a module under another name."""
    return {f"{name}.{key}": tensor for key, tensor in module.state_dict().items()}


def save_laion(model: ClapModel, path: Path, **beside: Any) -> Path:
    """A checkpoint as LAION's training wrote them: from a distributed module, with much beside."""
    state = {f"module.{name}": tensor for name, tensor in laion_layout(model).items()}
    state["module.text_branch.embeddings.position_ids"] = torch.arange(80)[None]
    torch.save({"epoch": 15, "name": "run", "state_dict": state, **beside}, path)
    return path
