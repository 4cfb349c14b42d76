"""Codes to audio: samples of different lengths in one batch, and audio while codes still come."""

from collections.abc import Iterable, Iterator, Sequence
from math import ceil

import torch
from torch import Tensor

from musicgen_train.codec.encodec import Encodec
from musicgen_train.codec.stereo import StereoCodec
from musicgen_train.codec.streaming import Piece, check_streamable, decode_stream

Codec = Encodec | StereoCodec


@torch.no_grad()
def decode_rows(codec: Codec, codes: Sequence[Tensor]) -> list[Tensor]:
    """Decode samples [K, T_i] to [C, N_i]; those of equal length together.

    Padding would be heard: a decoder looks some frames ahead.
    """
    wavs: dict[int, Tensor] = {}
    for length in {row.shape[-1] for row in codes}:
        alike = [i for i, row in enumerate(codes) if row.shape[-1] == length]
        decoded = codec.decode(torch.stack([codes[i] for i in alike]))
        wavs.update(zip(alike, decoded, strict=True))
    return [wavs[i] for i in range(len(codes))]


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
