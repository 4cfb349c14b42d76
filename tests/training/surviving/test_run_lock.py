"""A run directory has one training at a time, and no lock outlives its process."""

import fcntl
from pathlib import Path

import pytest

import train
from musicgen_train.errors import UserError
from tests.small_training import config, fit


def test_a_run_that_is_being_trained_is_refused_and_afterwards_goes_on(
    datasets, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    run_dir = fit(config("lm_demo", datasets, "max_steps=2"))
    before = sorted(path.name for path in (run_dir / "checkpoints").iterdir())
    cfg = config("lm_demo", datasets, "max_steps=4", "resume=auto")
    with (Path(run_dir) / ".lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(UserError, match=r"runs/demo/lm is being trained by another process"):
            train.run(cfg)
        assert sorted(path.name for path in (run_dir / "checkpoints").iterdir()) == before
    fit(cfg)
    assert (run_dir / "checkpoints" / "step=4.ckpt").exists()
