"""What the page shows while a job goes on: a line that says how far it is, and its sound."""

import asyncio
import html
import io
import wave
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from musicgen_train.app.events import (
    Chunk,
    Done,
    Failed,
    Loading,
    Progress,
    State,
    Stopped,
    Waiting,
)
from musicgen_train.app.markup import duration

if TYPE_CHECKING:
    from musicgen_train.app.device_queue import QueuedJob
    from musicgen_train.app.events import Event
    from musicgen_train.app.generating import Generation

_LOOK = 0.15  # seconds between two looks at a job


async def follow(job: "Generation") -> "AsyncIterator[Event]":
    """The events of a job as they come, and the same state again in between; holds no thread."""
    for event in job.follow(beat=0.0):
        yield event
        if not isinstance(event, Chunk):
            await asyncio.sleep(_LOOK)


def status_line(state: State, jobs: "list[QueuedJob]") -> str:
    """How far a job is, as HTML; jobs: the queue, for those who wait in it."""
    if isinstance(state, Waiting):
        if not state.position:
            return line("begins …")
        running = next((job.title for job in jobs if job.state == "running"), "")
        now = f" Now: {running}." if running else ""
        return line(f"Waiting: {_jobs(state.position)} first.{now}", share=0.0)
    if isinstance(state, Loading):
        return line(f"{state.note} …".capitalize(), share=0.0)
    if isinstance(state, Progress):
        left = "" if state.seconds_left is None else f", {duration(state.seconds_left)} left"
        return line(f"{state.note}{left}", share=state.share)
    if isinstance(state, Done):
        seeds = ", ".join(str(take.settings.get("seed")) for take in state.takes)
        return line(f"Done. Seed {seeds}.", kind="done")
    if isinstance(state, Stopped):
        return line("Stopped.", kind="stopped")
    assert isinstance(state, Failed), state
    return line(state.message, kind="failed")


def line(text: str, kind: str = "busy", share: float | None = None) -> str:
    """A line of text with a bar under it, as HTML; any text is safe in it."""
    bar = ""
    if share is not None:
        width = 100 * min(max(share, 0.0), 1.0)
        bar = f'<div class="bar"><div style="width:{width:.1f}%"></div></div>'
    return f'<div class="status {kind}" role="status" dir="auto">{html.escape(text)}{bar}</div>'


def playable(chunk: Chunk) -> bytes:
    """A chunk as a WAV file of 16 bits, cut at full scale."""
    samples = (chunk.wav.clamp(-1, 1) * 32767).round().short()
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setnchannels(samples.shape[0])
        file.setsampwidth(2)
        file.setframerate(chunk.sample_rate)
        file.writeframes(samples.T.contiguous().numpy().tobytes())
    return data.getvalue()


def _jobs(count: int) -> str:
    return "1 job comes" if count == 1 else f"{count} jobs come"
