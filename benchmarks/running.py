"""All benchmarks one after the other, each in a process of its own that sends its rows."""

import importlib
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.limits import Limits, measure_limits
from benchmarks.results import ResultsFile, Row, machine, run_facts, slug
from benchmarks.tables import line
from musicgen_train.errors import UserError, reason_of

LONGEST = 86400.0  # seconds of a benchmark without --limit


class Interrupted(Exception):
    """SIGTERM or SIGINT: what was measured is kept."""


def run_all(
    expected: dict[str, tuple[str, float]], mode: str | None, folder: Path, limit: float | None
) -> int:
    """Run benchmarks {name: (module, about so many seconds)}; -> how many rows failed.

    mode: quick, full, dry; None chooses. limit: seconds after which one is stopped.
    """
    hardware = machine()
    mode = mode or ("full" if hardware["gpu"] else "quick")
    file = ResultsFile(folder / f"{slug(hardware)}.json", hardware)
    print(f"{mode} mode; {hardware['gpu'] or hardware['cpu']}; {file.path}", flush=True)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)
    began, failed, names = time.monotonic(), 0, list(expected)
    try:
        limits = measure_limits(small=mode == "dry")
        print(limits.told(), flush=True)
        for i, name in enumerate(names):
            left = sum(file.seconds(n, mode) or expected[n][1] for n in names[i:])
            told = f"[{i + 1}/{len(names)}] {name}; about {left / 60:.0f} min left in all"
            print(told, flush=True)
            facts = {**run_facts(mode), "limits": limits._asdict()}
            failed += _run(name, expected[name][0], mode, limits, facts, file, limit)
    except Interrupted:
        print("interrupted: what was measured is kept", flush=True)
        failed += 1
    print(f"{(time.monotonic() - began) / 60:.1f} min", flush=True)
    return failed


def _interrupt(*_: Any) -> None:
    raise Interrupted


def _run(
    name: str,
    module: str,
    mode: str,
    limits: Limits,
    facts: dict[str, Any],
    file: ResultsFile,
    limit: float | None,
) -> int:
    """One benchmark: its rows to the file and the terminal; -> how many failed."""
    began, failed = time.monotonic(), 0
    file.begin(name, facts)
    for row in rows_of_process(name, module, mode, limits, limit):
        failed += row.failed
        print(f"{line(row)}  [{time.monotonic() - began:.0f} s]", flush=True)
        file.add(row._replace(benchmark=name))
    if not failed:
        file.end(name, time.monotonic() - began)
    return failed


def rows_of_process(
    name: str, module: str, mode: str, limits: Limits, limit: float | None
) -> Iterator[Row]:
    """Rows as a new process finds them; if it dies or takes too long, a last one says so."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=send_rows, args=(name, module, mode, limits, sender))
    process.start()
    sender.close()  # so that the end of the process is the end of the pipe
    ends, done = time.monotonic() + (limit or LONGEST), False
    try:
        while receiver.poll(max(0.0, ends - time.monotonic())):
            try:
                row = receiver.recv()
            except EOFError:
                break
            if row is None:
                done = True
                break
            yield row
        else:
            yield Row(name, "the rest", note=f"stopped after {limit:.0f} s (--limit)", failed=True)
            return
    finally:
        _end(process, done)
    if not done:
        note = f"its process ended with status {process.exitcode} (-9: most likely out of memory)"
        yield Row(name, "the rest", note=note, failed=True)


def _end(process: Any, done: bool) -> None:
    """Wait for a process that is done or dead; end one that is not, and those that it started."""
    process.join(10.0 if done else 1.0)
    if process.is_alive() or not done:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.join()


def send_rows(name: str, module: str, mode: str, limits: Limits, sender: Connection) -> None:
    """In the new process: all rows, a failed one for an error, and None at the end."""
    os.setsid()  # so that what it starts can be ended with it, and Ctrl-C is the parent's alone
    try:
        for row in importlib.import_module(module).rows_in(mode, limits):
            sender.send(row)
    except Exception as error:
        if not isinstance(error, UserError):
            import traceback

            traceback.print_exc()
        reason = f"{type(error).__name__}: {reason_of(error)}"
        sender.send(Row(name, "the rest", note=reason, failed=True))
    sender.send(None)
