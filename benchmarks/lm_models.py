"""Random language models of MusicGen's shapes, and transformers' with the same weights."""

from typing import TYPE_CHECKING, Any, NamedTuple
from unittest.mock import patch

if TYPE_CHECKING:
    import torch

    from musicgen_train.lm import LanguageModel

N_Q, CARD, TEXT_DIM, TEXT_LENGTH = 4, 2048, 768, 12


class Shape(NamedTuple):
    """Of a language model."""

    dim: int
    layers: int
    heads: int


SHAPES = {
    "base": Shape(512, 8, 8),
    "small": Shape(1024, 24, 16),
    "medium": Shape(1536, 48, 24),
    "large": Shape(2048, 48, 32),
    "tiny": Shape(64, 2, 4),  # for dry runs
}


def our_model(
    shape: Shape, device: str, text_dim: int = TEXT_DIM, n_q: int = N_Q
) -> "LanguageModel":
    """A random language model of a shape.

    Plain normal numbers: those that are cut at three deviations take seven times as long to draw.
    """
    import torch

    from musicgen_train.lm import LanguageModel

    def draw(weight: torch.Tensor, std: float) -> None:
        torch.nn.init.normal_(weight, std=std)

    torch.manual_seed(0)
    with patch("musicgen_train.lm.model.trunc_normal", draw), torch.device(device):
        return LanguageModel(
            n_q=n_q, card=CARD, dim=shape.dim, num_layers=shape.layers, num_heads=shape.heads,
            text_dim=text_dim,
        )  # fmt: skip


def decoder_config(shape: Shape) -> Any:
    """transformers' configuration of the same."""
    from transformers import MusicgenDecoderConfig, logging

    specials: dict[str, Any] = dict.fromkeys(
        ("pad_token_id", "bos_token_id", "decoder_start_token_id"), CARD
    )
    logging.set_verbosity_error()  # of special tokens that lie behind the codes, as MusicGen's do
    return MusicgenDecoderConfig(
        vocab_size=CARD, hidden_size=shape.dim, num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads, ffn_dim=4 * shape.dim, num_codebooks=N_Q, dropout=0.0,
        audio_channels=1, **specials,
    )  # fmt: skip


def their_decoder(shape: Shape, device: str) -> Any:
    """transformers' decoder alone, which is what it trains; texts come projected."""
    import torch
    from transformers import MusicgenForCausalLM

    torch.manual_seed(0)
    with torch.device(device):
        return MusicgenForCausalLM(decoder_config(shape))


def their_musicgen(shape: Shape, device: str, dtype: "torch.dtype") -> Any:
    """transformers' MusicGen with random weights, around a tiny codec and T5."""
    import torch
    from transformers import (
        EncodecConfig,
        MusicgenConfig,
        MusicgenForConditionalGeneration,
        T5Config,
    )

    codec = EncodecConfig(
        num_filters=4, hidden_size=8, codebook_dim=8, codebook_size=CARD, sampling_rate=32000,
        upsampling_ratios=[8, 5, 4, 4], target_bandwidths=[2.2], num_lstm_layers=1,
    )  # fmt: skip
    text = T5Config(d_model=TEXT_DIM, d_kv=8, d_ff=8, num_layers=1, num_heads=1, vocab_size=32)
    config = MusicgenConfig(text_encoder=text, audio_encoder=codec, decoder=decoder_config(shape))
    with torch.device(device):
        model: Any = MusicgenForConditionalGeneration(config)
    model.generation_config.pad_token_id = CARD
    return model.to(dtype).eval()


def their_model(lm: "LanguageModel", dtype: "torch.dtype") -> Any:
    """The same with the weights of `lm`."""
    import torch

    from musicgen_train.formats.lm_layouts import to_layout, transformers_pieces

    shape = Shape(lm.dim, lm.config["num_layers"], lm.config["num_heads"])
    model = their_musicgen(shape, lm.device.type, torch.float32)
    missing, unknown = model.load_state_dict(to_layout(lm, transformers_pieces(lm)), strict=False)
    assert not unknown and all(n.startswith(("text_", "audio_")) for n in missing), missing
    return model.to(dtype)
