"""However a language model's training is divided, it is the training of one process."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import train
from musicgen_train.errors import UserError
from musicgen_train.formats import load_musicgen
from tests.small_training import ROOT, arguments, config, fit, losses

# Dropout inside the model is drawn by each rank for its own part of the batch.
RUN = [
    "model.dropout=0", "task.ema_decay=0.9", "task.ema_every=2", "max_steps=20",
    "trainer.gradient_clip_val=1.0", "callbacks.checkpoint.every_n_train_steps=10",
    "trainer.val_check_interval=10", "~callbacks.samples",
]  # fmt: skip
CPU = ["trainer.accelerator=cpu", "trainer.precision=32-true"]


def on_ranks(datasets, strategy, n, *overrides):
    """Train in processes of their own: Lightning starts the same command for each further rank."""
    size = [f"trainer={strategy}", f"trainer.devices={n}", f"data.batch_size={6 // n}"]
    command = arguments("lm_demo", datasets, *RUN, *size, *CPU, *overrides)
    name = next(x.removeprefix("name=") for x in overrides if x.startswith("name="))
    subprocess.run([sys.executable, str(ROOT / "train.py"), *command], check=True, timeout=300)
    return Path("runs") / name


@pytest.fixture(scope="module")
def straight(datasets, tmp_path_factory):
    """The directory in which runs/one is the run of one process with the joined batch."""
    root = tmp_path_factory.mktemp("straight")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        fit(config("lm_demo", datasets, *RUN, "data.batch_size=6", "name=one"))
    return root


@pytest.fixture(autouse=True)
def beside_the_straight_run(straight, monkeypatch):
    monkeypatch.chdir(straight)


def assert_same_training(run_dir, first_step=0):
    ours, theirs = (dict(losses(run)) for run in (run_dir, Path("runs/one")))
    assert sorted(ours) == list(range(first_step, 20))
    for step, loss in ours.items():
        assert loss == pytest.approx(theirs[step], abs=1e-5), step
    ours, theirs = (
        load_file(run / "model" / "model.safetensors") for run in (run_dir, Path("runs/one"))
    )
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, rtol=0, atol=1e-6, msg=name)


def test_two_processes_train_as_one_with_the_joined_batch(datasets):
    assert_same_training(on_ranks(datasets, "ddp", 2, "name=ddp2"))


@pytest.fixture(scope="module")
def sharded(datasets, straight):
    """The run of two processes that hold half of the weights each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(straight)
        return on_ranks(datasets, "fsdp", 2, "name=fsdp2", "task.recompute=true")


def test_two_processes_with_half_of_the_weights_each_train_as_one_with_all(sharded):
    assert_same_training(sharded)
    parts = sorted(path.name for path in (sharded / "checkpoints" / "step=10.ckpt").iterdir())
    assert parts == [".metadata", "__0_0.distcp", "__1_0.distcp", "manifest.json", "meta.pt"]


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 3])
def test_a_sharded_run_of_two_ranks_goes_on_with_another_number(datasets, sharded, n):
    resume = f"resume={sharded}/checkpoints/step\\=10.ckpt"
    assert_same_training(on_ranks(datasets, "fsdp", n, f"name=on{n}", resume), first_step=10)


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 3])
def test_a_run_of_two_ranks_goes_on_with_another_number(datasets, n):
    if not Path("runs/two").exists():
        on_ranks(datasets, "ddp", 2, "name=two")
    resume = "resume=runs/two/checkpoints/step\\=10.ckpt"
    assert_same_training(on_ranks(datasets, "ddp", n, f"name=ddp_on{n}", resume), first_step=10)


@pytest.mark.slow
def test_a_checkpoint_of_one_process_is_resumed_sharded(datasets):
    resume = "resume=runs/one/checkpoints/step\\=10.ckpt"
    assert_same_training(on_ranks(datasets, "fsdp", 2, "name=divided", resume), first_step=10)


def test_a_sharded_checkpoint_is_made_one_file_and_resumed_by_one_process(datasets, sharded):
    from musicgen_train.training.surviving.consolidate import main

    folder = sharded / "checkpoints" / "step=10.ckpt"
    with pytest.raises(UserError, match=r"is sharded: add trainer=fsdp, or .*consolidate"):
        train.run(config("lm_demo", datasets, *RUN, f"resume={folder}".replace("=10", "\\=10")))
    with pytest.raises(UserError, match=r"is a sharded checkpoint: .*consolidate"):
        load_musicgen(folder)
    main([str(folder), "one.ckpt"])
    load_musicgen("one.ckpt")
    one = config("lm_demo", datasets, *RUN, "data.batch_size=6", "name=whole", "resume=one.ckpt")
    assert_same_training(fit(one), first_step=10)
