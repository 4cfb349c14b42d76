"""The work on one shard: the codes of its segments, as a part."""

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data_prep.parts import npy_array, npy_bytes, part_path, read_report, writing_part
from musicgen_train.data.audio import decode_flac
from musicgen_train.data.shards import ShardReader
from musicgen_train.errors import UserError

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class ShardWork:
    """The function from a shard's number to its report, to be sent to workers with all it needs."""

    reader: ShardReader
    codec: Any
    identity: str  # of the codec
    folder: Path  # of the parts
    batch_size: int
    precision: str
    device: str

    def __call__(self, shard: int) -> dict[str, Any]:
        """Write the shard's part unless it exists; segments that cannot be read are reported."""
        path = part_path(self.folder, self.key(shard))
        known = read_report(path)
        if known is not None and not known[0]["failures"]:  # a shard may have been mended since
            return known[0]
        rows = np.flatnonzero(self.reader.index.shard == shard)
        codes, failures = self.encode(rows)
        with writing_part(path) as part:
            for row in sorted(codes):
                part.add({"codes.npy": npy_bytes(codes[row]), "row": str(row).encode()})
            report = {"failures": failures, "n_samples": len(codes)}
            part.finish(report)
        return report

    def key(self, shard: int) -> str:
        """32 hex characters that change with the shard, the codec and how it computes."""
        content = self.reader.index.info["shards"][shard]["sha256"]
        recipe = [content, self.identity, self.precision, self.batch_size, self.device]
        return hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:32]

    @torch.inference_mode()
    def encode(self, rows: np.ndarray) -> tuple[dict[int, np.ndarray], list[dict[str, str]]]:
        """Codes uint16 [K, T] by row, and what could not be read.

        Only segments of equal length share a batch; the next batch is read meanwhile.
        """
        codec = self.codec.to(self.device).eval()
        dtype = PRECISIONS[self.precision]
        codes: dict[int, np.ndarray] = {}
        failures: list[dict[str, str]] = []
        half = torch.autocast(self.device, dtype, enabled=dtype != torch.float32)
        for batch in self._batches(rows, failures):
            wav = torch.stack([wav for _, wav in batch]).to(self.device)
            with half:
                encoded = codec.encode(wav).cpu()
            assert encoded.min() >= 0 and encoded.max() < codec.card, (encoded.max(), codec.card)
            for (row, _), sample_codes in zip(batch, encoded, strict=True):
                codes[row] = sample_codes.numpy().astype(np.uint16)
        return codes, failures

    def _batches(
        self, rows: np.ndarray, failures: list[dict[str, str]]
    ) -> Iterator[list[tuple[int, Tensor]]]:
        by_length: dict[int, list[int]] = defaultdict(list)
        for row in rows:
            by_length[self._n_samples(int(row))].append(int(row))
        groups = [
            same[i : i + self.batch_size]
            for same in by_length.values()
            for i in range(0, len(same), self.batch_size)
        ]
        with ThreadPoolExecutor(1) as ahead:
            pending = None
            for group in [*groups, []]:
                following = ahead.submit(self._read_all, group)
                if pending is not None:
                    batch, bad = pending.result()
                    failures.extend(bad)
                    if batch:
                        yield batch
                pending = following

    def _read_all(
        self, rows: Sequence[int]
    ) -> tuple[list[tuple[int, Tensor]], list[dict[str, str]]]:
        batch, bad = [], []
        for row in rows:
            try:
                batch.append((row, self._read(row)))
            except Exception as error:
                reason = str(error).strip() or type(error).__name__
                reason = re.sub(r"^Error opening .*?>: ", "", reason)  # it names an address
                bad.append({"sample": self.reader.index.key(row), "reason": reason})
        return batch, bad

    def _read(self, row: int) -> Tensor:
        wav = decode_flac(self.reader.read(row, "flac"))
        if wav.shape[1] != self._n_samples(row):
            raise ValueError(f"is truncated ({wav.shape[1]} of {self._n_samples(row)} samples)")
        json.loads(self.reader.read(row, "json") or b"{}")  # what is copied must be whole, too
        if self.reader.has("chroma.npy") and (chroma := self.reader.read(row, "chroma.npy")):
            npy_array(chroma)
        return wav

    def _n_samples(self, row: int) -> int:
        index = self.reader.index
        return round(float(index.duration[row]) * index.info["sample_rate"])


def check_precision(precision: str) -> None:
    if precision not in PRECISIONS:
        raise UserError(f"unknown precision {precision!r}; use one of {', '.join(PRECISIONS)}")
