"""One request as a job of its own, which goes on whatever becomes of the visitor's browser."""

import math
import threading
import time
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

from musicgen_train.app.broadcast import Broadcast
from musicgen_train.app.device_queue import Cancelled, DeviceQueue
from musicgen_train.app.events import (
    Chunk,
    Done,
    Event,
    Failed,
    Loading,
    Progress,
    State,
    Stopped,
    Waiting,
)
from musicgen_train.app.models import ModelShelf, free_memory, trim_memory
from musicgen_train.app.request import Limits, Request
from musicgen_train.app.takes import Take, TakeStore
from musicgen_train.app.told_errors import is_out_of_memory, told

if TYPE_CHECKING:
    from torch import Tensor

    from musicgen_train.musicgen import MusicGen

__all__ = [
    "Chunk",
    "Done",
    "Event",
    "Failed",
    "Generation",
    "Loading",
    "Progress",
    "Stopped",
    "Waiting",
]

_CHUNK = 0.5  # seconds of a chunk: the first is heard so early
_TELL = 0.1  # seconds between two reports of progress
_STOPPING = "stops as soon as the model is loaded"


class Generation:
    """A request that is carried out in a thread of its own; safe to use from any thread.

    settings are those of the request.
    """

    def __init__(
        self,
        request: Request,
        shelf: ModelShelf,
        queue: DeviceQueue,
        store: TakeStore,
        limits: Limits,
        visitor: str,
    ) -> None:
        self.id = uuid.uuid4().hex
        self.visitor = visitor
        self.settings = request.as_settings()
        self.ended_at: float | None = None  # by the monotonic clock
        self._request: Request | None = request
        self._shelf, self._queue, self._store, self._limits = shelf, queue, store, limits
        self._cancelled = threading.Event()
        self._events = Broadcast()
        self._thread = threading.Thread(target=self._run, name=f"music {self.id}", daemon=True)

    def start(self) -> "Generation":
        """Begin; a request that cannot work is a `UserError` at once."""
        request = self._request
        assert request is not None, "it was started before"
        try:
            request.checked(self._limits, self._shelf.check(request.model, request.adapters))
            self._thread.start()
        except Exception as error:
            self._events.tell(Failed(told(error)))
            raise
        return self

    def follow(self, after: int = 0, beat: float = 1.0) -> Iterator[Event]:
        """What happens from now on: the state, the chunks from number `after` on, and the end.

        Any number may follow, at any time: whoever comes late gets the chunks that there are, and
        once it has ended only how (chunks are kept no longer). The state is told again every
        `beat` seconds when nothing happens, so that no follower is stuck with a visitor who left.
        """
        return self._events.follow(after, beat)

    @property
    def state(self) -> State:
        """What was told last."""
        return self._events.state

    @property
    def ended(self) -> bool:
        """Whether it is done, failed or stopped."""
        return self._events.ended

    def cancel(self) -> None:
        """Stop it, wherever it is; while a model loads, as soon as that is done."""
        self._cancelled.set()
        if isinstance(self.state, Loading):
            self._events.tell(Loading(_STOPPING))

    def wait(self, timeout: float | None = None) -> None:
        """Until its thread has ended, or `timeout` seconds are over."""
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        try:
            end = self._outcome()
        except BaseException as error:  # of a thread: nobody else would tell the visitor
            end = Failed(told(error))
        self._request = None  # and the sounds with it
        if isinstance(end, Failed):
            free_memory()  # what failed may have left cycles behind
        else:
            trim_memory()
        self.ended_at = time.monotonic()
        self._events.tell(end)

    def _outcome(self) -> Done | Failed | Stopped:
        """How it ends; whatever held memory on the way is gone then."""
        request = self._request
        assert request is not None
        title = f"music, {request.duration:g} s × {request.variants}"
        try:
            with self._queue.turn(title, self._cancelled, self._wait):
                wavs, sample_rate = self._make_or_release(request)
            return Done(self._keep(request, wavs, sample_rate))
        except Cancelled:
            return Stopped()
        except Exception as error:
            return Failed(told(error))

    def _wait(self, position: int) -> None:
        self._events.tell(Waiting(position))

    def _make_or_release(self, request: Request) -> "tuple[Tensor, int]":
        """As `_make`; without memory the model goes too, since the next job may be smaller."""
        try:
            return self._make(request)
        except Exception as error:
            if is_out_of_memory(error):
                self._shelf.release()
            raise

    def _make(self, request: Request) -> "tuple[Tensor, int]":
        """All variants [B, C, N] on the CPU, and their rate."""
        import torch

        model = self._shelf.take(request.model, request.adapters, self._load)
        self._check_cancelled()
        self._load("reading the request")
        pieces = []
        with closing(stream(model, request, self._progress())) as chunks:
            for i, chunk in enumerate(chunks):
                pieces.append(chunk.detach().float().cpu())
                self._events.add(Chunk(pieces[-1][0].clone(), model.sample_rate, i))
        return torch.cat(pieces, dim=-1), model.sample_rate

    def _load(self, note: str) -> None:
        self._events.tell(Loading(_STOPPING if self._cancelled.is_set() else note))

    def _progress(self) -> "Clock":
        return Clock(self._events.tell, self._check_cancelled, self.settings["duration"])

    def _check_cancelled(self) -> None:
        if self._cancelled.is_set():
            raise Cancelled

    def _keep(self, request: Request, wavs: "Tensor", sample_rate: int) -> list[Take]:
        """The takes of all variants, each with the settings that make it alone."""
        settings = request.as_settings()
        takes = []
        for i, wav in enumerate(wavs):
            own = settings | {"seed": request.seed + i, "variants": 1}
            takes.append(self._store.add(self.visitor, wav, sample_rate, own))
        return takes


