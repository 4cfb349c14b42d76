"""The labels under which the page offers checkpoints and adapters, and what is behind them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from musicgen_train.app.fitting_adapters import adapter_record
from musicgen_train.errors import UserError

_PLACES = ("model", "adapter", "checkpoints")  # folders of a run that do not name it
_MODELS = ("*/model", "*/lm/model")  # of train.py and fine-tunings, and of the demo
_ADAPTERS = ("*/adapter",)


class Catalogue:
    """Checkpoints and adapters that were given, and those that trainings leave in `runs_dir`.

    The latter are looked up anew each time. See `ModelShelf` for the arguments.
    """

    def __init__(
        self,
        checkpoints: Sequence[str],
        adapters: Mapping[str, str | None],
        runs_dir: Path | None,
    ) -> None:
        self.runs_dir = runs_dir
        self._checkpoints = _labelled((source, _name_of(source)) for source in checkpoints)
        self._adapters = _labelled(
            (folder, label or adapter_record(Path(folder)).name)
            for folder, label in adapters.items()
        )

    def models(self) -> dict[str, str]:
        """Labels, and a path or a name of the hub for each: given, of runs, released."""
        from musicgen_train.formats.hub import MUSICGEN_NAMES

        given = self._checkpoints
        found = {label: str(path) for label, path in self._of_runs(_MODELS) if _is_model(path)}
        return _joined(given, found, {name: name for name in MUSICGEN_NAMES})

    def adapters(self) -> dict[str, str]:
        """Labels, and the folder of each."""
        found = {label: str(path) for label, path in self._of_runs(_ADAPTERS) if _is_adapter(path)}
        return _joined(self._adapters, found)

    def _of_runs(self, patterns: Iterable[str]) -> Iterator[tuple[str, Path]]:
        """What lies in runs, the newest first, called `runs/NAME`."""
        if self.runs_dir is None or not self.runs_dir.is_dir():
            return
        found = [path for pattern in patterns for path in self.runs_dir.glob(pattern)]
        for path in sorted(found, key=_modified, reverse=True):
            inner = path.parent.relative_to(self.runs_dir).as_posix()
            yield f"{self.runs_dir.resolve().name}/{inner}", path


def _labelled(named: Iterable[tuple[str, str]]) -> dict[str, str]:
    """{label: source}; of equal labels the later ones get a number."""
    labels: dict[str, str] = {}
    for source, name in named:
        label, number = name, 2
        while label in labels:
            label, number = f"{name} ({number})", number + 1
        labels[label] = source
    return labels


def _joined(*parts: Mapping[str, str]) -> dict[str, str]:
    """All labels, in this order; what has one already does not get another."""
    joined: dict[str, str] = {}
    known: set[Path] = set()
    for part in parts:
        for label, source in part.items():
            place = Path(source).resolve()
            if label not in joined and place not in known:
                joined[label] = source
                known.add(place)
    return joined


def _name_of(source: str) -> str:
    """What a checkpoint is called: a name as it is, a path by what is its own in it."""
    path = Path(source)
    if not path.exists():
        return source
    if path.is_file() and path.stem == "last":
        path = path.parent
    parts = [part for part in path.resolve().parts if part not in _PLACES]
    return parts[-1] if len(parts) > 1 else source


def _is_model(folder: Path) -> bool:
    """Whether a folder of a run holds a language model; a codec's run leaves a codec there."""
    from musicgen_train.formats.files import read_json

    try:
        config = read_json(folder / "config.json")
    except UserError:  # none yet, or half of one
        return False
    return isinstance(config, dict) and "lm" in config


def _is_adapter(folder: Path) -> bool:
    try:
        adapter_record(folder)
    except UserError:
        return False
    return True


def _modified(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except OSError:  # it was removed just now
        return 0.0
