"""resume=auto takes the newest whole checkpoint, and says what it passes over and what changed."""

from pathlib import Path

import pytest
import torch

import train
from musicgen_train.errors import UserError
from musicgen_train.training.surviving.checkpoints import changed_settings, newest_checkpoint
from tests.small_training import config, fit
from tests.training.survival import auto


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def damage(path: Path) -> None:
    """Change a byte of the largest record, which torch reads without a word."""
    content = bytearray(path.read_bytes())
    weight = max(
        torch.load(path, weights_only=True)["state_dict"].values(),
        key=lambda tensor: tensor.numel(),
    )
    content[content.index(weight.numpy().tobytes()) + 5] ^= 1
    path.write_bytes(bytes(content))


def test_damaged_checkpoints_are_named_and_the_newest_whole_one_is_taken(datasets, capsys):
    run_dir = fit(config("lm_demo", datasets, "max_steps=6", "callbacks.best=null"))
    folder = run_dir / "checkpoints"
    damage(folder / "step=6.ckpt")
    (folder / "step=4.ckpt").write_bytes((folder / "step=4.ckpt").read_bytes()[:5000])
    (folder / "step=8.ckpt.part").write_bytes(b"half")
    (folder / "step=9.ckpt.part").mkdir()
    assert newest_checkpoint(folder) == folder / "step=2.ckpt"
    told = capsys.readouterr().err
    assert "step=6.ckpt is damaged" in told and "step=4.ckpt is damaged" in told
    assert not list(folder.glob("*.part"))
    with pytest.raises(UserError, match=r"step=6.ckpt is no checkpoint .* checksums differ"):
        train.run(config("lm_demo", datasets, f"resume={folder}/step\\=6.ckpt", "max_steps=6"))
    fit(auto("lm_demo", datasets, "max_steps=6", "callbacks.best=null"))
    assert newest_checkpoint(folder) == folder / "step=6.ckpt"


def test_steps_are_compared_as_numbers(tmp_path):
    for step in (900, 1000):
        torch.save({"global_step": step}, tmp_path / f"step={step}.ckpt")
    (tmp_path / "last.ckpt").symlink_to("step=900.ckpt")
    assert newest_checkpoint(tmp_path) == tmp_path / "step=1000.ckpt"
    assert newest_checkpoint(tmp_path / "nothing") is None


def test_a_run_without_a_checkpoint_starts_anew_and_a_finished_one_only_exports(datasets):
    run_dir = Path("runs/demo/lm")
    run_dir.mkdir(parents=True)
    (run_dir / "config.yaml").write_text("killed: before its first checkpoint\n")
    cfg = auto("lm_demo", datasets, "max_steps=2")
    assert fit(cfg) == run_dir
    last = (run_dir / "checkpoints" / "last.ckpt").read_bytes()
    weights = (run_dir / "model" / "model.safetensors").read_bytes()
    (run_dir / "model" / "model.safetensors").unlink()
    fit(cfg)
    assert (run_dir / "model" / "model.safetensors").read_bytes() == weights
    assert (run_dir / "checkpoints" / "last.ckpt").read_bytes() == last


def test_settings_that_may_change_are_told_and_others_refused(datasets, capsys):
    fit(config("lm_demo", datasets, "max_steps=2"))
    capsys.readouterr()
    fit(auto("lm_demo", datasets, "max_steps=4", "optim.lr=0.01", "data.batch_size=2"))
    told = [line for line in capsys.readouterr().out.splitlines() if "changed settings" in line]
    assert len(told) == 1
    assert "optim.lr 0.001 -> 0.01" in told[0] and "data.batch_size 3 -> 2" in told[0]
    assert told[0].count("0.001 -> 0.01") == 1  # the task's optimizer is the same one
    with pytest.raises(UserError, match="was trained with another lm"):
        fit(auto("lm_demo", datasets, "max_steps=4", "model.dim=32"))


def test_a_new_name_is_no_change_of_settings():
    ours = {"name": "b", "dir": "runs/b", "task": {"lr": 1, "lm": {"lr": 1}}, "resume": "auto"}
    theirs = {"name": "a", "dir": "runs/a", "task": {"lr": 2, "lm": {"lr": 2}}, "resume": None}
    assert changed_settings(theirs, ours) == ["task.lr 2 -> 1"]


def test_a_resumed_run_takes_the_rate_and_decay_of_its_configuration(datasets):
    first = ["name=first", "max_steps=4", "schedule=constant"]
    run_dir = fit(config("lm_demo", datasets, *first))
    more = ["name=second", "max_steps=6", "optim.lr=1e-6", "optim.weight_decay=0"]
    resume = f"resume={run_dir}/checkpoints/step\\=4.ckpt"
    resumed = fit(config("lm_demo", datasets, "schedule=constant", *more, resume))
    last = torch.load(resumed / "checkpoints" / "step=6.ckpt", weights_only=True)
    (group,) = last["optimizer_states"][0]["param_groups"]
    assert (group["lr"], group["initial_lr"], group["weight_decay"]) == (1e-6, 1e-6, 0)
    weights = [
        torch.load(run / "checkpoints" / f"step={n}.ckpt", weights_only=True)["state_dict"]
        for run, n in ((run_dir, 4), (resumed, 6))
    ]
    moved = max((a - b).abs().max() for a, b in zip(*(w.values() for w in weights), strict=True))
    assert 0 < moved < 1e-5


def test_another_optimizer_than_the_checkpoints_is_refused(datasets):
    run_dir = fit(config("lm_demo", datasets, "max_steps=2"))
    resume = f"resume={run_dir}/checkpoints/step\\=2.ckpt"
    with pytest.raises(UserError, match="was trained with another optimizer"):
        train.run(config("lm_demo", datasets, "name=other", "optim=muon", resume))
