"""What the codec benchmarks code: the published shapes, transformers' model, and audio."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from musicgen_train.codec.encodec import Encodec

Calls = dict[str, Callable[[], "Tensor"]]

SHARED: dict[str, Any] = {"channels": 1, "dimension": 128, "lstm": 2}
PRESETS: dict[str, dict[str, Any]] = {
    "32khz": {
        **SHARED, "sample_rate": 32000, "n_filters": 64, "ratios": [8, 5, 4, 4], "n_q": 4,
        "card": 2048,
    },
    "24khz": {
        **SHARED, "sample_rate": 24000, "n_filters": 32, "ratios": [8, 5, 4, 2], "n_q": 32,
        "card": 1024, "causal": True, "pad_mode": "reflect", "skip": "conv",
    },
    "tiny": {
        "channels": 1, "sample_rate": 16000, "n_filters": 16, "ratios": [4, 4, 5, 8], "n_q": 4,
        "card": 1024, "dimension": 64, "lstm": 1,
    },
}  # fmt: skip


def our_codec(preset: str) -> "Encodec":
    """A random codec of the preset's shape; k-means on `music_like` audio starts its codebooks."""
    import torch

    from musicgen_train.codec.encodec import Encodec

    torch.manual_seed(0)
    codec = Encodec(**PRESETS[preset]).eval()
    with torch.inference_mode():
        # One after the other, so that this is not the peak of memory.
        wavs = music_like(8, 6.0, codec.sample_rate).split(1)
        latents = torch.cat([codec.encoder(wav) for wav in wavs])
    for codebook in codec.quantizer.codebooks:
        codebook.kmeans_iterations = 5  # the codes need not be good, only spread
    codec.quantizer.initialise(latents.transpose(1, 2).flatten(0, 1).clone())
    return codec


def folded_codec(preset: str) -> "Encodec":
    """The same without weight norm, as it is used."""
    from musicgen_train.codec.folding import fold_weight_norm

    return fold_weight_norm(our_codec(preset))


def music_like(batch: int, duration: float, sample_rate: int, start: int = 0) -> "Tensor":
    """Three decaying notes a second over soft noise, from sample `start` on: [B, 1, N]."""
    import torch

    n_samples = round(duration * sample_rate)
    rng = torch.Generator().manual_seed(start)
    beats = 3 * torch.arange(start, start + n_samples, dtype=torch.float64) / sample_rate
    note = beats.floor() + 7 * torch.arange(batch)[:, None]
    pitch = 110 * 2 ** ((5 * note % 24) / 12)
    tone = (2 * torch.pi / 3 * pitch * beats).sin() * (-3 * (beats % 1)).exp()
    noise = torch.randn(batch, n_samples, generator=rng)
    return (0.3 * tone + 0.02 * noise).float()[:, None]


def seconds_of_music(n_seconds: int, sample_rate: int) -> "Iterator[Tensor]":
    """The same second by second, [1, 1, sample_rate] each, made when it is asked for."""
    for i in range(n_seconds):
        yield music_like(1, 1.0, sample_rate, start=i * sample_rate)


def our_calls(codec: "Encodec", wav: "Tensor", codes: "Tensor") -> Calls:
    """Encode wav [B, 1, N], and decode codes [B, K, T]."""
    return {"encode": lambda: codec.encode(wav), "decode": lambda: codec.decode(codes)}


def transformers_calls(codec: "Encodec", wav: "Tensor", codes: "Tensor") -> Calls:
    """The same by transformers' `EncodecModel`, which takes the codec's own weights."""
    from transformers import EncodecConfig, EncodecModel

    shape = codec.config
    bandwidth = codec.n_q * codec.frame_rate * (codec.card - 1).bit_length() / 1000
    config = EncodecConfig(
        target_bandwidths=[bandwidth], sampling_rate=codec.sample_rate, audio_channels=1,
        num_filters=shape["n_filters"], upsampling_ratios=shape["ratios"],
        hidden_size=shape["dimension"], codebook_size=codec.card, num_lstm_layers=shape["lstm"],
        use_causal_conv=shape["causal"], pad_mode=shape["pad_mode"], normalize=False,
        use_conv_shortcut=shape["skip"] == "conv",
    )  # fmt: skip
    model: Any = EncodecModel(config).eval()
    model.load_state_dict(codec.state_dict())
    model.to(wav.device)
    return {
        "encode": lambda: model.encode(wav, bandwidth=bandwidth).audio_codes[0],
        "decode": lambda: model.decode(codes[None], [None]).audio_values,
    }
