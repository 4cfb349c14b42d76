"""Lightning's view of the data: loaders, and the place in the data that a checkpoint keeps."""

import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import torch

from musicgen_train.data.datasets import (
    check_cache,
    check_dataset,
    check_numbers,
    joint_fingerprint,
    open_datasets,
    shuffled_shards,
)
from musicgen_train.data.left_out import LeftOut
from musicgen_train.data.loader import FiniteLoader, PlacedLoader
from musicgen_train.data.mixture import SampleOrder
from musicgen_train.data.order import block_order, epoch_order
from musicgen_train.data.page_cache import PageCache
from musicgen_train.data.segments import SegmentReader
from musicgen_train.data.shards import ShardReader
from musicgen_train.data.streams import EvalStream, Source, TrainStream
from musicgen_train.errors import UserError


class MusicDataModule(lightning.LightningDataModule):
    """Batches of codes (`kind="codes"`) or audio (`kind="audio"`) from datasets.

    `path` is a folder, a URL, or a mapping of several to the weights that they are mixed by.
    Training batches never end: count optimizer steps. Checkpoints keep (epoch, consumed, seed,
    fingerprint), where `consumed` counts samples trained on, over all ranks and datasets. The
    expected codec values are checked against the datasets'; None skips a check.
    """

    def __init__(
        self,
        path: str | Path | Mapping[str, float],
        kind: str = "codes",
        batch_size: int = 8,
        segment_duration: float | None = None,  # seconds; None takes whole segments
        num_workers: int = 0,
        seed: int = 0,
        with_chroma: bool = True,
        pin_memory: bool = False,
        max_bad: float = 0.01,  # share of samples that may be unreadable
        shuffle_shards: int | None = None,  # shuffled at once; None: all if local, else 16; 0: all
        cache_dir: str | None = None,  # of remote data; None takes the user's
        cache_gb: float = 20.0,
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
        check_numbers(batch_size, num_workers, segment_duration, max_bad, cache_gb)
        self.indexes, self.weights = open_datasets(path)
        self.index = self.indexes[0]  # which speaks for all: they are alike
        self.fingerprint = joint_fingerprint(self.indexes, self.weights)
        self.kind = kind
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.pin_memory = pin_memory
        self.max_bad = max_bad
        self.shuffle_shards = shuffled_shards(self.indexes, shuffle_shards)
        expected = {
            "codec_identity": codec_identity,
            "sample_rate": sample_rate,
            "channels": channels,
            "frame_rate": frame_rate,
            "n_q": n_q,
            "card": card,
        }
        for index in self.indexes:
            check_dataset(index.info, index.folder, kind, expected, segment_duration)
        self.duration: float = segment_duration or max(
            index.info["segment_duration"] for index in self.indexes
        )
        cache = PageCache(Path(cache_dir) if cache_dir else None, cache_gb)
        self._cache_limit = cache.limit
        check_cache(self.indexes, self.shuffle_shards, cache.limit)
        self.segments = [
            SegmentReader(ShardReader(index, cache), kind, self.duration, with_chroma)
            for index in self.indexes
        ]
        self._begin_at(position=0, batches=0, bad=0)

    def _begin_at(self, position: int, batches: int, bad: int) -> None:
        self._start = position  # in the stream, where this run began
        self._start_batches = batches  # that the trainer had processed by then
        self._left_out = LeftOut(self.max_bad, position, bad)

    def setup(self, stage: str) -> None:
        """A new trainer begins at the beginning, until a checkpoint says otherwise."""
        if stage == "fit" and self._processed() == 0:
            self._begin_at(position=0, batches=0, bad=0)

    def train_dataloader(self) -> PlacedLoader:
        sources = self.sources("train")
        shuffles = [
            partial(block_order, index.shard[rows], block)
            if block
            else partial(epoch_order, len(rows))
            for index, (_, rows), block in zip(
                self.indexes, sources, self.shuffle_shards, strict=True
            )
        ]
        sizes = [len(source.rows) for source in sources]
        order = SampleOrder(sizes, self.weights, self.seed, shuffles)
        return PlacedLoader(
            TrainStream(sources, order, self.batch_size),
            lambda: (self.position(), *self._ranks()),
            lambda: self._left_out.begin(self._processed()),
            num_workers=self.num_workers,
            pin_memory=self.pin_memory,
        )

    def val_dataloader(self) -> FiniteLoader | list:
        return self._finite("valid")

    def test_dataloader(self) -> FiniteLoader | list:
        return self._finite("test")

    def sources(self, split: str) -> list[Source]:
        """The samples of a split, by dataset; each has some to train on."""
        sources = [
            Source(segments, index.rows(split))
            for index, segments in zip(self.indexes, self.segments, strict=True)
        ]
        for source, index in zip(sources, self.indexes, strict=True):
            if split == "train" and len(source.rows) == 0:
                raise UserError(f"{index.folder}: has no training samples; prepare more music")
        return sources

    def remarks(self, step_samples: int) -> list[str]:
        """What to know of the data before training with `step_samples`, over all ranks, a step."""
        names = ", ".join(str(index.folder) for index in self.indexes)
        n_train, lines = self._n_train(), []
        if step_samples > n_train:
            lines.append(
                f"{names}: a step takes {step_samples} samples, but there are {n_train} to train "
                "on: it sees some more than once; lower data.batch_size or prepare more music"
            )
        if not any(len(source.rows) for source in self.sources("valid")):
            lines.append(
                f"{names}: has no samples to validate on: no loss on unseen music is shown and no "
                "checkpoint kept as the best; prepare more music"
            )
        return lines

    def position(self) -> int:
        """Samples trained on so far, over all ranks and epochs; prefetched ones do not count."""
        batches = max(0, self._processed() - self._start_batches)
        return self._start + batches * self.batch_size * self._ranks()[1]

    def bad(self) -> int:
        """Samples left out so far of the batches trained on, over all ranks."""
        own = torch.tensor(self._left_out.own(self._processed()))
        if self._ranks()[1] > 1:
            assert self.trainer is not None
            own = self.trainer.strategy.reduce(
                own.to(self.trainer.strategy.root_device), reduce_op="sum"
            )
        return self._left_out.before + int(own)

    def state_dict(self) -> dict[str, Any]:
        epoch, consumed = divmod(self.position(), self._n_train())
        return {
            "epoch": epoch,
            "consumed": consumed,
            "seed": self.seed,
            "fingerprint": self.fingerprint,
            "shuffle_shards": self.shuffle_shards,
            "batches": self._processed(),
            "bad": self.bad(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if state_dict["fingerprint"] != self.fingerprint:
            what = f"{self.index.folder}: dataset"
            if len(self.indexes) > 1:
                names = ", ".join(str(index.folder) for index in self.indexes)
                what = f"data.path ({names}): the mixture (datasets, shares, order)"
            raise UserError(
                f"{what} {self.fingerprint} is not the checkpoint's {state_dict['fingerprint']}; "
                "resume on that one, or use init_from to start anew"
            )
        self.seed = state_dict["seed"]
        # Older checkpoints are of one local dataset, and counted no bad samples.
        self.shuffle_shards = state_dict.get("shuffle_shards", [0])
        check_cache(self.indexes, self.shuffle_shards, self._cache_limit)
        self._begin_at(
            position=state_dict["epoch"] * self._n_train() + state_dict["consumed"],
            batches=state_dict["batches"],
            bad=state_dict.get("bad", 0),
        )
        self._forget_early_loader()

    def _n_train(self) -> int:
        return sum(len(source.rows) for source in self.sources("train"))

    def _forget_early_loader(self) -> None:
        """Drop a loader that was iterated before this state arrived, together with its prefetch.

        Reading `trainer.estimated_stepping_batches` builds the loader and takes its first batch,
        in `setup` or under a sharded strategy even before the checkpoint is restored.
        """
        if self.trainer is not None:
            self.trainer.fit_loop._combined_loader = None

    def _finite(self, split: str) -> FiniteLoader | list:
        sources = self.sources(split)
        if not any(len(source.rows) for source in sources):
            return []
        # Each worker takes its own batches, so the number of them is right.
        warnings.filterwarnings("ignore", "Your `IterableDataset` has `__len__` defined")
        return FiniteLoader(
            EvalStream(sources, self.batch_size),
            self._ranks,
            lambda: LeftOut(self.max_bad),
            num_workers=self.num_workers,
            pin_memory=self.pin_memory,
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
