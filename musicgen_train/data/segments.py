"""Read one sample of a dataset, or a crop of it, as a tensor."""

import io
import json

import numpy as np
import torch
from torch import Tensor

from musicgen_train.data.audio import decode_flac
from musicgen_train.data.batches import AudioBatch, CodesBatch, Sample, collate
from musicgen_train.data.shards import ShardReader
from musicgen_train.errors import UserError


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
        self.chroma_rate = 0.0
        self.n_chroma = 0
        if with_chroma and shards.has("chroma.npy"):
            self.chroma_rate = info["sample_rate"] / info["chroma"]["hop"]
            self.n_chroma = 1 + int(round(segment_duration * self.chroma_rate, 6))

    def read(self, row: int, where: float) -> Sample:
        """The crop that begins at share `where` in [0, 1) of the possible starts."""
        key = self.shards.index.key(row)
        try:
            content, start = self._content(row, where)
            return Sample(content, self._chroma(row, start), self._metadata(row), key)
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"sample {key} in {self.shards.index.shard_path(row)} cannot be read ({error}); "
                "prepare the dataset again"
            ) from error

    def batch(self, samples: list[Sample]) -> CodesBatch | AudioBatch:
        kind = CodesBatch if self.kind == "codes" else AudioBatch
        return collate(samples, kind, self.length, self.n_chroma)

    def _content(self, row: int, where: float) -> tuple[Tensor, float]:
        """Codes [K, T] or wav [C, N] of the crop, and where it starts in seconds."""
        if self.kind == "codes":
            codes = _load_npy(self.shards.read(row, "codes.npy"))
            start = self._start(codes.shape[1], where)
            crop = codes[:, start : start + self.length].astype(np.int64)
            return torch.from_numpy(crop), start / self.rate
        total = round(self.shards.index.duration[row] * self.rate)
        start = self._start(total, where)
        data = self.shards.read(row, "flac")
        return decode_flac(data, start, min(self.length, total)), start / self.rate

    def _start(self, total: int, where: float) -> int:
        return int(where * (max(total - self.length, 0) + 1))

    def _chroma(self, row: int, start: float) -> Tensor | None:
        if not self.n_chroma:
            return None
        first = round(start * self.chroma_rate)
        chroma = _load_npy(self.shards.read(row, "chroma.npy"))[first : first + self.n_chroma]
        return torch.from_numpy(chroma.astype(np.float32))

    def _metadata(self, row: int) -> dict:
        return json.loads(self.shards.read(row, "json"))


def _load_npy(data: bytes) -> np.ndarray:
    return np.load(io.BytesIO(data), allow_pickle=False)
