"""EnCodec: waveform <-> codes (Défossez et al. 2022)."""

import hashlib
import inspect
import json
from collections.abc import Sequence
from dataclasses import fields
from math import ceil, prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from musicgen_train.codec.chunks import overlap_add, split_chunks
from musicgen_train.codec.initialisation import AUDIO_RMS, initialise
from musicgen_train.codec.rvq import ResidualVectorQuantizer
from musicgen_train.codec.seanet import SEANetDecoder, SEANetEncoder, SEANetShape
from musicgen_train.errors import UserError

# Arguments that shape training and leave the map from audio to codes and back as it is.
TRAINING_ONLY = ("decay", "dead_code_threshold", "quantizer_dropout")


class Reconstruction(NamedTuple):
    """Output of a training pass."""

    wav: Tensor  # [B, C, N]
    codes: Tensor | None  # [B, K, T]; None while the quantizer is bypassed
    commitment: Tensor  # scalar


class Encodec(nn.Module):
    """SEANet autoencoder around a residual vector quantizer.

    wav [B, C, N] in [-1, 1] at `sample_rate` <-> codes [B, K, T] at `frame_rate`:
    K = n_q, T = ceil(N / hop), hop = prod(ratios) = sample_rate / frame_rate.

    With `chunk_duration` seconds, audio is coded in chunks that know nothing of each other and
    share `chunk_overlap` of their length with the next; T is then the sum of theirs. With
    `normalize`, every chunk is scaled to unit power: `loudness` gives what `decode` needs back.
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
        kernel_size: int = 7,
        residual_kernel_size: int = 3,
        last_kernel_size: int = 7,
        dilation_base: int = 2,
        compress: int = 2,
        skip: str = "identity",
        causal: bool = False,
        pad_mode: str = "constant",
        norm: str = "weight",
        trim_right_ratio: float = 1.0,
        normalize: bool = False,
        chunk_duration: float | None = None,
        chunk_overlap: float = 0.0,
        quantizer_dropout: bool = False,
        decay: float = 0.99,
        dead_code_threshold: float = 2.0,
        frame_rate: float | None = None,
    ):
        arguments = dict(locals())
        super().__init__()
        self.config: dict[str, Any] = {
            name: list(value) if name == "ratios" else value
            for name, value in arguments.items()
            if name not in ("self", "__class__", "frame_rate")
        }
        self.sample_rate = sample_rate
        self.channels = channels
        self.n_q = n_q
        self.card = card
        self.normalize = normalize
        self.hop_length = prod(ratios)
        self.frame_rate = sample_rate / self.hop_length
        if frame_rate is not None and frame_rate != self.frame_rate:
            raise UserError(
                f"codec frame_rate {frame_rate} does not fit sample_rate {sample_rate} / "
                f"hop {self.hop_length} = {self.frame_rate}: mend conf/codec"
            )
        self.chunk_length = int(chunk_duration * sample_rate) if chunk_duration else None
        self.chunk_stride = (
            max(1, int((1 - chunk_overlap) * self.chunk_length)) if self.chunk_length else None
        )
        shape = SEANetShape(**{field.name: arguments[field.name] for field in fields(SEANetShape)})
        self.encoder, self.decoder = SEANetEncoder(shape), SEANetDecoder(shape)
        initialise(self.encoder, self.decoder, audio_rms=1.0 if normalize else AUDIO_RMS)
        self.quantizer = ResidualVectorQuantizer(
            dimension=dimension,
            n_q=n_q,
            card=card,
            decay=decay,
            dead_code_threshold=dead_code_threshold,
            dropout=quantizer_dropout,
        )

    def forward(self, wav: Tensor, quantize: bool = True) -> Reconstruction:
        """Reconstruct wav [B, C, N], as one chunk; `quantize=False` bypasses the quantizer."""
        latents, scale = self.latents(wav)
        if quantize:
            latents, codes, commitment = self.quantizer(latents)
        else:
            codes, commitment = None, latents.new_zeros(())
        # Losses of half-precision audio would have half-precision gradients.
        output = self.decoder(latents)[..., : wav.shape[-1]].float()
        return Reconstruction(output if scale is None else output * scale, codes, commitment)

    def latents(self, wav: Tensor) -> tuple[Tensor, Tensor | None]:
        """What the quantizer gets of one chunk [B, C, N]: [B, D, T]; and the power [B, 1, 1]."""
        scale = _power(wav) if self.normalize else None
        return self.encoder(wav if scale is None else wav / scale), scale

    @torch.no_grad()
    def encode(self, wav: Tensor, n_q: int | None = None) -> Tensor:
        """[B, C, N] -> [B, K, T] int64 codes in [0, card); K = n_q, the first so many codebooks."""
        self.check(wav, n_q)
        return torch.cat([self.encode_chunk(chunk, n_q)[0] for chunk in self.chunks(wav)], -1)

    @torch.no_grad()
    def encode_chunk(self, wav: Tensor, n_q: int | None = None) -> tuple[Tensor, Tensor | None]:
        """One chunk's wav [B, C, N] -> codes [B, K, ceil(N / hop)] and loudness [B, 1] or None."""
        latents, scale = self.latents(wav)
        return self.quantizer.encode(latents, n_q), None if scale is None else scale[..., 0]

    @torch.no_grad()
    def decode(self, codes: Tensor, loudness: Tensor | None = None) -> Tensor:
        """[B, K, T] codes -> [B, C, T * hop] wav, or a little less where chunks overlap.

        `loudness` [B, chunks] belongs to codecs that normalise; without it all is at unit power.
        """
        if self.chunk_length is None or self.chunk_stride is None:
            return self.decode_chunk(codes, loudness)
        chunks = codes.split(ceil(self.chunk_length / self.hop_length), -1)
        if loudness is not None and loudness.shape != (len(codes), len(chunks)):
            raise UserError(
                f"these codes are {len(chunks)} chunks, so their loudness is [{len(codes)}, "
                f"{len(chunks)}], not {list(loudness.shape)}: keep codes and loudness together"
            )
        scales = [None] * len(chunks) if loudness is None else loudness.split(1, 1)
        wavs = [self.decode_chunk(*pair) for pair in zip(chunks, scales, strict=True)]
        return overlap_add(wavs, self.chunk_stride)

    @torch.no_grad()
    def decode_chunk(self, codes: Tensor, loudness: Tensor | None = None) -> Tensor:
        """One chunk's codes [B, K, T] and loudness [B, 1] -> [B, C, T * hop] wav."""
        self.check_codes(codes)
        wav = self.decoder(self.quantizer.decode(codes))
        return wav if loudness is None else wav * loudness[..., None]

    def loudness(self, wav: Tensor) -> Tensor | None:
        """Power that `encode` divides each chunk by, [B, chunks]; None if it does not normalise."""
        if not self.normalize:
            return None
        return torch.cat([_power(chunk)[..., 0] for chunk in self.chunks(wav)], 1)

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in, and takes audio in."""
        return next(self.decoder.parameters()).dtype

    def chunks(self, wav: Tensor) -> list[Tensor]:
        """What is coded at a time: the chunks of wav [B, C, N], or all of it."""
        if self.chunk_length is None or self.chunk_stride is None:
            return [wav]
        return split_chunks(wav, self.chunk_length, self.chunk_stride)

    def check(self, wav: Tensor, n_q: int | None = None) -> None:
        """Refuse audio that has no codes, and more codebooks than there are.

        Audio beyond [-1, 1] is coded as it is. Its sample rate cannot be seen here: whoever reads
        files brings them to `sample_rate`.
        """
        if wav.dim() != 3 or wav.shape[1] != self.channels:
            raise UserError(
                f"the codec takes wav [B, {self.channels}, N], got {list(wav.shape)}: "
                "mix or repeat the channels first"
            )
        if wav.dtype != self.dtype:
            raise UserError(
                f"the codec takes {self.dtype} audio in [-1, 1], got {wav.dtype}: convert it first "
                "(integers: divide by their full scale)"
            )
        if wav.numel() == 0:
            raise UserError("the codec was given 0 samples: leave empty audio out")
        if not torch.isfinite(wav).all():
            raise UserError("the codec was given NaN or infinite samples: mend or leave them out")
        if n_q is not None and not 1 <= n_q <= self.n_q:
            raise UserError(f"n_q is {n_q}, but the codec has {self.n_q} codebooks: use 1 to those")

    def check_codes(self, codes: Tensor) -> None:
        """Refuse codes that this codec cannot have made."""
        if codes.dim() != 3 or not 1 <= codes.shape[1] <= self.n_q or codes.numel() == 0:
            raise UserError(
                f"the codec decodes codes [B, 1 to {self.n_q}, T], got {list(codes.shape)}: "
                "put batch and codebooks first, and leave empty codes out"
            )
        if codes.dtype not in (torch.int64, torch.int32):
            raise UserError(f"the codec decodes torch.int64 codes, got {codes.dtype}: use .long()")
        lowest, highest = codes.aminmax()
        if lowest < 0 or highest >= self.card:
            raise UserError(
                f"codes lie in [{lowest}, {highest}], but the codec's in [0, {self.card - 1}]: "
                "they are another codec's, or special tokens are among them"
            )

    def identity(self) -> str:
        """16 hex digits that name what maps audio to codes and back: the config and all weights."""
        defaults = inspect.signature(Encodec).parameters
        # Without defaults, so that a new option leaves the identity of older codecs as it is.
        told = {
            name: value
            for name, value in self.config.items()
            if name not in TRAINING_ONLY and value != defaults[name].default
        }
        digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
        for name, tensor in sorted(self.state_dict().items()):
            # Averages only matter for training; they do not change a code.
            if not name.endswith(("cluster_size", "embed_avg", "inited")):
                digest.update(name.encode())
                digest.update(tensor.detach().cpu().float().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]


def _power(wav: Tensor) -> Tensor:
    """Root mean square of the mix of channels, never 0: [B, C, N] -> [B, 1, 1]."""
    return wav.mean(1, keepdim=True).square().mean(-1, keepdim=True).sqrt() + 1e-8
