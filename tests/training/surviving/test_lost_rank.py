"""Whichever rank is killed, the others end soon, in one line."""

import os
import signal
import socket
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from musicgen_train.errors import UserError
from musicgen_train.training.surviving.lost_rank import is_lost_rank, lost_rank_is_told
from tests.small_training import ROOT, arguments
from tests.training.survival import in_a_process, status


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def reduce_for_ever(rank: int, port: int) -> None:
    """Rank 0 writes what it is told to the file `told`, once rank 1 has killed itself."""
    torch.distributed.init_process_group(
        "gloo", f"tcp://127.0.0.1:{port}", timedelta(seconds=20), world_size=2, rank=rank
    )
    try:
        with lost_rank_is_told(SimpleNamespace(global_rank=rank)):  # pyright: ignore
            for step in range(1000):
                torch.distributed.all_reduce(torch.ones(1))
                if rank == 1 and step == 10:
                    os.kill(os.getpid(), signal.SIGKILL)
    except UserError as error:
        Path("told").write_text(str(error))


def test_the_other_rank_of_a_killed_one_is_told_in_one_line():
    port = free_port()
    ranks = [in_a_process(reduce_for_ever, rank, port) for rank in range(2)]
    assert [status(process) for process in ranks] == [0, -signal.SIGKILL]
    told = Path("told").read_text()
    assert told.startswith("rank 0: another rank is gone (") and "\n" not in told
    assert told.endswith("; resume=auto goes on from the last checkpoint")


def test_ranks_that_do_not_find_each_other_are_told_so():
    with (
        pytest.raises(UserError, match=r"rank 1: the ranks do not find each other .*MASTER_ADDR"),
        lost_rank_is_told(SimpleNamespace(global_rank=1)),  # pyright: ignore
    ):
        timeout = timedelta(seconds=0.1)
        torch.distributed.init_process_group(
            "gloo", f"tcp://127.0.0.1:{free_port()}", timeout, world_size=2, rank=1
        )


def test_other_errors_are_left_alone():
    for text in ("CUDA out of memory", "shape mismatch in the store", "DataLoader timed out"):
        assert not is_lost_rank(RuntimeError(text)), text
        with (
            pytest.raises(RuntimeError, match=text),
            lost_rank_is_told(SimpleNamespace(global_rank=0)),  # pyright: ignore
        ):
            raise RuntimeError(text)


def launched(launcher: str, datasets: dict, strategy: str) -> subprocess.Popen:
    """Start a training of two ranks that would go on for long, in a session of its own."""
    two = (f"trainer={strategy}", "trainer.devices=2", "trainer.accelerator=cpu")
    overrides = ("trainer.precision=32-true", "max_steps=100000", "name=lost")
    command = [str(ROOT / "train.py"), *arguments("lm_demo", datasets, *two, *overrides)]
    program = [sys.executable]
    if launcher == "torchrun":
        program += ["-m", "torch.distributed.run", "--nproc_per_node=2"]
        program += [f"--master_port={free_port()}"]
    return subprocess.Popen(
        [*program, *command], stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def ranks_here() -> dict[int, int]:
    """Rank -> process, of the trainings in this directory; processes that they forked left out."""
    found: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().split(b"\0")
            environ = (folder / "environ").read_bytes().split(b"\0")
            if (folder / "cwd").readlink() != Path.cwd() or b"name=lost" not in command:
                continue
        except OSError:
            continue
        if b"torch.distributed.run" not in command:
            rank = next((int(x[11:]) for x in environ if x.startswith(b"LOCAL_RANK=")), 0)
            found[rank] = min(int(folder.name), found.get(rank, sys.maxsize))
    return found


@pytest.fixture
def nothing_lingers(in_an_empty_directory):
    yield
    left = ranks_here()
    for process in left.values():
        os.kill(process, signal.SIGKILL)
    assert not left


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
@pytest.mark.parametrize(
    ("launcher", "strategy"),
    [("lightning", "ddp"), ("torchrun", "ddp"), ("lightning", "fsdp")],
)
def test_a_killed_rank_ends_the_run(nothing_lingers, datasets, launcher, strategy, victim):
    run = launched(launcher, datasets, strategy)
    deadline = time.monotonic() + 60
    while not Path("runs/lost/checkpoints/last.ckpt").exists():
        assert time.monotonic() < deadline and run.poll() is None
        time.sleep(0.05)
    ranks = ranks_here()
    assert sorted(ranks) == [0, 1]
    os.kill(ranks[victim], signal.SIGKILL)
    errors = run.communicate(timeout=30)[1]  # all ranks have closed it
    assert run.returncode
    lines = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, errors
    assert lines[0].startswith(f"error: rank {1 - victim}: another rank is gone (")
    assert launcher == "torchrun" or "Traceback" not in errors, errors
