"""status.json: what is going on in a run, for a page or a script that watches it.

{"name", "state": running | done | failed | stopped, "pid", "message", "stage", "progress": 0 to 1,
 "note", "eta": seconds or null, "stages": [{"name", "title", "state", "seconds"}],
 "songs": [{"song", "state", "reason"}], "estimate": {stage: seconds}, "plan": {songs, memory, …},
 "updated": Unix time}
"""

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from musicgen_train.whole_files import write_json
from recipes.finetuning.run_folder import read_json

EVERY = 1.0  # seconds between two writings of progress


class Status:
    """The file, rewritten as things go on; a failure to write it is no reason to stop."""

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.content: dict[str, Any] = {
            "name": name, "state": "running", "pid": os.getpid(), "message": "", "stage": None,
            "progress": 0.0, "note": "", "eta": None, "stages": [], "songs": [], "estimate": {},
            "plan": {},
        }  # fmt: skip
        self._began = self._written = 0.0

    def plan(
        self,
        stages: Sequence[tuple[str, str]],
        estimate: Mapping[str, float],
        facts: Mapping[str, Any],
    ) -> None:
        """Name the stages of the run, how long each may take, and what was found and chosen."""
        self.content["stages"] = [
            {"name": name, "title": title, "state": "waiting", "seconds": None}
            for name, title in stages
        ]
        self.content |= {"estimate": dict(estimate), "plan": dict(facts)}
        self._write()

    def stage(self, name: str, state: str, seconds: float | None = None) -> None:
        """A stage begins or ends."""
        for stage in self.content["stages"]:
            if stage["name"] == name:
                stage |= {"state": state, "seconds": seconds}
        if state == "running":
            self._began = time.monotonic()
            self.content |= {"stage": name, "progress": 0.0, "note": "", "eta": None}
        self._write()

    def progress(self, share: float, note: str = "", left: float | None = None) -> None:
        """The stage that is running has come so far; `left` seconds, if that is known better."""
        now = time.monotonic()
        if now - self._written < EVERY:
            return
        if left is None and share > 0:
            left = (now - self._began) * (1 / share - 1)
        eta = None if left is None else round(left, 1)
        self.content |= {"progress": round(share, 4), "note": note, "eta": eta}
        self._write()

    def songs(self, songs: Sequence[Mapping[str, Any]]) -> None:
        """What became of each song."""
        self.content["songs"] = [dict(song) for song in songs]
        self._write()

    def end(self, state: str, message: str = "") -> None:
        """The run is over: done, failed or stopped."""
        told = read_json(self.path)  # by the training, how far it came
        if told.get("stage") == self.content["stage"]:
            self.content |= {name: told[name] for name in ("progress", "note") if name in told}
        for stage in self.content["stages"]:
            if stage["state"] == "running":
                stage["state"] = state
        self.content |= {"state": state, "message": message, "eta": None}
        self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        with suppress(OSError):
            write_json(self.path, {**self.content, "updated": round(time.time(), 1)})
