"""What a benchmark finds: one row type, kept in one JSON file a machine."""

import json
import platform
import re
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from musicgen_train.whole_files import write_json

FOLDER = Path(__file__).parent / "results"
LIBRARIES = ("torch", "transformers", "lightning", "webdataset", "scipy")


class Row(NamedTuple):
    """One figure; what does not apply is None or empty."""

    benchmark: str
    case: str
    value: float | None = None  # median over rounds
    unit: str = ""  # more is better, except of s, ms, GB, MiB
    peer: str = ""
    peer_value: float | None = None
    ratio: float | None = None  # times as good as the peer: median of paired rounds
    rounds: int = 0
    limit: float | None = None  # what the hardware would give, in the row's unit
    mib: float | None = None  # peak memory
    peer_mib: float | None = None
    note: str = ""
    failed: bool = False  # nothing was measured, and `note` says why

    @property
    def share(self) -> float | None:
        """How much of the limit is reached."""
        return None if self.value is None or not self.limit else self.value / self.limit

    def as_json(self) -> dict[str, Any]:
        """Only what applies, and the share."""
        content = {**self._asdict(), "share": self.share}
        return {name: x for name, x in content.items() if x or (name == "value" and x is not None)}

    @classmethod
    def of_json(cls, content: dict[str, Any]) -> "Row":
        """A row as `as_json` wrote it."""
        return cls(**{name: content[name] for name in cls._fields if name in content})


def machine() -> dict[str, Any]:
    """The hardware: what a figure means nothing without."""
    import os

    import torch

    gpu = torch.cuda.get_device_properties(0) if torch.cuda.is_available() else None
    return {
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "gpu": gpu.name if gpu else None,
        "gpu_gb": round(gpu.total_memory / 1e9, 1) if gpu else None,
        "system": f"{platform.system()} {platform.machine()}",
    }


def cpu_name() -> str:
    """As the processor calls itself."""
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


def slug(hardware: dict[str, Any]) -> str:
    """A file's name for a machine: its GPU, or its CPU with the cores."""
    name = hardware["gpu"] or f"{hardware['cpu']} {hardware['cores']} cores"
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def run_facts(mode: str) -> dict[str, Any]:
    """What a run's figures depend on besides the hardware."""
    versions = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            versions[library] = version(library)
        except PackageNotFoundError:
            continue
    now = datetime.now(UTC).isoformat(timespec="minutes")
    return {"mode": mode, "date": now, "commit": commit(), "versions": versions}


def commit() -> str:
    """The commit that is measured, with a + if files differ from it; empty outside of git."""
    describe = ["git", "describe", "--always", "--exclude=*", "--dirty=+"]
    done = subprocess.run(
        describe, cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


class ResultsFile:
    """The file of one machine: for each benchmark its last run's facts and rows.

    A benchmark that is run again replaces its own rows alone, at its first row. The file is whole
    at any moment.
    """

    def __init__(self, path: Path, hardware: dict[str, Any]) -> None:
        self.path = path
        self.content: dict[str, Any] = {"machine": hardware, "runs": {}}
        if path.exists():
            self.content["runs"] = read_results(path)["runs"]

    def seconds(self, benchmark: str, mode: str) -> float | None:
        """How long this benchmark took the last time that it was run to its end in this mode."""
        run = self.content["runs"].get(benchmark, {})
        return run.get("seconds") if run.get("mode") == mode else None

    def begin(self, benchmark: str, facts: dict[str, Any]) -> None:
        """Take facts for rows to come."""
        self._facts = {benchmark: {**facts, "rows": []}}

    def add(self, row: Row) -> None:
        """Keep one more row."""
        self.content["runs"] |= self._facts
        self.content["runs"][row.benchmark]["rows"].append(row.as_json())
        self._write()

    def end(self, benchmark: str, seconds: float) -> None:
        """Note how long the whole took."""
        if benchmark in self.content["runs"]:
            self.content["runs"][benchmark]["seconds"] = round(seconds, 1)
            self._write()

    def _write(self) -> None:
        write_json(self.path, self.content)


def read_results(path: Path) -> dict[str, Any]:
    """A machine's file; UserError if it is none."""
    from musicgen_train.errors import UserError

    try:
        content = json.loads(path.read_text())
        rows = [row for run in content["runs"].values() for row in run["rows"]]
        for row in rows:
            Row.of_json(row)
        content["machine"]["cpu"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path} is no file of benchmark results: move it away") from None
    return content


def failed_rows(runs: Iterable[dict[str, Any]]) -> list[Row]:
    """Those that say why nothing was measured."""
    rows = (Row.of_json(row) for run in runs for row in run["rows"])
    return [row for row in rows if row.failed]
