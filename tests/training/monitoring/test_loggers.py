"""Loggers: values arrive at optimizer steps, samples too, and a resumed run goes on."""

import csv
import json
import struct
import time
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from lightning.pytorch.callbacks import ModelCheckpoint

import train
from musicgen_train.errors import UserError
from musicgen_train.training.monitoring.prompt_samples import PromptSamples
from musicgen_train.training.monitoring.throughput import Throughput
from musicgen_train.training.monitoring.wandb_run import run_id
from tests.small_training import ROOT, config
from tests.training.small_runs import parts_of, trainer_of


def loggers(*names):
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("train", [f"logger=[{','.join(names)}]", "name=a/run"])
    return [train.build(node) for node in cfg.logger.values()]


def run(datasets, folder, logger, steps=3, accumulate=2, resume=None):
    _, task, datamodule = parts_of("lm_demo", datasets)
    samples = PromptSamples(folder / "samples", 2, prompts=["quiet"], duration=0.2)
    keep = ModelCheckpoint(folder, filename="{step}", every_n_train_steps=1, save_top_k=-1)
    options = {"logger": logger, "max_steps": steps, "accumulate_grad_batches": accumulate}
    trainer = trainer_of(Throughput(), samples, keep, **options)
    trainer.fit(task, datamodule, ckpt_path=resume, weights_only=True)
    return trainer


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def events(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    sizes = {"scalars": 0, "images": 0, "audio": 0}
    return EventAccumulator(str(folder), size_guidance=sizes).Reload()


def test_tensorboard_and_csv_at_once_hold_values_sounds_and_pictures(datasets, tmp_path):
    both = loggers("csv", "tensorboard")
    trainer = run(datasets, tmp_path, both)
    read = events(tmp_path / "runs" / "a/run" / "tensorboard")
    ce = read.Scalars("train/ce")
    assert [event.step for event in ce] == [0, 1, 2]  # optimizer steps, not batches
    assert ce[-1].value == pytest.approx(float(trainer.callback_metrics["train/ce"]))
    assert all(f"train/ce_q{k}" in read.Tags()["scalars"] for k in range(4))
    (sound,) = read.Audio("samples/audio/prompt_0")[:1]
    assert sound.step == 1 and sound.sample_rate == 2000 and sound.length_frames > 0
    (picture,) = read.Images("samples/spectrogram/prompt_0")[:1]
    assert picture.step == 1 and picture.height == 80
    table = Path("runs/a/run/logs/version_0/metrics.csv").read_text()
    rows = list(csv.DictReader(table.splitlines()))
    assert [row["step"] for row in rows] == ["0", "1", "2"]
    assert all(float(row["speed/tokens_per_second"]) > 0 for row in rows)


def test_a_resumed_run_goes_on_in_tensorboards_folder_and_beside_csvs(datasets, tmp_path):
    run(datasets, tmp_path, loggers("csv", "tensorboard"), steps=2)
    resume = tmp_path / "step=2.ckpt"
    run(datasets, tmp_path, loggers("csv", "tensorboard"), steps=4, resume=resume)
    read = events(tmp_path / "runs" / "a/run" / "tensorboard")
    assert [event.step for event in read.Scalars("train/ce")] == [0, 1, 2, 3]
    assert (tmp_path / "runs/a/run/logs/version_1/metrics.csv").exists()


def records(log):
    """The records of W&B's offline file: blocks of 32 KB as in LevelDB's log, after 7 bytes."""
    data, at, record = log.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if 2**15 - at % 2**15 < 7:
            at += 2**15 - at % 2**15  # a header never crosses the end of a block
            continue
        length, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        record += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""


def history(log, patience=30.0):
    """What was logged, a row at a time; W&B's own process writes on when a run has finished."""
    from wandb.proto.wandb_internal_pb2 import Record

    rows, ended = [], False
    for data in records(log):
        record = Record()
        record.ParseFromString(data)
        ended |= record.WhichOneof("record_type") == "exit"
        if record.WhichOneof("record_type") == "history":
            row = {}
            for item in record.history.item:
                *path, last = item.nested_key or [item.key]
                inner = row
                for part in path:
                    inner = inner.setdefault(part, {})
                inner[last] = json.loads(item.value_json)
            rows.append(row)
    if not ended and patience > 0:
        time.sleep(0.2)
        return history(log, patience - 0.2)
    return rows


def test_wandb_works_offline_and_a_resumed_run_is_the_same(datasets, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    (logger,) = loggers("wandb")
    trainer = run(datasets, tmp_path, [logger], steps=2)
    assert logger.experiment.id == run_id("a/run") == "a-2frun"
    logger.experiment.finish()
    (log,) = (tmp_path / "runs/a/run/wandb").glob("offline-run-*/run-a-2frun.wandb")
    rows = history(log)
    ce = {row["trainer/global_step"]: row["train/ce"] for row in rows if "train/ce" in row}
    assert list(ce) == [0, 1]
    assert ce[1] == pytest.approx(float(trainer.callback_metrics["train/ce"]))
    (sounds,) = (row for row in rows if "samples/audio" in row)
    assert sounds["trainer/global_step"] == 1
    assert sounds["samples/audio"]["captions"] == ["prompt_0"]


def test_ids_are_legal_and_of_one_run_each():
    names = ["demo/lm", "demo-lm", "demo.lm", "demo lm", "x" * 200, "x" * 199 + "y"]
    ids = [run_id(name) for name in names]
    assert len(set(ids)) == len(names)
    for one in ids:
        assert len(one) <= 64 and all(c.isalnum() or c in "-_" for c in one)


def test_no_logger_is_a_choice():
    assert loggers("none") == []


def test_without_an_account_wandb_is_refused_in_one_line(datasets, monkeypatch, tmp_path):
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(UserError, match=r"logger=wandb: there is no account .*WANDB_MODE=offline"):
        train.run(config("lm_demo", datasets, "logger=wandb"))
