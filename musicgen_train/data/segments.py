"""Read one sample of a dataset, or a crop of it, as a tensor."""

import io
import json
import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from musicgen_train.data.audio import decode_flac
from musicgen_train.data.batches import AudioBatch, CodesBatch, Sample, collate
from musicgen_train.data.shards import ShardReader
from musicgen_train.errors import UserError


class BadSample(UserError):
    """A sample whose own bytes are damaged, while its shard can be read."""

    def __init__(self, key: str, where: str, reason: str) -> None:
        self.key, self.where, self.reason = key, where, reason
        super().__init__(
            f"sample {key} in {where} cannot be read ({reason}); prepare the dataset again"
        )


class SegmentReader:
    """Crops of `segment_duration` seconds, as codes or as audio, from a dataset's samples."""

    def __init__(
        self, shards: ShardReader, kind: str, segment_duration: float, with_chroma: bool = True
    ) -> None:
        assert kind in ("codes", "audio"), kind
        self.shards = shards
        self.kind = kind
        info = shards.index.info
        rate = info["frame_rate"] if kind == "codes" else info["sample_rate"]
        self.rate: float = rate  # steps of the content per second
        self.length = int(np.ceil(round(segment_duration * rate, 6)))
        self.card: int = info["card"] if kind == "codes" else 0
        self.height: int = info["n_q"] if kind == "codes" else info["channels"]
        self.members = ["codes.npy" if kind == "codes" else "flac", "json"]
        self.n_chroma = 0
        if with_chroma and shards.has("chroma.npy"):
            self.chroma_rate: float = info["sample_rate"] / info["chroma"]["hop"]
            self.n_chroma = 1 + int(round(segment_duration * self.chroma_rate, 6))
            self.members.append("chroma.npy")

    def read(self, row: int, where: float) -> Sample:
        """The crop that begins at share `where` in [0, 1) of the possible starts."""
        index = self.shards.index
        content, metadata, *chroma = self.shards.read_members(row, self.members)
        try:
            wanted = self._codes if self.kind == "codes" else self._wav
            crop, start = wanted(content, float(index.duration[row]), where)
            if len(crop) != self.height:
                raise ValueError(f"it has {len(crop)} rows, not {self.height}")
            features = self._chroma(chroma[0], start) if chroma else None
            return Sample(crop, features, _metadata(metadata), index.key(row))
        except (ValueError, IndexError, OverflowError, RuntimeError) as error:
            shard = f"{index.folder}/{index.shard_name(row)}"
            reason = " ".join((str(error) or type(error).__name__).split())
            raise BadSample(index.key(row), shard, reason) from error

    def batch(self, samples: Iterable[Sample], n_samples: int) -> CodesBatch | AudioBatch | None:
        """A batch of at most `n_samples` samples; None of none."""
        kind = CodesBatch if self.kind == "codes" else AudioBatch
        return collate(samples, n_samples, kind, self.length, self.n_chroma)

    def _codes(self, data: bytes, duration: float, where: float) -> tuple[Tensor, float]:
        """Codes [K, T] of the crop, and where it starts in seconds."""
        codes = read_npy(data)
        if codes.ndim != 2 or codes.dtype.kind not in "iu":
            raise ValueError(f"codes are {codes.dtype} of shape {codes.shape}")
        start = self._start(codes.shape[1], where)
        crop = torch.from_numpy(codes[:, start : start + self.length].astype(np.int64))
        if crop.numel() == 0 or crop.min() < 0 or crop.max() >= self.card:
            raise ValueError(f"codes are not within 0 to {self.card - 1}")
        return crop, start / self.rate

    def _wav(self, data: bytes, duration: float, where: float) -> tuple[Tensor, float]:
        """Wav [C, N] of the crop, and where it starts in seconds."""
        total = round(duration * self.rate)
        start = self._start(total, where)
        wanted = min(self.length, total)
        wav = decode_flac(data, start, wanted)
        if wav.shape[1] != wanted:
            raise ValueError(f"{wav.shape[1]} of {wanted} samples are there")
        return wav, start / self.rate

    def _start(self, total: int, where: float) -> int:
        return int(where * (max(total - self.length, 0) + 1))

    def _chroma(self, data: bytes, start: float) -> Tensor:
        """Chroma [F, 12] of the crop; no frames, which a batch fills up with zeros, if absent."""
        if not data:
            return torch.zeros(0, 12)
        chroma = read_npy(data)
        if chroma.ndim != 2 or chroma.shape[1] != 12:
            raise ValueError(f"chroma has shape {chroma.shape}")
        first = round(start * self.chroma_rate)
        crop = torch.from_numpy(chroma[first : first + self.n_chroma].astype(np.float32))
        if not crop.isfinite().all():
            raise ValueError("chroma is not finite")
        return crop


def read_npy(data: bytes) -> np.ndarray:
    """An array in npy format, read-only; samples of one kind have the same header, parsed once.

    Takes no memory for what a damaged header claims. Raises ValueError or OverflowError.
    """
    wide = 4 if data[6:7] == b"\x02" else 2  # bytes of the header's length
    begin = 8 + wide + int.from_bytes(data[8 : 8 + wide], "little")
    shape, fortran, dtype = _npy_header(data[:begin])
    array = np.frombuffer(data, dtype, count=math.prod(shape), offset=begin)
    return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)


@lru_cache(4096)
def _npy_header(header: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    file = io.BytesIO(header)
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"arrays of npy version {version} hold no numbers")
    parse = np.lib.format.read_array_header_1_0
    if version == (2, 0):
        parse = np.lib.format.read_array_header_2_0
    try:
        shape, fortran, dtype = parse(file)
    except Exception as error:  # of many kinds: Python's own parser reads it
        raise ValueError(f"the header of an array is damaged ({error})") from None
    if dtype.kind not in "biuf":
        raise ValueError(f"the array holds no numbers but {dtype}")
    if min(shape, default=0) < 0:
        raise ValueError(f"an array has shape {shape}")
    return shape, fortran, dtype


def _metadata(data: bytes) -> dict[str, Any]:
    """A sample's json; every field may be absent, and so may all of it."""
    metadata = json.loads(data) if data else {}
    if not isinstance(metadata, dict):
        raise ValueError("its json is no mapping")
    description = metadata.get("description")
    if description is not None:
        if not isinstance(description, str):
            raise ValueError(f"its description is no text but {description!r:.40}")
        description.encode()  # half a surrogate pair is no text either
    return metadata
