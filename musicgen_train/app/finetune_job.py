"""A fine-tuning: the recipe as a child process, and all that it writes into its run's folder."""

import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from musicgen_train.app import recipe_process, run_captions, run_log, run_results
from musicgen_train.app.device_queue import Cancelled, DeviceQueue
from musicgen_train.app.finetune_options import FinetuneOptions
from musicgen_train.app.run_captions import CaptionRow
from musicgen_train.app.run_record import RunRecord
from musicgen_train.app.run_results import Packed, RunResult, SamplePair, TrainingSample
from musicgen_train.app.run_status import ESTIMATE, STATUS, RunStatus, Told, read_status
from musicgen_train.app.songs import Song, SongFolder, listed
from musicgen_train.app.told_errors import told, without_paths
from musicgen_train.errors import UserError

if TYPE_CHECKING:
    from musicgen_train.app.models import ModelShelf

_LOOK = 0.5  # seconds between two looks at a process
_PATIENCE = 20.0  # seconds after which a second stop kills
_FRESH = 30.0  # seconds for which a status counts whose process cannot be seen from here
_KILLED = "it was killed (by the system, if the memory ran out): start goes on"
_CAPTIONED = "the songs and their captions are ready: edit these, then start the training"
_NO_MEMORY = (
    "the device has not enough memory: choose a smaller base, or a preset for a smaller device"
)


