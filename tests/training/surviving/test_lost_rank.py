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
from typing import Any

import pytest
import torch

from musicgen_train.errors import UserError
from musicgen_train.training.surviving import lost_rank
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


def rank(number: int, *launched: subprocess.Popen) -> Any:
    """As much of a trainer as is asked for; `launched` are the ranks that it has started."""
    launcher = SimpleNamespace(procs=list(launched))
    return SimpleNamespace(global_rank=number, strategy=SimpleNamespace(launcher=launcher))


def reduce_for_ever(number: int, port: int) -> None:
    """Rank 0 writes what it is told to the file `told`, once rank 1 has killed itself."""
    torch.distributed.init_process_group(
        "gloo", f"tcp://127.0.0.1:{port}", timedelta(seconds=20), world_size=2, rank=number
    )
    try:
        with lost_rank_is_told(rank(number)):
            for step in range(1000):
                torch.distributed.all_reduce(torch.ones(1))
                if number == 1 and step == 10:
                    os.kill(os.getpid(), signal.SIGKILL)
    except UserError as error:
        Path("told").write_text(str(error))


def test_the_other_rank_of_a_killed_one_is_told_in_one_line():
    port = free_port()
    ranks = [in_a_process(reduce_for_ever, number, port) for number in range(2)]
    assert [status(process) for process in ranks] == [0, -signal.SIGKILL]
    told = Path("told").read_text()
    assert told.startswith("rank 0: another rank is gone (") and "\n" not in told
    assert told.endswith("; resume=auto goes on from the last checkpoint")


def test_ranks_that_do_not_find_each_other_are_told_so():
    with (
        pytest.raises(UserError, match=r"rank 1: the ranks do not find each other .*MASTER_ADDR"),
        lost_rank_is_told(rank(1)),
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
            lost_rank_is_told(rank(0)),
        ):
            raise RuntimeError(text)


def wait_for_ever(number: int, *launched: subprocess.Popen) -> None:
    """A rank that is in no collective; what it says goes to the file `told`."""
    with open("told", "w") as file:
        os.dup2(file.fileno(), 2)
    with lost_rank_is_told(rank(number, *launched)):
        Path("ready").write_text(str(os.getpid()))
        time.sleep(60)


def wait_for(condition, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def start_a_rank_and_die() -> None:
    os.environ[lost_rank._STARTER] = str(os.getpid())
    in_a_process(wait_for_ever, 1)
    wait_for(Path("ready").exists)
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_rank_ends_after_the_one_that_started_it(monkeypatch):
    monkeypatch.setattr(lost_rank, "PATIENCE", 0.1)
    assert status(in_a_process(start_a_rank_and_die)) == -signal.SIGKILL
    wait_for(lambda: not cmdline(Path("ready").read_text()))
    assert Path("told").read_text() == (
        "error: rank 1: rank 0, which started it, is gone; "
        "resume=auto goes on from the last checkpoint\n"
    )


def test_a_rank_ends_after_one_that_it_has_started(monkeypatch):
    monkeypatch.setattr(lost_rank, "PATIENCE", 0.1)
    assert status(in_a_process(start_two_and_lose_one)) == 1
    assert Path("told").read_text() == (
        "error: rank 0: another rank is gone (rank 2: SIGKILL); "
        "resume=auto goes on from the last checkpoint\n"
    )
    assert not cmdline(Path("other").read_text())


def start_two_and_lose_one() -> None:
    others = [subprocess.Popen(["sleep", "60"]) for _ in range(2)]
    Path("other").write_text(str(others[0].pid))
    others[1].kill()
    wait_for_ever(0, *others)


def test_the_shell_that_started_a_run_may_be_closed(monkeypatch):
    monkeypatch.delenv(lost_rank._STARTER, raising=False)
    assert lost_rank._launcher() is None
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    assert lost_rank._launcher() == "torchrun"


def cmdline(process: str) -> bytes:
    """Nothing if it has ended."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""


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


@pytest.mark.slow
def test_ranks_end_after_torchrun(nothing_lingers, datasets):
    """Else they would train on beside the run that goes on from their checkpoint."""
    run = launched("torchrun", datasets, "ddp")
    wait_for(Path("runs/lost/checkpoints/last.ckpt").exists, 60)
    run.kill()
    errors = run.communicate(timeout=30)[1]  # all ranks have closed it
    lines = [line for line in errors.splitlines() if line.startswith("error: ")]
    # The one that notices last may find the other gone.
    assert any("torchrun, which started it, is gone; resume=auto" in line for line in lines), errors
    assert len(lines) <= 2
