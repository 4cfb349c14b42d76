"""train.py with every optimizer and schedule: exact resumption, and refusals before the run."""

from pathlib import Path

import pytest
import torch

import train
from musicgen_train.errors import UserError
from tests.small_training import config, fit
from tests.training.test_optimizers import plain

WSD = ("schedule=wsd", "schedule.decay_steps=2")
OPTIMIZERS = {
    "muon": ("optim=muon", *WSD),
    "prodigy": ("optim=prodigy", "optim.lr=1", "schedule=constant"),
    "dadapt_adam": ("optim=dadapt_adam", "optim.lr=1"),
    "adamw_8bit": ("optim=adamw_8bit", *WSD),
}


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_resumed_run_ends_as_the_straight_one(name, datasets):
    if name == "adamw_8bit":
        pytest.importorskip("bitsandbytes")
    overrides = ["max_steps=4", *OPTIMIZERS[name], "model.dim=64"]
    straight = fit(config("lm_demo", datasets, "name=straight", *overrides))
    resume = f"resume={straight}/checkpoints/step\\=2.ckpt"
    resumed = fit(config("lm_demo", datasets, "name=resumed", resume, *overrides))
    ours, theirs = (
        torch.load(run / "checkpoints" / "step=4.ckpt", weights_only=True)
        for run in (straight, resumed)
    )
    for part in ("state_dict", "optimizer_states", "lr_schedulers"):
        assert plain(ours[part]) == plain(theirs[part]), part


@pytest.mark.slow
def test_a_stable_run_goes_on_for_longer_from_before_its_decay(datasets):
    overrides = [*WSD, "model.dim=64"]
    longer = fit(config("lm_demo", datasets, "name=longer", "max_steps=6", *overrides))
    short = fit(config("lm_demo", datasets, "name=short", "max_steps=4", *overrides))
    resume = f"resume={short}/checkpoints/step\\=2.ckpt"
    resumed = fit(config("lm_demo", datasets, "name=more", "max_steps=6", resume, *overrides))
    ours, theirs = (
        torch.load(run / "checkpoints" / "step=6.ckpt", weights_only=True)["state_dict"]
        for run in (longer, resumed)
    )
    assert plain(ours) == plain(theirs)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["schedule.warmup_steps=5", "max_steps=5"], "warmup_steps is 5, but the run ends at"),
        (["schedule=wsd", "max_steps=5"], "schedule.decay_steps is missing: give"),
        (["schedule=wsd", "schedule.decay_steps=9", "max_steps=5"], "decay_steps is 9"),
        (["optim.lr=-1"], "configuration: Invalid learning rate: -1"),
        (["optim=prodigy"], r"optim.lr is 0.001, but prodigy finds .*: set optim.lr=1"),
        (["optim=muon", "+optim.tempo=1"], "configuration: .*tempo"),
    ],
)
def test_wrong_settings_are_one_line_before_anything_is_written(datasets, overrides, message):
    with pytest.raises(UserError, match=message) as refusal:
        train.run(config("lm_demo", datasets, *overrides))
    assert "\n" not in str(refusal.value)
    assert not Path("runs").exists()


def test_a_codec_is_not_trained_with_muon(datasets):
    with pytest.raises(UserError, match="choose another optim"):
        train.run(config("codec_tiny", datasets, "optim=muon", "max_steps=2"))
