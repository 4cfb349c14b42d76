"""The codes of one piece of audio as a file, which names the codec that made them."""

from collections.abc import Iterator
from math import ceil
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from musicgen_train.codec.encodec import Encodec
from musicgen_train.codec.streaming import Piece
from musicgen_train.errors import UserError
from musicgen_train.whole_files import replacing

FORMAT = "musicgen_train codes 1"


class CodedAudio(NamedTuple):
    """What decoding needs besides the codec."""

    codes: Tensor  # [1, K, T] int64
    loudness: Tensor | None  # [1, chunks], of codecs that normalise
    n_samples: int  # of the audio, at the codec's rate: decoding gives whole frames

    def pieces(self, codec: Encodec) -> Iterator[Piece]:
        """The codes about a second at a time, or chunk by chunk."""
        size = ceil((codec.chunk_length or codec.sample_rate) / codec.hop_length)
        for i, codes in enumerate(self.codes.split(size, -1)):
            yield Piece(codes, None if self.loudness is None else self.loudness[:, i : i + 1])


def write_codes(path: Path, coded: CodedAudio, codec: Encodec) -> None:
    """Write a .safetensors file, all or nothing; a code takes 2 bytes."""
    kind = torch.uint16 if codec.card <= 1 << 16 else torch.int32
    tensors = {"codes": coded.codes.to(kind).contiguous()}
    if coded.loudness is not None:
        tensors["loudness"] = coded.loudness.contiguous()
    metadata = {
        "format": FORMAT,
        "codec_identity": codec.identity(),
        "sample_rate": str(codec.sample_rate),
        "channels": str(codec.channels),
        "n_samples": str(coded.n_samples),
    }
    with replacing(path) as temporary:
        save_file(tensors, str(temporary), metadata)
        temporary.chmod(0o644)  # safetensors writes files that only their owner can read


def read_codes(path: Path, codec: Encodec) -> CodedAudio:
    """Read what `write_codes` wrote; refuse what `codec` did not make, and what does not fit."""
    try:
        with safe_open(str(path), "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path} is no file of codes, or cut short ({error}): code it again"
        ) from None
    if metadata.get("format") != FORMAT or "codes" not in tensors:
        raise UserError(f"{path} holds no codes: give a file that `compress encode` wrote")
    if metadata.get("codec_identity") != codec.identity():
        raise UserError(
            f"{path} was coded by codec {metadata.get('codec_identity')}, but --codec is "
            f"{codec.identity()}: give the codec that made it"
        )
    coded = CodedAudio(tensors["codes"].long(), tensors.get("loudness"), _whole(metadata))
    codec.check_codes(coded.codes)
    _check_length(path, coded, codec)
    return coded


def _whole(metadata: dict[str, str]) -> int:
    told = metadata.get("n_samples", "")
    return int(told) if told.isdecimal() and len(told) < 16 else 0


def _check_length(path: Path, coded: CodedAudio, codec: Encodec) -> None:
    """As many frames, and loudnesses, as audio of that length has."""
    if coded.n_samples > coded.codes.shape[-1] * codec.hop_length:
        raise UserError(
            f"{path}: {coded.n_samples} samples take more than its {coded.codes.shape[-1]} frames: "
            "code it again"
        )
    length = codec.chunk_length or coded.n_samples
    starts = range(0, coded.n_samples, codec.chunk_stride or coded.n_samples or 1)
    frames = sum(ceil(min(length, coded.n_samples - s) / codec.hop_length) for s in starts)
    scales = None if coded.loudness is None else list(coded.loudness.shape)
    if coded.codes.shape[::2] != (1, frames) or scales not in (
        [1, len(starts)] if codec.normalize else None,
    ):
        raise UserError(
            f"{path}: {coded.n_samples} samples are {frames} frames, but its codes are "
            f"{list(coded.codes.shape)}: code it again"
        )
