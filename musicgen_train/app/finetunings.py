"""The fine-tunings of a server: those that it begins, and those that it finds in its runs."""

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from musicgen_train.app.device_queue import DeviceQueue
from musicgen_train.app.finetune_job import FinetuneJob
from musicgen_train.app.recipe_process import RECIPE
from musicgen_train.app.run_names import LONGEST, checked_name, slug
from musicgen_train.app.run_record import OWNER, RECORD, RunRecord, is_run
from musicgen_train.app.run_status import STATUS
from musicgen_train.app.songs import SongFolder
from musicgen_train.errors import UserError

if TYPE_CHECKING:
    from musicgen_train.app.models import ModelShelf

_RUNS = "runs"  # where the recipe and train.py work, below the folder that they start in
_MOST = 500  # that are shown


class Finetunings:
    """One `FinetuneJob` for each run, so that nobody starts one twice; safe from any thread.

    A fine-tuning goes on when the server ends, however that is: hours of work do not hang on a
    page. The next server finds it, shows it, can stop it, and lets it keep its turn of the device.
    device: that of the server. recipe: the script.
    """

    def __init__(
        self,
        runs_dir: Path,
        queue: DeviceQueue,
        shelf: "ModelShelf",
        device: str | None = None,
        recipe: Path = RECIPE,
    ) -> None:
        self.runs_dir = Path(runs_dir)
        self._queue, self._shelf, self._device, self._recipe = queue, shelf, device, recipe
        self._jobs: dict[str, FinetuneJob] = {}
        self._lock = threading.Lock()
        for job in self.jobs():
            job.attach()

    def unavailable(self) -> str:
        """Why nothing can be fine-tuned here, in one line; "" if it can."""
        if not self._recipe.is_file():
            return (
                "fine-tuning needs the project's checkout, of which recipes/finetune.py is not "
                "here: clone it, and install it with pip install -e ."
            )
        if self.runs_dir.resolve().name != _RUNS:
            return f"fine-tuning writes into a folder called {_RUNS}: start with --runs …/{_RUNS}"
        return ""

    def jobs(self) -> list[FinetuneJob]:
        """All fine-tunings in the runs, those that were touched last first."""
        found = [(_touched(folder), folder.name) for folder in self._folders()]
        return [self._job(name) for _, name in sorted(found, reverse=True)[:_MOST]]

    def get(self, name: str) -> FinetuneJob:
        """One of them; `UserError` if there is none of this name."""
        if not isinstance(name, str) or name not in (folder.name for folder in self._folders()):
            raise UserError("there is no such fine-tuning (any more): choose one of the list")
        return self._job(name)

    def create(self, name: str, dropped: SongFolder) -> FinetuneJob:
        """A new one of the dropped songs, which are moved into it; it is not started.

        `UserError` if the name is taken or no name, or there are no songs.
        """
        if reason := self.unavailable():
            raise UserError(reason)
        name = checked_name(name)
        if not dropped.songs():
            raise UserError("there are no songs yet: drop some first")
        folder = self.runs_dir.resolve() / name
        record = RunRecord(folder)
        try:
            self.runs_dir.mkdir(parents=True, exist_ok=True)
            folder.mkdir()  # of two who want the name, one gets it
            record.songs.mkdir()
            record.write()
            record.claim()
        except FileExistsError:
            raise UserError(
                f"the name {name} is taken: choose another, such as {self.free_name(name)}"
            ) from None
        except OSError as error:
            raise UserError(
                f"{name}: cannot be written ({error.strerror or error}); tell who runs the server"
            ) from None
        dropped.move_into(record.songs)
        return self._job(name)

    def free_name(self, wish: str) -> str:
        """A name like the wish that is allowed and not taken."""
        wish = slug(wish)
        name, number = wish, 2
        while (self.runs_dir / name).exists():
            end = f"_{number}"
            name, number = f"{wish[: LONGEST - len(end)]}{end}", number + 1
        return name

    def close(self) -> list[str]:
        """Let go of all; those that wait are given up. Returns the names of those that go on."""
        with self._lock:
            jobs = list(self._jobs.values())
        for job in jobs:
            job.give_up_waiting()
        return [job.name for job in jobs if job.live_here()]

    def _job(self, name: str) -> FinetuneJob:
        with self._lock:
            if name not in self._jobs:
                self._jobs[name] = FinetuneJob(
                    name, self.runs_dir, self._queue, self._shelf, self._device, self._recipe
                )
            return self._jobs[name]

    def _folders(self) -> list[Path]:
        """Folders that are fine-tunings, under names that the recipe takes."""
        try:
            folders = list(self.runs_dir.resolve().iterdir())
        except OSError:
            return []
        return [f for f in folders if slug(f.name) == f.name and f.is_dir() and is_run(f)]


def _touched(folder: Path) -> float:
    """When it last said something, seconds since 1970."""
    times = []
    for name in (STATUS, RECORD, OWNER):
        try:
            times.append((folder / name).stat().st_mtime)
        except OSError:
            continue
    return max(times, default=0.0)
