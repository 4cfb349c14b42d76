"""Run a command, kill it at random moments, and see what a finishing run makes of the rest."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.data_prep.small_library import files_of

ROOT = Path(__file__).parents[2]


def start(module: str, arguments: dict[str, object], scratch: Path) -> subprocess.Popen:
    """Start `python -m module name=value …` in a process group of its own."""
    scratch.mkdir(exist_ok=True)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(scratch)}
    return subprocess.Popen(
        [sys.executable, "-m", module, *(f"{name}={value}" for name, value in arguments.items())],
        env=environment, cwd=ROOT, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip


def finish(module: str, arguments: dict[str, object], scratch: Path) -> float:
    """Run to the end; return the seconds it took."""
    began = time.monotonic()
    process = start(module, arguments, scratch)
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()[-2000:]
    return time.monotonic() - began


def kill_at_random(
    module: str, arguments: dict[str, object], home: Path, n_kills: int, seed: int
) -> int:
    """Kill runs that write `home/out` until `n_kills` were killed, and finish; -> finished runs.

    Every run that ends is compared with an uninterrupted one, byte by byte, and nothing else may
    lie in `home`. Half of the kills spare the workers, which then have to go by themselves.
    """
    rng = random.Random(seed)
    scratch, reference, out = home / "tmp", home / "reference", home / "out"
    duration = finish(module, arguments | {"output_dir": reference}, scratch)
    expected = files_of(reference)
    arguments = arguments | {"output_dir": out}
    killed = finished = 0
    while killed < n_kills:
        process = start(module, arguments, scratch)
        try:
            process.wait(rng.uniform(0.3, 1.1) * duration)
        except subprocess.TimeoutExpired:
            whole_group = rng.random() < 0.5
            (os.killpg if whole_group else os.kill)(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1
        if not out.exists():
            continue
        assert files_of(out) == expected
        finished += 1
        shutil.rmtree(out)
    finish(module, arguments, scratch)
    assert files_of(out) == expected
    wait_for_orphans(str(home))
    assert sorted(path.name for path in home.iterdir()) == ["out", "reference", "tmp"]
    # What torch makes room for when it is imported is not ours.
    assert [path.name for path in scratch.iterdir() if "torch" not in path.name] == []
    return finished + 1


def wait_for_orphans(mark: str, seconds: float = 20.0) -> None:
    """Wait until no process names `mark` in its environment any more."""
    deadline = time.monotonic() + seconds
    while any(mark in environment for environment in _environments()):
        assert time.monotonic() < deadline, "workers outlived their parent"
        time.sleep(0.1)


def _environments() -> list[str]:
    texts = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        if path.parent.name != str(os.getpid()):
            try:
                texts.append(path.read_text(errors="replace"))
            except OSError:
                continue
    return texts
