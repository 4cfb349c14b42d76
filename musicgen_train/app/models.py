"""The models that the page offers, under labels; one of them is in memory."""

import ctypes
import gc
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from musicgen_train.app.catalogue import Catalogue
from musicgen_train.app.fitting_adapters import adapter_record, fits, stamp
from musicgen_train.app.model_facts import ModelFacts, facts_of
from musicgen_train.app.told_errors import without_paths
from musicgen_train.arguments import shown
from musicgen_train.errors import UserError

if TYPE_CHECKING:
    from musicgen_train.musicgen import MusicGen


class ModelShelf:
    """Checkpoints and adapters by their labels, which are the only names that a visitor gives.

    checkpoints: paths or names of the hub, the page's default first. adapters: folders, and the
    labels to give them (None: the adapter's own name). device, weights: as for
    `MusicGen.get_pretrained`. runs_dir: where trainings leave models and adapters, looked at anew
    whenever somebody asks. A checkpoint or an adapter that is not there is a `UserError` at once;
    so is an unknown label later.
    """

    def __init__(
        self,
        checkpoints: Sequence[str],
        adapters: Mapping[str, str | None] | None = None,
        device: str | None = None,
        weights: str = "float32",
        runs_dir: Path | None = None,
    ) -> None:
        from musicgen_train.fit import check_preparation, checked_device

        check_preparation(checked_device(device), {"weights": weights, "compile": False})
        for source in checkpoints:
            facts_of(source)
        self._catalogue = Catalogue(checkpoints, adapters or {}, runs_dir)
        self._device, self._weights = device, weights
        self._lock = threading.RLock()
        self._model: MusicGen | None = None
        self._loaded: tuple[str, int] | None = None  # its source and stamp
        self._adapter_stamps: dict[str, int] = {}

    def choices(self) -> list[str]:
        """Labels that may be picked: the given checkpoints, those of runs, the released names."""
        return list(self._catalogue.models())

    def adapters_of(self, label: str) -> list[str]:
        """Labels of the adapters that fit a model; looked up without loading any weights."""
        source, adapters = self.source(label), self._catalogue.adapters()
        return [
            name for name, folder in adapters.items() if fits(adapter_record(Path(folder)), source)
        ]

    def facts(self, label: str) -> ModelFacts:
        """What a model can do, told without its weights."""
        source = self.source(label)
        with _without_places({source: label}):
            return facts_of(source)

    def check(self, label: str, adapters: Mapping[str, float]) -> ModelFacts:
        """The facts of a model that these adapters belong to; refused before anything is loaded."""
        facts = self.facts(label)
        fitting = self.adapters_of(label) if adapters else []
        for name in adapters:
            if name not in fitting:
                raise UserError(
                    f"adapter {shown(name)} is none of {label}: choose one of its list, or none"
                )
        return facts

    def trigger_of(self, adapter: str) -> str | None:
        """The words that bring an adapter's style out."""
        return adapter_record(Path(self._folder(adapter))).trigger

    def source(self, label: str) -> str:
        """The path or the name of the hub behind a label; for the server alone, never shown."""
        return _looked_up(self._catalogue.models(), label, "model")

    def take(
        self, label: str, adapters: Mapping[str, float], told: Callable[[str], None]
    ) -> "MusicGen":
        """The model with these adapters by their labels and weights, loaded if it is not yet.

        Only whoever has the turn of the device may take it, and use it until the turn ends.
        told: what is being done, for whoever waits.
        """
        source = self.source(label)
        folders = {self._folder(name): name for name in adapters}
        weights = {folder: adapters[name] for folder, name in folders.items()}
        with self._lock, _without_places({source: label, **folders}):
            if not self._serves(source, weights):
                self._load(source, label, weights, told)
            self._mix(weights)
            assert self._model is not None
            return self._model

    def release(self) -> None:
        """Free the memory, for a job that needs the device without this model."""
        with self._lock:
            self._model = self._loaded = None
            self._adapter_stamps = {}
        free_memory()

    def _folder(self, adapter: str) -> str:
        return _looked_up(self._catalogue.adapters(), adapter, "adapter")

    def _serves(self, source: str, weights: Mapping[str, float]) -> bool:
        """Whether the model in memory is this one, as it is on disk now."""
        if self._model is None or self._loaded != (source, stamp(source)):
            return False
        # An adapter is exact only if it is mixed before the weights are rounded.
        return self._weights == "float32" or not self._missing(weights)

    def _missing(self, weights: Mapping[str, float]) -> list[str]:
        """The adapters that are not loaded as they are on disk now."""
        return [f for f in weights if self._adapter_stamps.get(f) != stamp(f)]

    def _load(
        self, source: str, label: str, weights: Mapping[str, float], told: Callable[[str], None]
    ) -> None:
        from musicgen_train.musicgen import MusicGen

        present = facts_of(source).present
        told(f"loading {label}" if present else f"downloading {label}, which takes minutes once")
        self.release()  # two models may not fit
        key, stamps = (source, stamp(source)), {folder: stamp(folder) for folder in weights}
        self._model = MusicGen.get_pretrained(
            source, self._device, weights=self._weights, adapters=weights
        )
        self._loaded, self._adapter_stamps = key, stamps

    def _mix(self, weights: Mapping[str, float]) -> None:
        """Bring the adapters of the model in memory to these weights."""
        model = self._model
        assert model is not None
        missing = self._missing(weights)
        gone = [name for name in model.adapters if name not in weights or name in missing]
        if gone:
            model.remove_adapters(*gone)
        for folder in gone:
            self._adapter_stamps.pop(folder, None)
        for folder in missing:
            before = stamp(folder)
            model.load_adapter(folder, weights[folder], name=folder)
            self._adapter_stamps[folder] = before
        if model.adapters != dict(weights):
            model.set_adapters(weights)


def free_memory() -> None:
    """Give what nobody uses any more back to the device and to the system."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    trim_memory()


def trim_memory() -> None:
    """Give freed memory of the host back to the system, which takes milliseconds."""
    # glibc keeps freed blocks below 32 MB for itself; other C libraries have no such function.
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _looked_up(known: Mapping[str, str], label: object, kind: str) -> str:
    if not isinstance(label, str) or label not in known:
        raise UserError(f"{kind} {shown(label)} is not on the list: choose one of the list")
    return known[label]


@contextmanager
def _without_places(names: Mapping[str, str]) -> Iterator[None]:
    """Call files by their visitors' labels in what is said about them."""
    try:
        yield
    except UserError as error:
        raise UserError(without_paths(str(error), names)) from None
