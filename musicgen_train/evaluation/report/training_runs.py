"""What the report shows of the training runs that came before: loss logs, configuration, times."""

from __future__ import annotations

from pathlib import Path

from musicgen_train.errors import UserError


def run_logs(path: Path | str) -> list[Path]:
    """The metrics.csv files of a run folder, first to last resumption; or the one file itself."""
    path = Path(path)
    if path.is_file():
        return [path]
    found = sorted(path.rglob("metrics.csv"), key=lambda log: _version(log.parent.name))
    if not found:
        raise UserError(f"no loss log (metrics.csv) in {path}; give the folder of a training run")
    return found


def run_config(path: Path | str) -> str | None:
    """The resolved configuration of a run folder as YAML, if it is there."""
    config = Path(path) / "config.yaml"
    return config.read_text() if config.is_file() else None


def read_timings(path: Path | str) -> dict[str, float]:
    """Seconds by stage, from lines of `seconds<TAB>title`; a title that comes twice adds up."""
    path, timings = Path(path), dict[str, float]()
    if not path.is_file():
        raise UserError(f"no such file of times: {path}; leave timings out or correct the path")
    for number, line in enumerate(path.read_text().splitlines(), 1):
        seconds, tab, title = line.partition("\t")
        if not tab or not seconds.replace(".", "", 1).isdigit():
            raise UserError(f"{path}:{number}: expected `seconds<TAB>title`, found {line!r}")
        timings[title] = timings.get(title, 0.0) + float(seconds)
    return timings


def _version(folder: str) -> tuple[int, str]:
    """version_2 before version_10."""
    digits = "".join(filter(str.isdigit, folder))
    return (int(digits) if digits else 0, folder)
