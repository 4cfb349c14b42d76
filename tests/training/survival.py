"""Runs that are stopped at any moment, and what must be left of them."""

import csv
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

import train
from musicgen_train.training.surviving.checkpoint_files import is_whole
from tests.small_training import config

LOGGED = ("train/ce", "train/l1", "valid/")


def in_a_process(function: Callable[..., object], *arguments: object) -> multiprocessing.Process:
    """Start it in a copy of this process: all is imported already."""
    process = multiprocessing.get_context("fork").Process(target=function, args=arguments)
    process.start()
    return process


def status(process: multiprocessing.Process) -> int | None:
    process.join(120)
    return process.exitcode


def fit_and_die(cfg: object, where: tuple[object, str] | None, call: int) -> None:
    """Train; die without a word at the so many-th call of `where`, (owner, name)."""
    if where is not None:
        owner, name = where
        real, calls = getattr(owner, name), []

        def deadly(*args, **kwargs):
            calls.append(None)
            if len(calls) == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        setattr(owner, name, staticmethod(deadly) if name == "_link_checkpoint" else deadly)
    train.run(cfg)


def auto(experiment: str, datasets: dict, *overrides: str) -> object:
    return config(experiment, datasets, "resume=auto", *overrides)


def logged(run_dir: Path) -> dict[tuple[int, str], set[str]]:
    """(step, name) -> the values that the run, in all its lives, has logged for it."""
    values: dict[tuple[int, str], set[str]] = {}
    for log in sorted(run_dir.glob("logs/version_*/metrics.csv")):
        lines = log.read_text().splitlines(keepends=True)
        for row in csv.DictReader([line for line in lines if line.endswith("\n")]):
            for name, value in row.items():
                if value and name.startswith(LOGGED):
                    values.setdefault((int(row["step"]), name), set()).add(value)
    return values


def end_of(run_dir: Path) -> dict:
    """The last checkpoint without what the run is called and when it ran."""
    checkpoint = torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)
    del checkpoint["config"]
    return plain(checkpoint, str(run_dir.absolute()))


def plain(node: object, run_dir: str) -> object:
    """Tensors as bytes, so that == tells every bit; paths of the run as those of any."""
    if isinstance(node, torch.Tensor):
        flat = node.detach().contiguous().flatten().view(torch.uint8) if node.dim() else node
        return (str(node.dtype), tuple(node.shape), flat.numpy().tobytes())
    if isinstance(node, dict):
        return {plain(key, run_dir): plain(value, run_dir) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [plain(value, run_dir) for value in node]
    return node.replace(run_dir, "RUN") if isinstance(node, str) else node


def differences(ours: object, theirs: object, name: str = "") -> Iterator[str]:
    """Where two nested values differ, by dotted names."""
    if isinstance(ours, dict) and isinstance(theirs, dict) and ours.keys() == theirs.keys():
        for key in ours:
            yield from differences(ours[key], theirs[key], f"{name}.{key}")
    elif ours != theirs:
        yield f"{name}: {str(ours)[:200]} / {str(theirs)[:200]}"


def assert_same_run(straight: Path, other: Path, *, same_files: bool = True) -> None:
    """Bitwise the same end, the same log of every step, and nothing broken left behind."""
    ours, theirs = end_of(straight), end_of(other)
    apart = [*differences(ours, theirs), *differences(logged(straight), logged(other), "logged")]
    assert not apart, apart
    assert all(len(values) == 1 for values in logged(other).values()), logged(other)
    folders = [run_dir / "checkpoints" for run_dir in (straight, other)]
    names = [sorted(path.name for path in folder.iterdir()) for folder in folders]
    assert names[0] == names[1] or not same_files
    assert all(is_whole(path) for path in folders[1].iterdir())
    assert not list(other.rglob("*.part"))
