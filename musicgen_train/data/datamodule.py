"""Lightning's view of a dataset: loaders, and the place in the data that a checkpoint keeps."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
from torch.utils.data import DataLoader

from musicgen_train.data.index import load_index
from musicgen_train.data.segments import SegmentReader
from musicgen_train.data.shards import ShardReader
from musicgen_train.data.streams import EvalStream, TrainStream
from musicgen_train.errors import UserError


class PlacedLoader(DataLoader):
    """A loader that asks where to begin at the moment it is iterated, and not when it is built."""

    def __init__(
        self, stream: Any, place: Callable[[], tuple[int, ...]], num_workers: int, pin_memory: bool
    ) -> None:
        super().__init__(
            stream,
            batch_size=None,
            collate_fn=_as_is,
            num_workers=num_workers,
            pin_memory=pin_memory,
        )
        self.stream = stream
        self.place = place

    def __iter__(self) -> Any:
        self.stream.place(*self.place())
        return super().__iter__()


class FiniteLoader(PlacedLoader):
    """A placed loader that knows how many batches it gives."""

    def __len__(self) -> int:
        self.stream.place(*self.place())
        return len(self.stream.batches())


class MusicDataModule(lightning.LightningDataModule):
    """Batches of codes (`kind="codes"`) or audio (`kind="audio"`) from one dataset folder.

    Training batches never end: count optimizer steps. Checkpoints keep (epoch, consumed, seed,
    fingerprint), where `consumed` counts samples trained on, over all ranks. The expected codec
    values are checked against the dataset's; None skips a check.
    """

    def __init__(
        self,
        path: str | Path,
        kind: str = "codes",
        batch_size: int = 8,
        segment_duration: float | None = None,  # seconds; None takes whole segments
        num_workers: int = 0,
        seed: int = 0,
        with_chroma: bool = True,
        pin_memory: bool = False,
        codec_identity: str | None = None,
        sample_rate: int | None = None,
        channels: int | None = None,
        frame_rate: float | None = None,
        n_q: int | None = None,
        card: int | None = None,
    ) -> None:
        super().__init__()
        if kind not in ("codes", "audio"):
            raise UserError(f"unknown kind of data {kind!r}; use 'codes' or 'audio'")
        if batch_size < 1:
            raise UserError(f"batch_size is {batch_size}; use at least 1")
        if segment_duration is not None and segment_duration <= 0:
            raise UserError(
                f"segment_duration is {segment_duration}; use seconds above 0, or null for whole "
                "segments"
            )
        self.index = load_index(path)
        self.kind = kind
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.pin_memory = pin_memory
        expected = {
            "codec_identity": codec_identity,
            "sample_rate": sample_rate,
            "channels": channels,
            "frame_rate": frame_rate,
            "n_q": n_q,
            "card": card,
        }
        _check(self.index.info, path, kind, expected, segment_duration)
        duration = segment_duration or self.index.info["segment_duration"]
        self.duration: float = duration
        self.segments = SegmentReader(ShardReader(self.index), kind, duration, with_chroma)
        self._start = 0  # stream position where this run began
        self._start_batches = 0  # batches that the trainer had processed by then

    def setup(self, stage: str) -> None:
        """A new trainer begins at the beginning, until a checkpoint says otherwise."""
        if stage == "fit" and self._processed() == 0:
            self._start = self._start_batches = 0

    def train_dataloader(self) -> PlacedLoader:
        stream = TrainStream(self.segments, self.rows("train"), self.batch_size, self.seed)
        return PlacedLoader(
            stream,
            lambda: (self.position(), *self._ranks()),
            num_workers=self.num_workers,
            pin_memory=self.pin_memory,
        )

    def val_dataloader(self) -> FiniteLoader | list:
        return self._finite("valid")

    def test_dataloader(self) -> FiniteLoader | list:
        return self._finite("test")

    def rows(self, split: str):
        rows = self.index.rows(split)
        if split == "train" and len(rows) == 0:
            raise UserError(f"{self.index.folder}: has no training samples; prepare more music")
        return rows

    def position(self) -> int:
        """Samples trained on so far, over all ranks and epochs; prefetched ones do not count."""
        batches = max(0, self._processed() - self._start_batches)
        return self._start + batches * self.batch_size * self._ranks()[1]

    def state_dict(self) -> dict[str, Any]:
        epoch, consumed = divmod(self.position(), len(self.rows("train")))
        return {
            "epoch": epoch,
            "consumed": consumed,
            "seed": self.seed,
            "fingerprint": self.index.fingerprint,
            "batches": self._processed(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if state_dict["fingerprint"] != self.index.fingerprint:
            raise UserError(
                f"{self.index.folder}: dataset {self.index.fingerprint} is not the checkpoint's "
                f"{state_dict['fingerprint']}; resume on that one, or use init_from to start anew"
            )
        self.seed = state_dict["seed"]
        n = len(self.rows("train"))
        self._start = state_dict["epoch"] * n + state_dict["consumed"]
        self._start_batches = state_dict["batches"]
        self._forget_early_loader()

    def _forget_early_loader(self) -> None:
        """Drop a loader that was iterated before this state arrived, together with its prefetch.

        Reading `trainer.estimated_stepping_batches` builds the loader and takes its first batch,
        in `setup` or under a sharded strategy even before the checkpoint is restored.
        """
        if self.trainer is not None:
            self.trainer.fit_loop._combined_loader = None

    def _finite(self, split: str) -> FiniteLoader | list:
        rows = self.rows(split)
        if len(rows) == 0:
            return []
        # Each worker takes its own batches, so the number of them is right.
        warnings.filterwarnings("ignore", "Your `IterableDataset` has `__len__` defined")
        stream = EvalStream(self.segments, rows, self.batch_size)
        return FiniteLoader(
            stream, self._ranks, num_workers=self.num_workers, pin_memory=self.pin_memory
        )

    def _ranks(self) -> tuple[int, int]:
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size

    def _processed(self) -> int:
        if self.trainer is None:
            return 0
        progress: Any = self.trainer.fit_loop.epoch_loop.batch_progress.total
        return progress.processed


def _as_is(batch: Any) -> Any:
    return batch


def _check(
    info: dict[str, Any],
    path: str | Path,
    kind: str,
    expected: dict[str, Any],
    segment_duration: float | None,
) -> None:
    """Refuse a dataset that lacks what is asked for or was made for another codec."""
    if kind == "codes" and info["codec_identity"] is None:
        raise UserError(f"{path}: holds no codes; run data_prep.tokenize on it first")
    if kind == "audio" and "flac" not in info["members"]:
        raise UserError(f"{path}: holds no audio; use the dataset that it was tokenised from")
    for name, value in expected.items():
        if value is None or (kind == "audio" and name not in ("sample_rate", "channels")):
            continue
        if info[name] != value:
            raise UserError(
                f"{path}: {name} is {info[name]}, but the codec's is {value}; "
                "prepare and tokenise the music with this codec"
            )
    if segment_duration is not None and segment_duration > info["segment_duration"]:
        raise UserError(
            f"{path}: segments last {info['segment_duration']} s, but segment_duration is "
            f"{segment_duration}; prepare the music with longer segments"
        )
