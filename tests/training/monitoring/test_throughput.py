"""Speed, waiting and memory: exact counts, whatever else the run does meanwhile."""

import time

import lightning as L
import pytest

from musicgen_train.training.monitoring.step_clock import clock_of
from musicgen_train.training.monitoring.throughput import Throughput
from tests.training.small_runs import parts_of, trainer_of


class Seen(L.Callback):
    """Keeps what was logged and the frames of each batch; dawdles as it is told."""

    def __init__(self, step=0.0, validation=0.0, batch_end=0.0):
        self.sleeps = {"step": step, "validation": validation, "batch_end": batch_end}
        self.frames, self.logged = [], []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        time.sleep(self.sleeps["step"])

    def on_validation_epoch_start(self, trainer, pl_module):
        time.sleep(self.sleeps["validation"])

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.frames.append(int(batch.lengths.sum()))
        self.logged.append({k: float(v) for k, v in trainer.callback_metrics.items()})
        if self.sleeps["batch_end"]:
            clock_of(trainer).pause("samples", trainer.strategy.root_device, 1)
            time.sleep(self.sleeps["batch_end"])
            clock_of(trainer).resume("samples")


def run(datasets, seen, *overrides, experiment="lm_demo", **options):
    _, task, datamodule = parts_of(experiment, datasets, *overrides)
    trainer = trainer_of(Throughput(), seen, **options)
    trainer.fit(task, datamodule)
    return trainer


def test_codes_frames_and_seconds_of_music_are_counted_without_padding(datasets):
    seen = Seen(step=0.05)
    trainer = run(datasets, seen, max_steps=4)
    last = seen.logged[-1]
    per_step = last["speed/frames_per_second"] / last["speed/steps_per_second"]
    assert per_step == pytest.approx(seen.frames[-1])
    ratio = last["speed/tokens_per_second"] / last["speed/frames_per_second"]
    assert ratio == pytest.approx(4)
    rate = trainer.datamodule.index.info["frame_rate"]
    heard = last["speed/frames_per_second"] / last["speed/audio_seconds_per_second"]
    assert heard == pytest.approx(rate)
    assert 1e-3 < last["memory/process_gb"] <= last["memory/process_peak_gb"] < 100
    assert "speed/mfu" not in last


def test_a_codecs_audio_is_counted_in_seconds(datasets):
    seen = Seen()
    run(datasets, seen, experiment="codec_tiny", max_steps=2)
    last = seen.logged[-1]
    heard = last["speed/audio_seconds_per_second"] / last["speed/steps_per_second"]
    assert heard == pytest.approx(seen.frames[-1] / 2000, rel=1e-3)
    ratio = last["speed/frames_per_second"] / last["speed/audio_seconds_per_second"]
    assert ratio == pytest.approx(100)
    assert "speed/tokens_per_second" not in last


def test_steps_are_optimizer_steps_and_validation_and_samples_take_no_time(datasets):
    seen = Seen(step=0.03, validation=1.0, batch_end=0.5)
    options = {"accumulate_grad_batches": 2, "limit_val_batches": 1, "max_steps": 4}
    run(datasets, seen, **options)
    assert len(seen.frames) == 8
    for logged in seen.logged[3::2]:
        # Two batches of 30 ms sleep and some work; with both pauses in it, less than 1.
        assert 1 < logged["speed/steps_per_second"] < 1 / 0.06
    both = seen.frames[-1] + seen.frames[-2]
    last = seen.logged[-1]
    per_step = last["speed/frames_per_second"] / last["speed/steps_per_second"]
    assert per_step == pytest.approx(both)


def test_waiting_for_data_is_the_share_of_it(datasets, monkeypatch):
    from musicgen_train.data.segments import SegmentReader

    read = SegmentReader.read

    def slowly(self, *arguments):
        time.sleep(0.03)
        return read(self, *arguments)

    quick, slow = Seen(step=0.05), Seen(step=0.05)
    run(datasets, quick, max_steps=4)
    monkeypatch.setattr(SegmentReader, "read", slowly)
    run(datasets, slow, max_steps=4)
    quick_share, slow_share = (seen.logged[-1]["speed/loader_wait"] for seen in (quick, slow))
    assert 0 < quick_share < 0.3 < slow_share < 0.8  # 3 reads of 30 ms beside 50 ms and the work


def test_the_profiler_of_the_run_hears_all_and_gets_its_place_back(datasets):
    from lightning.pytorch.profilers import SimpleProfiler

    profiler = SimpleProfiler(extended=False)
    trainer = run(datasets, Seen(), max_steps=2, profiler=profiler)
    assert trainer.profiler is profiler
    actions = profiler.recorded_durations
    assert len(actions["[_TrainingEpochLoop].train_dataloader_next"]) >= 2
    assert len(actions["run_training_batch"]) == 2
