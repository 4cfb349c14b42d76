"""One audio file, of whatever kind and length, decoded block by block."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from musicgen_train.data.decoders import Truncated, open_decoder
from musicgen_train.data.truncation import truncation
from musicgen_train.errors import UserError

Result = TypeVar("Result")
_RATES = range(1000, 768_001)  # Hz; what lies outside is a damaged header


class AudioError(UserError):
    """An audio file that cannot be used; `reason` says why without naming it."""

    def __init__(self, path: str | Path, reason: str, remedy: str = "replace or remove it") -> None:
        super().__init__(path, reason, remedy)
        self.path = Path(path)
        self.reason = reason
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}; {self.remedy}"


class AudioFile:
    """The rate of a file, its channels, and its samples in constant memory.

    A file that is damaged, cut short, or holds samples that are no numbers raises AudioError, when
    it is opened or when that place is reached.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.exists():
            raise AudioError(path, "no such audio file", "check the path")
        if not self.path.is_file():  # a pipe would wait for ever
            raise AudioError(path, "is not a file")
        cut = self._tried(lambda: truncation(self.path))
        if cut is not None:
            raise AudioError(path, f"is truncated ({cut})")
        with closing(self._tried(lambda: open_decoder(self.path))) as decoder:
            self.sample_rate = decoder.sample_rate
            self.channels = decoder.channels
            self.n_samples = decoder.n_samples  # by its header; None where it does not say
        if self.sample_rate not in _RATES:
            raise AudioError(path, f"cannot be decoded (its rate is {self.sample_rate} Hz)")

    def blocks(self, size: int = 1 << 18, first: int = 0, finite: bool = True) -> Iterator[Tensor]:
        """Yield [C, n] float32 of about `size` samples each, from sample `first` to the end.

        finite: refuse samples that are NaN or infinite.
        """
        # A decoder of its own, since one that goes back to the start may decode other samples.
        with closing(self._tried(lambda: open_decoder(self.path))) as decoder:
            blocks = decoder.blocks(size, first)
            while (block := self._tried(lambda: next(blocks, None))) is not None:
                if finite and not np.isfinite(block).all():
                    raise AudioError(self.path, "holds NaN or infinite samples")
                yield torch.from_numpy(np.ascontiguousarray(block.T, dtype=np.float32))

    def _tried(self, work: Callable[[], Result]) -> Result:
        """Do the work, and say what failed in one line."""
        try:
            return work()
        except PermissionError as error:
            raise AudioError(
                self.path, f"cannot be opened ({error.strerror})", "change its permissions"
            ) from None
        except Truncated as error:
            raise AudioError(self.path, f"is truncated ({error})") from None
        except Exception as error:
            said = getattr(error, "strerror", None) or str(error).strip() or type(error).__name__
            reason = said.splitlines()[0].removeprefix("Error : ").rstrip(".")
            raise AudioError(self.path, f"cannot be decoded ({reason})") from None
