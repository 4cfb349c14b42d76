"""The recipe as a process of its own, which outlives the server, and can be found by the next."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import musicgen_train

ROOT = Path(musicgen_train.__file__).resolve().parents[1]
RECIPE = ROOT / "recipes/finetune.py"
_OWN = ("MUSICGEN_TRAIN_PASSWORD", "GRADIO_")  # of the server's environment, no child's business


def begin(
    recipe: Path, words: Sequence[str], folder: Path, log: Path, device: str | None
) -> subprocess.Popen[bytes]:
    """Start the recipe in `folder`, where its `runs` is, in a session of its own.

    So neither the server's Ctrl-C nor its end reaches it; what it says goes to the file `log`.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith(_OWN)}
    environment["PYTHONUNBUFFERED"] = "1"
    words = [*words]
    if device is not None:
        kind, _, number = device.partition(":")
        words.append(f"device={kind}")
        if number.isdigit():
            environment["CUDA_VISIBLE_DEVICES"] = _visible(int(number))
    with log.open("ab") as said:
        return subprocess.Popen(
            [sys.executable, str(recipe), *words],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _visible(number: int) -> str:
    """The GPU that this process calls by a number, as a child has to be told."""
    names = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return names[number] if number < len(names) else str(number)


def works_in(pid: int | None, run: Path, named: bool = True) -> bool:
    """Whether a process is the recipe at work in this run, told by its command line.

    named: the line says `name=…`, as the page's does; others may have it from the songs' folder.
    """
    if pid is None:
        return False
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        here = Path(f"/proc/{pid}/cwd").samefile(run.parent.parent)
    except OSError:  # it is gone, or another user's
        return False
    is_recipe = any(word.endswith(b"/" + RECIPE.name.encode()) for word in words)
    return here and is_recipe and (not named or f"name={run.name}".encode() in words)


def interrupt(pid: int, run: Path) -> None:
    """Ctrl-C for the recipe, or SIGTERM if it was started to ignore that; the same to it."""
    with suppress(OSError):
        descriptor = os.pidfd_open(pid)
        try:
            if works_in(pid, run):  # now that its number cannot become another's
                number = signal.SIGTERM if _ignores_interrupts(pid) else signal.SIGINT
                signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)


def kill(pid: int, run: Path) -> None:
    """End the recipe and its workers at once."""
    with suppress(OSError):
        if works_in(pid, run) and os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)


def _ignores_interrupts(pid: int) -> bool:
    """As a child of a server that a script has put into the background does."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("SigIgn:"):
            return bool(int(line.split()[1], 16) & 1 << (signal.SIGINT - 1))
    return False
