"""Where a checkpoint comes from: its licence, its training, its metrics, as far as it says."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from musicgen_train.errors import UserError
from musicgen_train.formats.lightning_checkpoint import read_training


class Provenance(NamedTuple):
    """What is recorded; None where nothing is."""

    licence: str | None = None
    training: dict[str, Any] | None = None
    metrics: Path | None = None  # the metrics.json of this checkpoint


def read_provenance(path: Path) -> Provenance:
    """What the files of a checkpoint (a folder, or a *.ckpt) record, and what lies beside it.

    Of what does not exist nothing is known: a name is no place to look around.
    """
    if not path.exists():
        return Provenance()
    if path.is_file() and path.suffix == ".ckpt":
        training = read_training(path)
        record = training_record(training.config, training.step)
        return Provenance(training=record, metrics=_metrics_beside(path))
    folder = path if path.is_dir() else path.parent
    config = _mapping(folder / "config.json", json.loads)
    licence = config.get("licence") or _licence(_front_matter(folder / "README.md"))
    training = config.get("training")
    if not isinstance(training, dict):
        # The exported model of a run has the run's configuration beside it.
        run = _mapping(folder.parent / "config.yaml", yaml.safe_load)
        training = training_record(run, run.get("max_steps")) if folder.name == "model" else {}
    inside = folder / "metrics.json"
    return Provenance(
        licence=licence if isinstance(licence, str) and licence != "unknown" else None,
        training=training or None,
        metrics=inside if inside.is_file() else _metrics_beside(folder),
    )


def training_record(config: dict[str, Any], step: Any) -> dict[str, Any]:
    """The few facts of a run's configuration that belong to the model it made."""
    data, optim = config.get("data"), config.get("optim")
    data = data if isinstance(data, dict) else {}
    optim = optim if isinstance(optim, dict) else {}
    dataset, started = data.get("path"), config.get("init_from")
    found = {
        "run": config.get("name"),
        "steps": step,
        # Names only: where they lie on somebody's machine is nobody's business.
        "dataset": Path(dataset).name if isinstance(dataset, str) else None,
        "segment_duration": data.get("segment_duration"),
        "batch_size": data.get("batch_size"),
        "learning_rate": optim.get("lr"),
        "started_from": Path(started).name if isinstance(started, str) else None,
        "seed": config.get("seed"),
    }
    return {
        name: value for name, value in found.items() if isinstance(value, int | float | str)
    }  # fmt: skip


def read_metrics_rows(path: Path) -> list[dict[str, Any]]:
    """The measurements of a metrics.json that evaluate.py wrote."""
    rows = _mapping(path, json.loads).get("metrics")
    if not isinstance(rows, list) or not all(
        isinstance(row, dict) and isinstance(row.get("title"), str) for row in rows
    ):
        raise UserError(f"{path} is no metrics.json of evaluate.py: move it away, or write it anew")
    return rows


def _metrics_beside(checkpoint: Path) -> Path | None:
    """A metrics.json in the folders above that says it is about this checkpoint."""
    for folder in (checkpoint.parent, checkpoint.parent.parent):
        path = folder / "metrics.json"
        settings = _mapping(path, json.loads).get("settings")
        measured = settings.get("ckpt") if isinstance(settings, dict) else None
        if isinstance(measured, str) and Path(measured).resolve() == checkpoint.resolve():
            return path
    return None


def _licence(matter: dict[str, Any]) -> Any:
    """The licence of a model card; one that the hub has no short name for has its own."""
    licence = matter.get("license")
    return matter.get("license_name", licence) if licence == "other" else licence


def _front_matter(path: Path) -> dict[str, Any]:
    """The YAML at the top of a model card, between two lines of three dashes."""

    def parse(text: str) -> Any:
        first, *lines = text.strip().splitlines() or [""]
        if first != "---" or "---" not in lines:
            return {}
        return yaml.safe_load("\n".join(lines[: lines.index("---")]))

    return _mapping(path, parse)


def _mapping(path: Path, parse: Any) -> dict[str, Any]:
    """A record that is only of interest if it can be read."""
    try:
        content = parse(path.read_text()) if path.is_file() else {}
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
