"""What decoding a few random segments tells: damage, clipping, codes that do not fit."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from musicgen_train.data.audio import decode_flac
from musicgen_train.data.index import DatasetIndex
from musicgen_train.data.segments import read_npy
from musicgen_train.data.shards import ShardReader

_FULL_SCALE = 0.999
_CLIPPED_RUN = 3  # samples in a row at full scale: a peak that was brought there touches it once


@dataclass
class Checks:
    """Counts over the segments that were decoded, and what was wrong with the first few."""

    n_audio: int = 0
    n_clipped: int = 0
    n_codes: int = 0
    n_bad: int = 0
    problems: list[str] = field(default_factory=list)  # "key: what is wrong"

    def note(self, key: str, problem: str) -> None:
        self.n_bad += 1
        if len(self.problems) < 5:
            self.problems.append(f"{key}: {problem}")


def check_samples(index: DatasetIndex, reader: ShardReader, rows: Sequence[int]) -> Checks:
    """Decode the audio and the codes of the segments in `rows`."""
    checks = Checks()
    for row in rows:
        if reader.has("flac") and index.size[row, index.members.index("flac")]:
            _check_audio(checks, index, reader, row)
        if reader.has("codes.npy"):
            _check_codes(checks, index, reader, row)
    return checks


def _check_audio(checks: Checks, index: DatasetIndex, reader: ShardReader, row: int) -> None:
    checks.n_audio += 1
    data = reader.read(row, "flac")
    try:
        wav = decode_flac(data)
    except Exception as error:  # libsndfile's errors are its own
        reason = getattr(error, "error_string", type(error).__name__).rstrip(".")
        return checks.note(index.key(row), f"its audio cannot be decoded ({reason})")
    checks.n_clipped += is_clipped(wav)
    duration, rate = float(index.duration[row]), index.info.get("sample_rate")
    if rate and abs(wav.shape[-1] / rate - duration) > 0.01:
        seconds = wav.shape[-1] / rate
        checks.note(index.key(row), f"holds {seconds:.2f} s, not the {duration:.2f} s it should")


def is_clipped(wav: Tensor) -> bool:
    """Whether samples [C, N] in a row stand at full scale, of one sign."""
    if wav.shape[-1] < _CLIPPED_RUN:
        return False
    runs = wav.unfold(-1, _CLIPPED_RUN, 1)
    return bool(torch.any(runs.amin(-1) >= _FULL_SCALE) or torch.any(runs.amax(-1) <= -_FULL_SCALE))


def _check_codes(checks: Checks, index: DatasetIndex, reader: ShardReader, row: int) -> None:
    checks.n_codes += 1
    data = reader.read(row, "codes.npy")
    try:
        problem = codes_problem(read_npy(data), index.info, float(index.duration[row]))
    except Exception as error:
        problem = f"its codes cannot be read ({error})"
    if problem:
        checks.note(index.key(row), problem)


def codes_problem(codes: np.ndarray, info: dict[str, Any], duration: float) -> str | None:
    """What does not fit in codes that should be [K, T] in [0, card), or None."""
    if codes.ndim != 2 or codes.shape[0] != info["n_q"]:
        return f"has codes of shape {list(codes.shape)}, not [{info['n_q']}, T]"
    if codes.dtype.kind not in "iu":
        return f"has codes of type {codes.dtype}, not whole numbers"
    if codes.size == 0:
        return "holds no codes"
    if codes.min() < 0 or int(codes.max()) >= info["card"]:
        code = codes.min() if codes.min() < 0 else codes.max()
        return f"holds the code {code}, not in 0 to {info['card'] - 1}"
    if abs(codes.shape[1] / info["frame_rate"] - duration) > 0.5:
        return f"holds {codes.shape[1]} frames for {duration:.2f} s"
    return None
