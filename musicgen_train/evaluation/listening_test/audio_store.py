"""Matched clips on disk: made when a listener comes to them, the oldest removed beyond a bound."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple

from musicgen_train.evaluation.listening_test.matched_audio import MatchedClip, match_clips
from musicgen_train.evaluation.listening_test.trials import Prompt

MELODY = "melody"
BOUND = 2_000_000_000  # bytes


class StoredClip(NamedTuple):
    """Where a matched clip lies, and what is known of it."""

    path: Path
    duration: float
    loudness: float | None
    digest: str


class StoredPrompt(NamedTuple):
    """The matched clips of one prompt."""

    clips: dict[str, StoredClip]  # by system
    melody: StoredClip | None

    @property
    def n_bytes(self) -> int:
        """What they take on disk."""
        return sum(clip.path.stat().st_size for clip in self._all())

    def remove(self) -> None:
        """Take them off the disk; who plays one keeps the open file."""
        for clip in self._all():
            clip.path.unlink(missing_ok=True)

    def _all(self) -> list[StoredClip]:
        return [*self.clips.values(), *([self.melody] if self.melody else [])]


class AudioStore:
    """The clips of the prompts that were asked for last, in a folder, within a number of bytes."""

    def __init__(self, folder: Path, bound: int = BOUND) -> None:
        self.folder, self.bound = folder, bound
        self._stored: OrderedDict[str, StoredPrompt] = OrderedDict()
        self._sizes: dict[str, int] = {}
        self._lock = threading.Lock()

    def get(self, prompt: Prompt) -> StoredPrompt:
        """The clips of a prompt, matched now if they are not there; AudioError if one is broken."""
        with self._lock:
            if prompt.name not in self._stored:
                self._stored[prompt.name] = self._make(prompt)
                self._sizes[prompt.name] = self._stored[prompt.name].n_bytes
            self._stored.move_to_end(prompt.name)
            while len(self._stored) > 1 and sum(self._sizes.values()) > self.bound:
                oldest, clips = self._stored.popitem(last=False)
                clips.remove()
                del self._sizes[oldest]
            return self._stored[prompt.name]

    def _make(self, prompt: Prompt) -> StoredPrompt:
        matched = match_clips(list(prompt.clips.values()))
        clips = {
            system: self._write(clip) for system, clip in zip(prompt.clips, matched, strict=True)
        }
        melody = None if prompt.melody is None else self._write(*match_clips([prompt.melody]))
        return StoredPrompt(clips, melody)

    def _write(self, clip: MatchedClip) -> StoredClip:
        path = self.folder / f"{secrets.token_hex(16)}.wav"  # the digest may be another's too
        path.write_bytes(clip.wav_file)
        return StoredClip(path, clip.duration, clip.loudness, clip.digest)
