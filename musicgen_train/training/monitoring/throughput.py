"""Speed, waiting and memory of a run, logged beside its losses."""

from typing import Any

import lightning as L
import torch
from torch import Tensor

from musicgen_train.data.batches import AudioBatch, CodesBatch
from musicgen_train.training.estimating.device_memory import GB, peak_memory, used_memory
from musicgen_train.training.monitoring.model_flops import peak_flops, step_flops
from musicgen_train.training.monitoring.step_clock import clock_of


class Throughput(L.Callback):
    """At every step that is logged, the means since the last one, over all ranks.

    speed/: steps_per_second (optimizer steps), frames_per_second (codec frames, without padding),
    audio_seconds_per_second; of language models tokens_per_second (codes: frames times codebooks)
    and, on GPUs whose peak is known, mfu (of the products, padding included); loader_wait is the
    share of the time in which the slowest rank only waited for a batch. Time in validation, samples
    and checkpoints does not count. memory/, in GB of the fullest rank: on GPUs allocated_peak_gb
    and reserved_gb, else process_gb and process_peak_gb.

    (Lightning's ThroughputMonitor assumes that all batches and ranks are alike, counts the time of
    samples and checkpoints, waits for the GPU at each batch, and says nothing until its window is
    full.)
    """

    def __init__(self) -> None:
        self._frames: Tensor | int = 0  # of this rank since the last log, possibly on the GPU
        self._flops = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._begin(trainer)
        self._last_step = trainer.global_step
        self._peak = peak_flops(trainer.strategy.root_device, str(trainer.precision))

    def _begin(self, trainer: L.Trainer) -> None:
        clock = clock_of(trainer)
        self._frames, self._flops = 0, 0
        self._since, self._waited = clock.seconds, clock.waited
        self._first_step = trainer.global_step

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: CodesBatch | AudioBatch,
        batch_idx: int,
    ) -> None:
        self._frames = self._frames + batch.lengths.sum()
        if isinstance(batch, CodesBatch):
            self._flops += _batch_flops(pl_module, batch)
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]
        stepped = trainer.global_step != self._last_step
        self._last_step = trainer.global_step
        if stepped and every and trainer.global_step % every == 0:
            self._log(trainer, pl_module, batch)
            self._begin(trainer)

    def _log(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: CodesBatch | AudioBatch
    ) -> None:
        device = trainer.strategy.root_device
        frames = int(self._frames)  # waits for the GPU, so that the time is right
        clock = clock_of(trainer)
        seconds = max(clock.seconds - self._since, 1e-9)
        work = self._over_ranks([float(frames), float(self._flops)], "sum", trainer)
        memory = _memory(device)
        waited = (clock.waited - self._waited) / seconds
        wait, *used = self._over_ranks([waited, *memory.values()], "max", trainer)
        steps = trainer.global_step - self._first_step
        values = {"speed/steps_per_second": steps / seconds, "speed/loader_wait": wait}
        info = trainer.datamodule.index.info  # type: ignore[attr-defined]
        if isinstance(batch, CodesBatch):
            audio = work[0] / info["frame_rate"]
            values["speed/frames_per_second"] = work[0] / seconds
            values["speed/tokens_per_second"] = work[0] * batch.codes.shape[1] / seconds
            if self._peak is not None:
                values["speed/mfu"] = work[1] / trainer.world_size / seconds / self._peak
        else:
            codec: Any = pl_module.codec
            audio = work[0] / codec.sample_rate
            values["speed/frames_per_second"] = audio * codec.frame_rate / seconds
        values["speed/audio_seconds_per_second"] = audio / seconds
        pl_module.log_dict({**values, **dict(zip(memory, used, strict=True))})

    def _over_ranks(self, values: list[float], how: str, trainer: L.Trainer) -> list[float]:
        own = torch.tensor(values, device=trainer.strategy.root_device)
        return trainer.strategy.reduce(own, reduce_op=how).tolist()  # type: ignore[union-attr]


def _memory(device: torch.device) -> dict[str, float]:
    if device.type == "cuda":
        reserved = torch.cuda.memory_reserved(device) / GB
        return {
            "memory/allocated_peak_gb": peak_memory(device) / GB,
            "memory/reserved_gb": reserved,
        }
    return {
        "memory/process_gb": used_memory(device) / GB,
        "memory/process_peak_gb": peak_memory(device) / GB,
    }


def _batch_flops(module: Any, batch: CodesBatch) -> int:
    """FLOPs of a batch; a text counts as its words, which are nearly its tokens."""
    B, _, T = batch.codes.shape
    words = 0 if module.text_encoder is None else max(len(t.split()) for t in batch.descriptions)
    chroma = 0 if batch.chroma is None else batch.chroma.shape[1]
    return step_flops(module.lm.config, B, T, max(1, words), chroma)
