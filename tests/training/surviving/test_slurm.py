"""What SLURM starts trains as one process: ranks come from its variables."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.small_training import arguments, config, fit, link_repository, losses
from tests.training.surviving.test_lost_rank import free_port

# Two nodes with one task each, as far as a task can see.
SRUN = """#!/usr/bin/env bash
echo "$1" >>"$LOG"
shift
for k in 0 1; do
  SLURM_PROCID=$k SLURM_NODEID=$k SLURM_LOCALID=0 "$@" &
  tasks+=($!)
done
for task in "${tasks[@]}"; do wait "$task" || exit 1; done
"""
RUN = ("model.dropout=0", "max_steps=8", "trainer.val_check_interval=10", "~callbacks.samples")


@pytest.mark.slow
def test_a_slurm_job_trains_as_one_process_with_the_joined_batch(datasets, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    link_repository(tmp_path)
    srun = tmp_path / "srun"
    srun.write_text(SRUN)
    srun.chmod(0o755)
    job = {
        "NTASKS": "2", "NTASKS_PER_NODE": "1", "NNODES": "2", "JOB_ID": "123", "JOB_NAME": "train",
        "NODELIST": "127.0.0.1", "SUBMIT_DIR": str(tmp_path),
    }  # fmt: skip
    environ = {
        **os.environ, **{f"SLURM_{name}": value for name, value in job.items()},
        "MASTER_PORT": str(free_port()), "LOG": str(tmp_path / "options"),
        "PATH": f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}",
    }  # fmt: skip
    node = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=1")
    node += ("trainer.precision=32-true", "data.batch_size=3", "name=two")
    keys = arguments("lm_demo", datasets, *RUN, *node)
    script = ["bash", "recipes/slurm.sh", *keys]
    subprocess.run(script, env=environ, check=True, timeout=120)
    assert (tmp_path / "options").read_text() == "--kill-on-bad-exit=1\n"
    one = fit(config("lm_demo", datasets, *RUN, "data.batch_size=6", "name=one"))
    ours, theirs = losses(Path("runs/two")), losses(one)
    assert [step for step, _ in ours] == [step for step, _ in theirs] == list(range(8))
    for (step, loss), (_, expected) in zip(ours, theirs, strict=True):
        assert loss == pytest.approx(expected, abs=1e-5), step
