"""Bad steps are skipped without a trace, all ranks alike, and too many end the run."""

import csv
import math
import os
from contextlib import redirect_stderr
from pathlib import Path

import pytest
import torch

import train
from musicgen_train.errors import UserError
from musicgen_train.training.lm_module import MusicGenModule
from musicgen_train.training.surviving.gradient_guard import ENOUGH, GradientGuard
from tests.small_training import config, fit
from tests.training.survival import in_a_process, status
from tests.training.surviving.test_lost_rank import free_port


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def spoil(monkeypatch):
    """A function that multiplies the loss of some steps."""

    def at(factors):
        plain = MusicGenModule.training_step

        def step(self, batch, batch_idx):
            return plain(self, batch, batch_idx) * factors.get(batch_idx, 1.0)

        monkeypatch.setattr(MusicGenModule, "training_step", step)

    return at


def rows(run_dir):
    found = {}
    for log in sorted(run_dir.glob("logs/version_*/metrics.csv")):
        for row in csv.DictReader(log.open()):
            if row.get("train/grad_norm"):
                found[int(row["step"])] = row
    return found


def state(run_dir, step):
    return torch.load(run_dir / "checkpoints" / f"step={step}.ckpt", weights_only=True)


@pytest.mark.parametrize("factor", [math.nan, math.inf])
def test_a_step_whose_gradient_is_no_number_changes_nothing_and_the_run_goes_on(
    datasets, spoil, factor, capfd
):
    spoil({2: factor})
    each = ["max_steps=5", "callbacks.checkpoint.every_n_train_steps=1"]
    run_dir = fit(config("lm_demo", datasets, *each))
    states = [state(run_dir, step) for step in range(1, 6)]
    assert same(states[1]["state_dict"], states[2]["state_dict"])
    before, after = (states[i]["optimizer_states"][0]["state"] for i in (1, 2))
    assert same(before, after)
    assert states[2]["lr_schedulers"] != states[1]["lr_schedulers"]
    assert not same(states[2]["state_dict"], states[3]["state_dict"])
    log = rows(run_dir)
    assert [float(log[i]["train/skipped"]) for i in range(5)] == [0, 0, 1, 1, 1]
    assert not math.isfinite(float(log[2]["train/grad_norm"]))
    line = next(x for x in capfd.readouterr().err.splitlines() if "skipped" in x)
    assert line.startswith("step 2: train/grad_norm is ") and ": skipped, of " in line


def same(ours, theirs):
    if isinstance(ours, torch.Tensor):
        return torch.equal(ours, theirs)
    if isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(same(ours[k], theirs[k]) for k in ours)
    if isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return ours == theirs


def fit_on_a_rank(cfg, rank: int, port: int) -> None:
    """Train as one of two ranks, the loss of which is no number at rank 1's third batch."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "LOCAL_RANK": str(rank)}
    plain = MusicGenModule.training_step

    def step(self, batch, batch_idx):
        Path(f"keys-{rank}-{batch_idx}").write_text(", ".join(batch.keys))
        return plain(self, batch, batch_idx) * (math.nan if rank and batch_idx == 2 else 1.0)

    MusicGenModule.training_step = step
    with open(f"output-{rank}", "w") as file, redirect_stderr(file):
        train.run(cfg)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_all_ranks_skip_what_one_of_them_spoils_and_name_its_samples(datasets, strategy):
    two = (f"trainer={strategy}", "trainer.accelerator=cpu", "trainer.devices=2")
    two += ("trainer.precision=32-true", "trainer.limit_val_batches=0", "~callbacks.samples")
    cfg = config("lm_demo", datasets, "max_steps=4", *two, "~callbacks.checkpoint")
    port = free_port()
    ranks = [in_a_process(fit_on_a_rank, cfg, rank, port) for rank in range(2)]
    assert [status(process) for process in ranks] == [0, 0], Path("output-0").read_text()
    skipped = [float(row["train/skipped"]) for row in rows(Path("runs/demo/lm")).values()]
    assert skipped == [0, 0, 1, 1]
    lines = [x for x in Path("output-0").read_text().splitlines() if "skipped" in x]
    assert lines == [f"step 2: train/grad_norm is nan: skipped, of {Path('keys-1-2').read_text()}"]


def test_too_many_bad_steps_end_the_run_and_say_where(datasets, spoil):
    spoil(dict.fromkeys(range(2, 9), math.nan))
    with pytest.raises(
        UserError, match=r"step 4: train/grad_norm is nan, the last of 3 bad steps among 5: lower"
    ):
        train.run(config("lm_demo", datasets, "max_steps=9", "callbacks.guard.limit=3"))


def test_a_resumed_run_counts_on(datasets, spoil):
    spoil({1: math.nan, 3: math.nan})
    straight = fit(config("lm_demo", datasets, "max_steps=6", "name=straight"))
    resume = f"resume={straight}/checkpoints/step\\=2.ckpt"
    resumed = fit(config("lm_demo", datasets, "max_steps=6", "name=resumed", resume))
    ours, theirs = state(straight, 6), state(resumed, 6)
    assert ours["callbacks"]["GradientGuard"] == theirs["callbacks"]["GradientGuard"]
    assert ours["callbacks"]["GradientGuard"]["skipped"] == 2
    assert same(ours["state_dict"], theirs["state_dict"])


def test_a_spike_is_bad_and_a_steady_change_is_not():
    guard = GradientGuard(factor=10.0)
    assert not guard.is_bad(1e9)  # nothing to compare with yet
    for i in range(ENOUGH):
        guard._norms.append(1.0 + 0.1 * math.sin(i))
    assert guard.is_bad(11.5) and not guard.is_bad(8.0)
    assert guard.is_bad(math.nan) and guard.is_bad(math.inf)
    norm = 1.0
    for _ in range(400):  # 100 times as large within 400 steps
        norm *= 10 ** (2 / 400)
        assert not guard.is_bad(norm)
        guard._norms.append(norm)
    assert not GradientGuard(factor=None).is_bad(1e30)


def test_heavy_tails_are_seldom_taken_for_spikes():
    generator = torch.Generator().manual_seed(0)
    norms = (0.4 * torch.randn(20_000, generator=generator)).exp().tolist()  # log-normal
    guard, bad = GradientGuard(), 0
    for norm in norms:
        bad += guard.is_bad(norm)
        guard._norms.append(norm)
    assert bad == 0


def test_a_spike_in_a_run_is_skipped(datasets, spoil):
    spoil({55: 1e4})
    run_dir = fit(
        config("lm_demo", datasets, "max_steps=58", "trainer.limit_val_batches=0",
               "callbacks.checkpoint.every_n_train_steps=29", "data.batch_size=1")
    )  # fmt: skip
    assert float(rows(run_dir)[57]["train/skipped"]) == 1


@pytest.mark.parametrize("wrong", ["factor=1", "limit=0", "limit=101"])
def test_wrong_settings_are_named(datasets, wrong):
    with pytest.raises(UserError, match=r"callbacks\.guard has factor .* and limit"):
        train.run(config("lm_demo", datasets, f"callbacks.guard.{wrong}"))
