"""One clip through a codec and back, with every number of codebooks, and what that cost."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from musicgen_train.codec.encodec import Encodec
from musicgen_train.codec.streaming import Piece, decode_stream, encode_stream
from musicgen_train.evaluation.metrics.codec_metrics import code_counts
from musicgen_train.evaluation.metrics.fidelity import Fidelity, fidelity

WHOLE_DURATION = 60.0  # seconds; longer clips are coded in blocks, in constant memory
BLOCK_DURATION = 10.0
ALL_UP_TO = 8  # codebooks; with more, powers of two are tried


@dataclass
class RoundTripResult:
    """What a codec made of one clip, and an untrained one of the same shape."""

    wav: Tensor  # [C, N] with all codebooks
    by_n_q: dict[int, Fidelity]
    counts: Tensor  # [K, card] how often each code came
    untrained: Fidelity
    untrained_counts: Tensor


def sweep(n_q: int) -> list[int]:
    """The numbers of codebooks to try, up to all: 1, 2, 3, … or 1, 2, 4, …"""
    if n_q <= ALL_UP_TO:
        return list(range(1, n_q + 1))
    return [*(2**i for i in range((n_q - 1).bit_length())), n_q]


@torch.inference_mode()
def measure_round_trip(codec: Encodec, untrained: Encodec, wav: Tensor) -> RoundTripResult:
    """Code and decode a clip [C, N] and compare."""
    pieces, n_samples = encode_clip(codec, wav), wav.shape[-1]
    by_n_q, decoded = {}, wav
    for n_q in sweep(codec.n_q):
        decoded = decode_clip(codec, pieces, n_samples, n_q)
        by_n_q[n_q] = fidelity(decoded, wav, codec.sample_rate)
    fresh = encode_clip(untrained, wav)
    worst = fidelity(decode_clip(untrained, fresh, n_samples), wav, codec.sample_rate)
    return RoundTripResult(decoded, by_n_q, _counts(codec, pieces), worst, _counts(codec, fresh))


def encode_clip(codec: Encodec, wav: Tensor) -> list[Piece]:
    """Codes of a clip [C, N]: one piece, or many of a long clip."""
    if wav.shape[-1] <= WHOLE_DURATION * codec.sample_rate or not _streams(codec):
        return [Piece(codec.encode(wav[None]), codec.loudness(wav[None]))]
    blocks = wav[None].split(round(BLOCK_DURATION * codec.sample_rate), -1)
    return list(encode_stream(codec, blocks))


def decode_clip(
    codec: Encodec, pieces: list[Piece], n_samples: int, n_q: int | None = None
) -> Tensor:
    """The sound [C, N] of a clip's codes, of the first `n_q` codebooks only."""
    pieces = [piece._replace(codes=piece.codes[:, :n_q]) for piece in pieces]
    if len(pieces) == 1:
        wav = codec.decode(*pieces[0])
    else:
        wav = torch.cat(list(decode_stream(codec, pieces)), -1)
    return wav[0, :, :n_samples]


def _streams(codec: Encodec) -> bool:
    """Whether the codec can be fed in blocks: not if it looks at the whole clip at once."""
    looks_at_all = codec.normalize or codec.config["norm"] == "group"
    return codec.chunk_length is not None or not looks_at_all


def _counts(codec: Encodec, pieces: list[Piece]) -> Tensor:
    return torch.stack([code_counts(piece.codes, codec.card) for piece in pieces]).sum(0)
