"""Stereo from a mono codec: left and right are coded alone, their codes interleaved by level."""

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from musicgen_train.codec.encodec import Encodec
from musicgen_train.errors import UserError


class StereoCodec(nn.Module):
    """A mono codec run on left and right.

    wav [B, 2, N] <-> codes [B, 2K, T] of the mono codec's K codebooks, in the order in which the
    released stereo models have them: level by level, left before right, [1L, 1R, 2L, 2R, …].

    Everything but `mono` follows from it; a configuration may say it, and is held to it.
    """

    channels = 2
    normalize = False

    def __init__(
        self,
        mono: Encodec,
        *,
        sample_rate: int | None = None,
        frame_rate: float | None = None,
        channels: int | None = None,
        n_q: int | None = None,
        card: int | None = None,
        delays: Sequence[int] | None = None,
    ):
        told = {k: v for k, v in locals().items() if k not in ("self", "__class__", "mono")}
        super().__init__()
        if mono.channels != 1 or mono.normalize:
            kind = f"of {mono.channels} channels" if mono.channels != 1 else "that normalises"
            raise UserError(f"StereoCodec was given a codec {kind}: give a mono one that does not")
        self.mono = mono
        self.sample_rate = mono.sample_rate
        self.frame_rate = mono.frame_rate
        self.hop_length = mono.hop_length
        self.chunk_length, self.chunk_stride = mono.chunk_length, mono.chunk_stride
        self.n_q = 2 * mono.n_q
        self.card = mono.card
        self.delays = [k // 2 for k in range(self.n_q)]  # a level's left and right share a step
        self._check_told(told)

    def _check_told(self, told: dict[str, Any]) -> None:
        for name, value in told.items():
            if value is not None and value != getattr(self, name):
                raise UserError(
                    f"{name} {value} does not fit a stereo codec of this mono codec, whose {name} "
                    f"is {getattr(self, name)}: mend conf/codec"
                )

    @torch.no_grad()
    def encode(self, wav: Tensor) -> Tensor:
        """[B, 2, N] -> [B, 2K, T] int64 codes in [0, card)."""
        self.check(wav)
        return self.interleave(self.mono.encode(self.sides(wav)))

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """[B, 2K, T] codes -> [B, 2, T * hop] wav, or a little less where chunks overlap."""
        self.check_codes(codes)
        return self.join(self.mono.decode(self.separate(codes)))

    def sides(self, wav: Tensor) -> Tensor:
        """Left and right as mono rows: [B, 2, N] -> [2B, 1, N]."""
        return wav.flatten(0, 1)[:, None]

    def join(self, rows: Tensor) -> Tensor:
        """Mono rows as left and right: [2B, 1, N] -> [B, 2, N]."""
        return rows.unflatten(0, (-1, 2)).squeeze(2)

    def interleave(self, codes: Tensor) -> Tensor:
        """The mono codes of both sides, level by level: [2B, K, T] -> [B, 2K, T]."""
        return codes.unflatten(0, (-1, 2)).transpose(1, 2).flatten(1, 2)

    def separate(self, codes: Tensor) -> Tensor:
        """Each side's own codes: [B, 2K, T] -> [2B, K, T]."""
        return codes.unflatten(1, (-1, 2)).transpose(1, 2).flatten(0, 1)

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in, and takes audio in."""
        return self.mono.dtype

    def check(self, wav: Tensor) -> None:
        """Refuse audio that has no codes."""
        if wav.dim() != 3 or wav.shape[1] != 2:
            raise UserError(
                f"the codec takes wav [B, 2, N], got {list(wav.shape)}: repeat a mono channel first"
            )
        self.mono.check(self.sides(wav))

    def check_codes(self, codes: Tensor) -> None:
        """Refuse codes that this codec cannot have made."""
        if codes.dim() != 3 or codes.shape[1] % 2 or not 2 <= codes.shape[1] <= self.n_q:
            raise UserError(
                f"the codec decodes codes [B, 2 to {self.n_q}, T] with a left and a right code per "
                f"level, got {list(codes.shape)}: put batch and codebooks first"
            )
        self.mono.check_codes(self.separate(codes))

    def identity(self) -> str:
        """16 hex digits: the mono codec's, and that these codes are of two sides."""
        return hashlib.sha256(f"stereo {self.mono.identity()}".encode()).hexdigest()[:16]
