"""EnCodec: waveform <-> codes (Défossez et al. 2022)."""

import hashlib
import json
from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from musicgen_train.codec.initialisation import initialise
from musicgen_train.codec.rvq import ResidualVectorQuantizer
from musicgen_train.codec.seanet import SEANetDecoder, SEANetEncoder
from musicgen_train.errors import UserError


class Reconstruction(NamedTuple):
    """Output of a training pass."""

    wav: Tensor  # [B, C, N]
    codes: Tensor | None  # [B, K, T]; None while the quantizer is bypassed
    commitment: Tensor  # scalar


class Encodec(nn.Module):
    """SEANet autoencoder around a residual vector quantizer.

    wav [B, C, N] in [-1, 1] at `sample_rate` <-> codes [B, K, T] at `frame_rate`:
    K = n_q, T = ceil(N / hop), hop = prod(ratios) = sample_rate / frame_rate.
    """

    def __init__(
        self,
        *,
        sample_rate: int,
        channels: int,
        n_q: int,
        card: int,
        ratios: Sequence[int],
        n_filters: int,
        dimension: int = 128,
        n_residual_layers: int = 1,
        lstm: int = 2,
        compress: int = 2,
        causal: bool = False,
        pad_mode: str = "constant",
        trim_right_ratio: float = 1.0,
        decay: float = 0.99,
        dead_code_threshold: float = 2.0,
        frame_rate: float | None = None,
    ):
        super().__init__()
        self.config: dict[str, Any] = {
            name: list(value) if name == "ratios" else value
            for name, value in locals().items()
            if name not in ("self", "__class__", "frame_rate")
        }
        self.sample_rate = sample_rate
        self.channels = channels
        self.n_q = n_q
        self.card = card
        self.hop_length = prod(ratios)
        self.frame_rate = sample_rate / self.hop_length
        if frame_rate is not None and frame_rate != self.frame_rate:
            raise UserError(
                f"codec frame_rate {frame_rate} does not fit sample_rate {sample_rate} / "
                f"hop {self.hop_length} = {self.frame_rate}: mend conf/codec"
            )
        shape: dict[str, Any] = {
            "channels": channels,
            "dimension": dimension,
            "n_filters": n_filters,
            "ratios": list(ratios),
            "n_residual_layers": n_residual_layers,
            "lstm": lstm,
            "compress": compress,
            "causal": causal,
            "pad_mode": pad_mode,
        }
        self.encoder = SEANetEncoder(**shape)
        self.decoder = SEANetDecoder(**shape, trim_right_ratio=trim_right_ratio)
        initialise(self.encoder, self.decoder)
        self.quantizer = ResidualVectorQuantizer(
            dimension=dimension,
            n_q=n_q,
            card=card,
            decay=decay,
            dead_code_threshold=dead_code_threshold,
        )

    def forward(self, wav: Tensor, quantize: bool = True) -> Reconstruction:
        """Reconstruct wav [B, C, N]; without `quantize` the latents pass unquantized (warm-up)."""
        latents = self.encoder(wav)
        if quantize:
            latents, codes, commitment = self.quantizer(latents)
        else:
            codes, commitment = None, latents.new_zeros(())
        return Reconstruction(self.decoder(latents)[..., : wav.shape[-1]], codes, commitment)

    @torch.no_grad()
    def encode(self, wav: Tensor) -> Tensor:
        """[B, C, N] -> [B, K, ceil(N / hop)] int64 codes in [0, card)."""
        if wav.dim() != 3 or wav.shape[1] != self.channels:
            raise UserError(
                f"the codec takes wav [B, {self.channels}, N], got {list(wav.shape)}: "
                "mix or repeat the channels first"
            )
        return self.quantizer.encode(self.encoder(wav))

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """[B, K, T] codes -> [B, C, T * hop] wav."""
        return self.decoder(self.quantizer.decode(codes))

    def identity(self) -> str:
        """16 hex digits that name what maps audio to codes and back: the config and all weights."""
        digest = hashlib.sha256(json.dumps(self.config, sort_keys=True).encode())
        for name, tensor in sorted(self.state_dict().items()):
            # Averages only matter for training; they do not change a code.
            if not name.endswith(("cluster_size", "embed_avg", "inited")):
                digest.update(name.encode())
                digest.update(tensor.detach().cpu().float().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]
