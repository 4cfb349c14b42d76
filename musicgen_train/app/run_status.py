"""What is going on in a fine-tuning, from its status.json, which nobody vouches for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from musicgen_train.app.untrusted_files import (
    as_list,
    as_mapping,
    as_number,
    as_text,
    as_whole,
    read_object,
)

State = Literal[
    "new",  # never begun; it may have an estimate
    "waiting",  # in the queue of the device
    "starting",  # its process loads libraries and looks at the songs: some seconds
    "running",
    "stopping",
    "stopped",  # start goes on; also after a kill
    "failed",  # for the reason in `message`; start goes on
    "done",
]
STATUS, ESTIMATE = "status.json", "estimate.json"
_LONGEST = 100 * 24 * 3600.0  # seconds that may be believed
_MOST_SONGS = 1000


@dataclass(frozen=True)
class StageStatus:
    """A stage of the recipe."""

    name: str
    title: str
    state: str  # waiting, running, done, failed, stopped
    seconds: float | None  # that it took
    expected: float | None  # seconds, from the estimate


@dataclass(frozen=True)
class SongStatus:
    """What became of a song, and why."""

    song: str
    state: str  # waiting, prepared, failed, filtered, …
    reason: str


@dataclass(frozen=True)
class RunPlan:
    """What the recipe found and will do; None where it did not say."""

    songs: int | None = None
    music_seconds: float | None = None
    separator: str | None = None
    base: str | None = None
    parameters: int | None = None  # of the language model
    method: str | None = None
    device: str | None = None
    preset: str | None = None
    memory: float | None = None  # bytes that training takes, about
    device_memory: float | None = None  # bytes that there are
    steps: int | None = None
    segments_per_step: int | None = None
    segment_duration: float | None = None  # seconds
    seconds: Mapping[str, float] = field(default_factory=dict)  # stage -> about how long

    @property
    def total_seconds(self) -> float:
        """About how long everything takes, if all is to be done."""
        return sum(self.seconds.values())


@dataclass(frozen=True)
class RunStatus:
    """All that a page shows of a run while it goes on."""

    name: str
    state: State = "new"
    message: str = ""  # why it failed, or what to do next, in one line
    before: int = 0  # jobs that come first, while it waits
    stage: str | None = None
    progress: float = 0.0  # of the stage, in [0, 1]
    note: str = ""  # step and loss, say
    seconds_left: float | None = None  # of the stage
    stages: tuple[StageStatus, ...] = ()
    songs: tuple[SongStatus, ...] = ()
    plan: RunPlan | None = None  # the newest estimate
    log: str = ""  # the end of what the recipe said
    ours: bool = False  # begun by a page: it can be stopped and gone on with here

    @property
    def active(self) -> bool:
        """Whether it waits or runs: look again in a second."""
        return self.state in ("waiting", "starting", "running", "stopping")


@dataclass(frozen=True)
class Told:
    """status.json or estimate.json: what the recipe's process last said, `pid` and time with it."""

    status: RunStatus
    pid: int | None = None
    updated: float = 0.0  # seconds since 1970


def read_status(folder: Path, without_paths: Callable[[str], str], file: str = STATUS) -> Told:
    """What the file says; of one that is absent, damaged or of another version what there is."""
    content = read_object(folder, file)
    said = content.get("state")
    state: State = said if said in ("running", "done", "failed", "stopped") else "new"
    plan = _plan(content, without_paths)
    status = RunStatus(
        name=folder.name,
        state=state,
        message=without_paths(as_text(content.get("message"), 500)).split("\n")[0],
        stage=as_text(content.get("stage"), 40) or None,
        progress=as_number(content.get("progress"), 0, 1) or 0.0,
        note=as_text(content.get("note"), 200),
        seconds_left=as_number(content.get("eta"), 0, _LONGEST),
        stages=_stages(content, plan),
        songs=_songs(content),
        plan=plan,
    )
    updated = as_number(content.get("updated"), 0) or 0.0
    return Told(status, as_whole(content.get("pid"), 2, 2**31), updated)


def _stages(content: Mapping[str, Any], plan: RunPlan | None) -> tuple[StageStatus, ...]:
    rows = [as_mapping(row) for row in as_list(content.get("stages"), 30)]
    expected = {} if plan is None else plan.seconds
    return tuple(
        StageStatus(
            name=as_text(row.get("name"), 40),
            title=as_text(row.get("title"), 100),
            state=as_text(row.get("state"), 20),
            seconds=as_number(row.get("seconds"), 0, _LONGEST),
            expected=expected.get(as_text(row.get("name"), 40)),
        )
        for row in rows
        if as_text(row.get("name"), 40)
    )


def _songs(content: Mapping[str, Any]) -> tuple[SongStatus, ...]:
    rows = [as_mapping(row) for row in as_list(content.get("songs"), _MOST_SONGS)]
    return tuple(
        SongStatus(
            as_text(row.get("song"), 300),
            as_text(row.get("state"), 20),
            as_text(row.get("reason"), 300),
        )
        for row in rows
        if as_text(row.get("song"), 300)
    )


def _plan(content: Mapping[str, Any], without_paths: Callable[[str], str]) -> RunPlan | None:
    """The section `plan`, and `estimate`, which also older versions of the recipe wrote."""
    told = as_mapping(content.get("plan"))
    seconds = {
        as_text(name, 40): number
        for name, value in as_mapping(content.get("estimate"), 30).items()
        if (number := as_number(value, 0, _LONGEST)) is not None
    }
    if not told and not seconds:
        return None
    return RunPlan(
        songs=as_whole(told.get("songs")),
        music_seconds=as_number(told.get("music_seconds"), 0),
        separator=as_text(told.get("separator"), 40) or None,
        base=without_paths(as_text(told.get("base"), 200)) or None,
        parameters=as_whole(told.get("parameters")),
        method=as_text(told.get("method"), 40) or None,
        device=as_text(told.get("device"), 100) or None,
        preset=as_text(told.get("preset"), 40) or None,
        memory=as_number(told.get("memory"), 0),
        device_memory=as_number(told.get("device_memory"), 0),
        steps=as_whole(told.get("steps")),
        segments_per_step=as_whole(told.get("segments_per_step")),
        segment_duration=as_number(told.get("segment_duration"), 0),
        seconds=seconds,
    )