class FinetuneJob:
    """One run, `runs_dir`/`name`, by whomever it was begun; safe to use from any thread.

    Get it from `Finetunings`, which has one for each name: so two pages cannot start it twice.
    recipe: the script. device: that of the server, None for what the recipe finds.
    """

    def __init__(
        self,
        name: str,
        runs_dir: Path,
        queue: DeviceQueue,
        shelf: "ModelShelf",
        device: str | None = None,
        recipe: Path = recipe_process.RECIPE,
    ) -> None:
        self.name = name
        self.folder = runs_dir.resolve() / name
        self._record = RunRecord(self.folder)
        self._queue, self._shelf, self._device, self._recipe = queue, shelf, device, recipe
        self._lock = threading.RLock()
        self._cancelled = threading.Event()
        self._worker: threading.Thread | None = None  # from start until the recipe has ended
        self._before: int | None = None  # jobs that come first, while it waits
        self._asked_to_stop: float | None = None
        self._failure, self._failed_at = "", 0.0

    def start(self, options: FinetuneOptions) -> None:
        """Begin, or go on; `UserError` at once if it cannot work, or is active already."""
        with self._lock:
            self._check_ours()
            self._check_idle()
            words = [*self._own_words(options), *options.words()]
            if not self.songs():
                raise UserError(f"{self.name} has no songs (any more): add some")
            self._record.write(options)
            self._failure, self._before, self._asked_to_stop = "", 0, None
            self._cancelled.clear()
            self._worker = threading.Thread(target=self._work, args=(words, options), daemon=True)
            self._worker.start()

    def stop(self) -> None:
        """Take it out of the queue, or end it so that `start` with the same options goes on.

        Returns at once; it ends within seconds (a training finishes its step and saves). Asked
        again after 20 s it is killed, which loses no more than the last minutes.
        """
        with self._lock:
            self._check_ours()
            self._cancelled.set()
            pid, now = self._pid(), time.monotonic()
            if pid is None:
                return
            first = self._asked_to_stop is None
            if first:
                self._asked_to_stop = now
        if first:
            recipe_process.interrupt(pid, self.folder)
        elif now - (self._asked_to_stop or now) > _PATIENCE:
            recipe_process.kill(pid, self.folder)

    def give_up_waiting(self) -> None:
        """Leave the queue; a process that has begun goes on."""
        self._cancelled.set()

    def attach(self) -> None:
        """Let a process that an earlier server began keep its turn of the device."""
        with self._lock:
            if self._worker is None and self.live_here():
                self._before = None
                self._worker = threading.Thread(target=self._accompany, daemon=True)
                self._worker.start()

    def live_here(self) -> bool:
        """Whether a process that a page began is at work."""
        return self._record.ours and self._pid() is not None

    def status(self) -> RunStatus:
        """How it stands now; never raises for what the folder holds."""
        with self._lock:
            before, asked = self._before, self._asked_to_stop
            failure, failed_at = self._failure, self._failed_at
            working, ours = self._worker is not None, self._record.ours
        found = read_status(self.folder, self._said)
        estimate = read_status(self.folder, self._said, ESTIMATE)
        newest = max(found, estimate, key=lambda one: one.updated if one.status.plan else -1)
        status = replace(
            found.status,
            ours=ours,
            plan=newest.status.plan,
            log=run_log.tail(self.folder, self._said),
        )
        if working and before is not None:
            return replace(status, state="waiting", before=before, message="")
        pid = self._pid(found)
        if working or (ours and pid is not None):
            own = pid in (None, found.pid)  # else an earlier process has said it
            state = "running" if own else "starting"
            status = status if own else _unbegun(status)
            return replace(status, state="stopping" if asked else state, message="")
        failure = failure if found.updated <= failed_at else ""  # it went on without us
        return _ended(status, found, failure, live=pid is not None)

    def options(self) -> FinetuneOptions | None:
        """What it was started with here; None if it was begun on the command line."""
        return self._record.options()

    def songs(self) -> list[Song]:
        """Its own copies of the songs; empty if it was begun on the command line."""
        return listed(self._record.songs) if self._record.ours else []

    def add_songs(self, dropped: SongFolder) -> None:
        """Move dropped songs into the run, for the next start."""
        with self._lock:
            self._check_ours()
            self._check_idle()
            dropped.move_into(self._record.songs)

    def losses(self, which: Literal["train", "valid"] = "train") -> list[tuple[int, float]]:
        """(step, cross entropy in nats), at most 500 points; resumptions joined."""
        return run_results.read_losses(self.folder, which)

    def captions(self) -> list[CaptionRow]:
        """The captions, once the songs are ready; `UserError` names a line that is damaged."""
        return run_captions.read_captions(self.folder)

    def save_captions(self, captions: Mapping[str, str]) -> int:
        """Write the captions of these songs, all or none; return how many changed.

        They count from the next start on, which does again only what depends on them.
        """
        with self._lock:
            status = self.status()
            if status.active and status.stage == "captions":
                raise UserError("the captions are being written just now: save in a minute")
            return run_captions.save_captions(self.folder, captions)

    def samples(self) -> list[SamplePair]:
        """Clips before and after, as soon as those of before are there."""
        return run_results.read_samples(self.folder)

    def training_samples(self) -> list[TrainingSample]:
        """What the model made while it was trained, the newest step first."""
        return run_results.read_training_samples(self.folder)

    def result(self) -> RunResult:
        """What has been made to be taken away."""
        return run_results.read_result(self.folder)

    def packed(self, what: Packed, folder: Path) -> Path:
        """A zip of one of its results, written into `folder`, to be downloaded."""
        return run_results.pack(self.folder, what, folder)

    def _check_ours(self) -> None:
        if not self._record.ours:
            raise UserError(
                f"{self.name} was begun on the command line: stop it and go on with it there"
            )

    def _check_idle(self) -> None:
        if self._worker is not None or self._pid() is not None:
            raise UserError(f"{self.name} is at work already: wait for it, or stop it first")

    def _own_words(self, options: FinetuneOptions) -> list[str]:
        """What the page says itself: texts, which the recipe takes as they stand."""
        base = self._shelf.source(options.base)
        if _is_checkpoint(Path(base)):  # a name of the hub may also be that of some folder here
            base = str(Path(base).resolve())  # the recipe starts elsewhere
        return [f"input_dir={self._record.songs}", f"name={self.name}", f"base={base}"]

    def _work(self, words: list[str], options: FinetuneOptions) -> None:
        failure = ""
        try:
            with self._queue.turn(f"fine-tuning {self.name}", self._cancelled, self._waits):
                self._shelf.release()
                failure = self._run(words, options)
        except Cancelled:
            pass
        except Exception as error:
            failure = told(error, self._places())
        finally:
            with self._lock:
                self._failure, self._failed_at, self._before = failure, time.time(), None
                self._worker = self._asked_to_stop = None

    def _waits(self, before: int) -> None:
        self._before = before

    def _run(self, words: list[str], options: FinetuneOptions) -> str:
        """Carry the recipe out; return why it failed, or ""."""
        with self._lock:
            if self._cancelled.is_set():
                return ""
            self._record.claim()
            run_log.shorten(self.folder)
            log = self.folder / run_log.LOG
            start = log.stat().st_size if log.exists() else 0
            root = self.folder.parent.parent
            process = recipe_process.begin(self._recipe, words, root, log, self._device)
            with suppress(UserError):  # on a full disk, say: only the next server would miss it
                self._record.write(options, process.pid)
            self._before = None
        process.wait()
        if not process.returncode or self._asked_to_stop is not None:
            return ""
        file = ESTIMATE if options.goal == "estimate" else STATUS
        return self._why(process, read_status(self.folder, self._said, file), start)

    def _why(self, process: subprocess.Popen[bytes], found: Told, start: int) -> str:
        """Why the recipe ended with an error: as its status says, or the end of its log.

        start: bytes that the log had before.
        """
        if process.returncode < 0:
            return _KILLED
        if found.pid == process.pid and found.status.state == "stopped":  # by somebody else
            return ""
        said = found.status.message if found.pid == process.pid else ""
        if not said:  # it had not begun
            grown = (self.folder / run_log.LOG).stat().st_size - start
            said = run_log.last_error(run_log.tail(self.folder, self._said, grown))
        if "out of memory" in said:
            return _NO_MEMORY
        return said or "something went wrong in the recipe: the end of its log says what"

    def _accompany(self) -> None:
        gone = threading.Event()

        def hold() -> None:
            try:
                with self._queue.turn(f"fine-tuning {self.name}", gone, lambda before: None):
                    gone.wait()
            except (Cancelled, UserError):
                pass

        threading.Thread(target=hold, daemon=True).start()
        while self._pid() is not None:
            time.sleep(_LOOK)
        gone.set()
        with self._lock:
            self._worker = self._asked_to_stop = None

    def _pid(self, found: Told | None = None) -> int | None:
        """The process that works in the run, by its own record or by its status."""
        found = found or read_status(self.folder, self._said)
        if self._record.ours and recipe_process.works_in(pid := self._record.pid(), self.folder):
            return pid
        pid, named = found.pid, self._record.ours
        running = found.status.state == "running"
        return pid if running and recipe_process.works_in(pid, self.folder, named) else None

    def _said(self, line: str) -> str:
        return without_paths(line, self._places())

    def _places(self) -> dict[str, str]:
        return {
            str(self._record.songs): "your songs",
            str(self.folder): f"{self.folder.parent.name}/{self.name}",
        }


def _is_checkpoint(path: Path) -> bool:
    held = ("config.json", "state_dict.bin")
    return path.is_file() or any((path / name).is_file() for name in held)


def _unbegun(status: RunStatus) -> RunStatus:
    """Without what an earlier process said of how far it came."""
    return replace(status, stage=None, progress=0.0, note="", seconds_left=None)


def _ended(status: RunStatus, found: Told, failure: str, live: bool) -> RunStatus:
    """How a run stands whose process is not this server's, or has ended."""
    if failure:
        return replace(status, state="failed", message=failure, seconds_left=None)
    if status.state == "done" and not any(stage.name == "train" for stage in status.stages):
        return replace(status, message=_CAPTIONED)
    if status.state != "running" or live:
        return status
    if not status.ours and time.time() - found.updated < _FRESH:
        return status  # perhaps on another machine
    return replace(status, state="stopped", message=_KILLED, seconds_left=None)
