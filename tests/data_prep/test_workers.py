import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data_prep.executors import Executor
from data_prep.workers import WorkerDied
from musicgen_train.errors import UserError

EXECUTORS = [
    Executor(num_workers=0),
    Executor(num_workers=2),
    pytest.param(Executor("ray", num_workers=2), marks=pytest.mark.slow),
]
WITH_PROCESSES = EXECUTORS[1:]
JOBS = list(range(20))


def square(number):
    return number * number


def die_once(number, folder):
    """The first process that gets the number 7 dies of it."""
    mark = Path(folder, "died")
    if number == 7 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def die_always(number):
    if number == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def fail(number):
    raise UserError("the disk is full; make room")


def process_id(number):
    time.sleep(0.01)
    return os.getpid()


def results(executor, function):
    done = list(executor.run(function, JOBS))
    assert sorted(job for job, _ in done) == JOBS
    return dict(done)


@pytest.mark.parametrize("executor", EXECUTORS, ids=str)
def test_every_job_is_done_once_wherever_it_runs(executor):
    assert results(executor, square) == {number: number**2 for number in JOBS}


@pytest.mark.parametrize("executor", WITH_PROCESSES, ids=str)
def test_a_killed_worker_is_replaced_and_its_job_done(executor, tmp_path):
    done = results(executor, functools.partial(die_once, folder=str(tmp_path)))
    assert (tmp_path / "died").exists()
    assert done == {number: number**2 for number in JOBS}


@pytest.mark.parametrize("executor", WITH_PROCESSES, ids=str)
def test_a_job_that_kills_every_worker_is_given_up_alone(executor):
    done = results(executor, die_always)
    assert isinstance(done.pop(7), WorkerDied)
    assert done == {number: number**2 for number in JOBS if number != 7}


@pytest.mark.parametrize("executor", EXECUTORS, ids=str)
def test_an_error_that_concerns_the_whole_run_ends_it(executor):
    with pytest.raises(UserError, match="the disk is full"):
        results(executor, fail)


@pytest.mark.parametrize("executor", WITH_PROCESSES, ids=str)
def test_the_work_is_shared(executor):
    processes = set(results(executor, process_id).values())
    assert len(processes) == 2
    assert os.getpid() not in processes


def test_workers_that_die_at_random_moments_from_outside_lose_nothing(tmp_path):
    executor = Executor(num_workers=2)
    done = {}
    for number, (job, process) in enumerate(executor.run(process_id, range(200))):
        done[job] = process
        if number % 9 == 0:
            os.kill(process, signal.SIGKILL)
    assert set(done) == set(range(200))
    assert not any(isinstance(result, WorkerDied) for result in done.values())


def test_workers_follow_a_parent_that_was_killed(tmp_path):
    script = (
        "import os, sys, time\n"
        "from data_prep.workers import run_in_processes\n"
        "from tests.data_prep.test_workers import sleep_long\n"
        "if __name__ == '__main__':\n"
        f"    list(run_in_processes(sleep_long, [{str(tmp_path)!r}], 1))\n"
    )
    (tmp_path / "main.py").write_text(script)
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root)}
    parent = subprocess.Popen([sys.executable, tmp_path / "main.py"], env=environment)
    mark = tmp_path / "pid"
    wait_until(lambda: mark.exists() and mark.read_text())
    worker = int(mark.read_text())
    parent.kill()
    parent.wait()
    wait_until(lambda: not is_running(worker))


def sleep_long(folder):
    Path(folder, "pid").write_text(str(os.getpid()))
    time.sleep(60)


def is_running(process):
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False


def wait_until(condition, seconds=40):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


@pytest.mark.parametrize(
    "wrong", [{"executor": "slurm"}, {"num_workers": -1}, {"device": "tpu"}], ids=str
)
def test_impossible_executors_are_refused(wrong):
    with pytest.raises(UserError, match=r"give|use"):
        Executor(**wrong)


@pytest.mark.slow
def test_a_cluster_without_room_is_refused_and_the_callers_ray_stays(monkeypatch):
    import ray

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        with pytest.raises(UserError, match="has 1 CPUs, and 2 workers need 2"):
            results(Executor("ray", num_workers=2), square)
        assert results(Executor("ray", num_workers=1), square)[3] == 9
        assert ray.is_initialized()
    finally:
        ray.shutdown()
