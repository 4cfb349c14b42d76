"""The events of one job, told to any number of followers, also those who come late."""

import threading
from collections.abc import Iterator

from musicgen_train.app.events import ENDS, Chunk, Event, State, Waiting


class Broadcast:
    """The present state, and the chunks until the end; safe to use from any thread."""

    def __init__(self) -> None:
        self._state: State = Waiting(0)
        self._chunks: list[Chunk] = []
        self._changed = threading.Condition()

    @property
    def state(self) -> State:
        """What was told last."""
        return self._state

    @property
    def ended(self) -> bool:
        """Whether that is the end."""
        return isinstance(self._state, ENDS)

    def tell(self, state: State) -> None:
        """Put another state in the place of the present one; after an end nothing changes any more.

        At the end the chunks are forgotten, but by those who are following.
        """
        with self._changed:
            if self.ended:
                return
            self._state = state
            if self.ended:
                self._chunks = []
            self._changed.notify_all()

    def add(self, chunk: Chunk) -> None:
        """The next chunk."""
        with self._changed:
            assert chunk.index == len(self._chunks), (chunk.index, len(self._chunks))
            self._chunks.append(chunk)
            self._changed.notify_all()

    def follow(self, after: int, beat: float) -> Iterator[Event]:
        """The state, the chunks from number `after` on, and so on to the end.

        States that come faster than a follower asks are left out; chunks never are. The state is
        told again after `beat` seconds without anything new.
        """
        chunks, sent, told = self._chunks, max(0, after), None
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda sent=sent, told=told: len(chunks) > sent or self._state is not told,
                    timeout=beat,
                )
                fresh, state = chunks[sent:], self._state
            yield from fresh
            sent += len(fresh)
            if state is not told or not fresh:
                yield state
            if isinstance(state, ENDS):
                return
            told = state
