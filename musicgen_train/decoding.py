"""Codes to audio: samples of different lengths in one batch, and audio while codes still come."""

from collections.abc import Iterable, Iterator, Sequence
from math import ceil

import torch
from torch import Tensor

from musicgen_train.codec.encodec import Encodec
from musicgen_train.codec.stereo import StereoCodec
from musicgen_train.codec.streaming import Piece, check_streamable, decode_stream
from musicgen_train.errors import UserError

Codec = Encodec | StereoCodec

LONG = 30.0  # seconds; what is longer is decoded in pieces, since memory grows with the length
PIECE = 1.0  # seconds of a piece: the layers keep views of whole pieces between two of them


@torch.no_grad()
def decode_rows(codec: Codec, codes: Sequence[Tensor]) -> list[Tensor]:
    """Decode samples [K, T_i] to [C, N_i]; those of equal length together.

    Padding would be heard: a decoder looks some frames ahead.
    """
    wavs: dict[int, Tensor] = {}
    for length in {row.shape[-1] for row in codes}:
        alike = [i for i, row in enumerate(codes) if row.shape[-1] == length]
        decoded = decode_whole(codec, torch.stack([codes[i] for i in alike]))
        wavs.update(zip(alike, decoded, strict=True))
    return [wavs[i] for i in range(len(codes))]


def decode_whole(codec: Codec, codes: Tensor) -> Tensor:
    """Decode [B, K, T] to [B, C, N], in bounded memory if the codec's kind allows it."""
    if codes.shape[-1] <= LONG * codec.frame_rate or not in_pieces(codec):
        return codec.decode(codes)
    pieces = codes.split(piece_length(codec, PIECE), -1)
    return torch.cat(list(decode_pieces(codec, pieces)), -1)


def in_pieces(codec: Codec) -> bool:
    """Whether the codec can decode piece by piece what `decode` would take at once."""
    try:
        check_streamable(codec)
    except UserError:
        return False
    return codec.chunk_length is None  # chunks are decoded one by one in any case


def piece_length(codec: Codec, duration: float) -> int:
    """Frames of the pieces that a stream is decoded in: `duration` seconds, or the codec's chunks.

    A codec that needs the whole signal is refused.
    """
    check_streamable(codec)
    if codec.chunk_length is not None:
        return ceil(codec.chunk_length / codec.hop_length)
    return max(1, round(duration * codec.frame_rate))


def decode_pieces(codec: Codec, pieces: Iterable[Tensor]) -> Iterator[Tensor]:
    """The audio [B, C, n] of successive codes [B, K, t], as soon as it is certain."""
    for wav in decode_stream(codec, map(Piece, pieces)):
        if wav.shape[-1]:
            yield wav


def decoded_length(codec: Codec, n_frames: int) -> int:
    """Samples that `n_frames` frames of codes decode to."""
    if codec.chunk_length is None or codec.chunk_stride is None:
        return n_frames * codec.hop_length
    per_chunk = ceil(codec.chunk_length / codec.hop_length)
    n_chunks = ceil(n_frames / per_chunk)
    last = n_frames - (n_chunks - 1) * per_chunk
    return (n_chunks - 1) * codec.chunk_stride + last * codec.hop_length


def encoded_length(codec: Codec, n_samples: int) -> int:
    """Frames that `n_samples` samples are coded in."""
    length, stride = codec.chunk_length or n_samples, codec.chunk_stride or n_samples
    starts = range(0, n_samples, stride)
    return sum(ceil(min(length, n_samples - start) / codec.hop_length) for start in starts)