class Clock:
    """The callback of MusicGen: tells the share and the seconds left, and lets a job be stopped.

    check raises where the job is not wanted any more. duration is of the music, in seconds.
    """

    def __init__(
        self, tell: Callable[[Progress], None], check: Callable[[], None], duration: float
    ) -> None:
        self._tell, self._check, self._duration = tell, check, duration
        self._first: tuple[float, int] | None = None  # when, and how far it was: a prompt is there
        self._told = -math.inf  # when

    def __call__(self, done: int, total: int) -> None:
        self._check()
        now = time.monotonic()
        if self._first is None:
            self._first = now, done
        if now - self._told < _TELL and done < total:
            return
        self._told = now
        begun, skipped = self._first
        made = done - skipped
        left = (now - begun) / made * (total - done) if made else None
        share = done / total
        note = f"{share * self._duration:.1f} of {self._duration:g} s"
        self._tell(Progress(share, left, note))


def stream(
    model: "MusicGen", request: Request, callback: Callable[[int, int], None]
) -> "Generator[Tensor, None, None]":
    """The music of all variants [B, C, n], piece by piece."""
    n = request.variants
    model.set_generation_params(
        top_k=request.top_k,
        top_p=request.top_p,
        temperature=request.temperature,
        cfg_coef=request.cfg_coef,
        duration=request.duration,
    )
    options: dict[str, Any] = {}
    if request.melody is not None:
        options |= {
            "melody_wavs": [request.melody.wav] * n,
            "melody_sample_rate": request.melody.sample_rate,
            "separator": request.melody_separator,
        }
    if request.prompt is not None:
        wav, rate = request.prompt.wav, request.prompt.sample_rate
        if request.prompt_duration is not None:
            wav = wav[:, : max(1, round(request.prompt_duration * rate))]
        options |= {"prompt": wav.expand(n, -1, -1), "prompt_sample_rate": rate}
    return model.generate_stream(
        [request.text] * n,
        _CHUNK,
        seeds=[request.seed + i for i in range(n)],
        negative_descriptions=request.negative_text or None,
        callback=callback,
        **options,
    )
