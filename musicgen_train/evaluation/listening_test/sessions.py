"""Who is at which trial: hands trials out under names that tell nothing, and takes ratings in."""

from __future__ import annotations

import math
import secrets
import sys
import threading
import unicodedata
from collections import OrderedDict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from musicgen_train.data.audio_file import AudioError
from musicgen_train.evaluation.listening_test.audio_store import AudioStore, StoredPrompt
from musicgen_train.evaluation.listening_test.questions import HIGHEST, LOWEST
from musicgen_train.evaluation.listening_test.ratings import Rating, RatingsFile, done_trials
from musicgen_train.evaluation.listening_test.trials import (
    LETTERS,
    ListeningTest,
    Prompt,
    Trial,
    plan,
)

HEARD_SHARE, HEARD_AT_MOST = 0.5, 10.0  # of a clip, and seconds, to be played before it is rated
LONGEST_NAME = 60
MOST_OFFERS = 1000  # trials that are open at once; the oldest is forgotten


class Refused(Exception):
    """An answer to the page that is no success; the listener reads the message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class Offer(NamedTuple):
    """A trial as a listener has it on the page."""

    id: str
    trial: Trial
    clip_ids: tuple[str, ...]  # in the order of trial.systems
    melody_id: str | None
    audio: StoredPrompt


class Sessions:
    """All listeners of one test."""

    def __init__(self, test: ListeningTest, store: AudioStore, ratings: RatingsFile) -> None:
        self.test, self.store, self.ratings = test, store, ratings
        self.broken: set[str] = set()  # prompts whose audio turned out to be unreadable
        self._offers: OrderedDict[str, Offer] = OrderedDict()  # by listener
        self._sounds: dict[str, tuple[Prompt, str | None]] = {}  # system, None: the melody
        self._lock = threading.Lock()

    def state(self, listener: str) -> dict[str, Any]:
        """Where a listener is, and the trial that is next; the same until it is rated."""
        done = done_trials(
            self.ratings.read().ratings, listener, self.test.systems, self.test.questions
        )
        while True:
            trials = [t for t in plan(self.test, listener) if t.prompt.name not in self.broken]
            open_trials = [t for t in trials if (t.prompt.name, t.repeat) not in done]
            progress = {
                "listener": listener,
                "done": len(trials) - len(open_trials),
                "total": len(trials),
            }
            if not open_trials:
                return {**progress, "trial": None}
            try:
                audio = self.store.get(open_trials[0].prompt)
            except AudioError as error:
                self.broken.add(open_trials[0].prompt.name)
                print(f"left out: {error}", file=sys.stderr)
                continue
            return {**progress, "trial": shown(self._offer(listener, open_trials[0], audio))}

    def take(self, listener: str, answer: dict[str, Any]) -> None:
        """Check and store the ratings of the trial that the listener has."""
        with self._lock:
            offer = self._offers.get(listener)
            if offer is None or answer.get("trial") != offer.id:
                raise Refused(409, "These ratings are stored already, or the test was restarted.")
            self.ratings.append(self._rows(listener, offer, answer))
            self._forget(listener)

    def sound(self, sound_id: str) -> Path:
        """The file of a clip or melody that is on somebody's page."""
        with self._lock:
            prompt, system = self._sounds.get(sound_id, (None, None))
        if prompt is None:
            raise Refused(404, "no such sound")
        audio = self.store.get(prompt)
        clip = audio.melody if system is None else audio.clips[system]
        assert clip is not None, f"no melody for {prompt.name}"
        return clip.path

    def _offer(self, listener: str, trial: Trial, audio: StoredPrompt) -> Offer:
        with self._lock:
            offer = self._offers.get(listener)
            if offer is not None and offer.trial == trial:
                return offer
            self._forget(listener)
            if len(self._offers) >= MOST_OFFERS:
                self._forget(next(iter(self._offers)))
            clip_ids = tuple(secrets.token_urlsafe(16) for _ in trial.systems)
            melody_id = secrets.token_urlsafe(16) if audio.melody else None
            offer = Offer(secrets.token_urlsafe(16), trial, clip_ids, melody_id, audio)
            self._offers[listener] = offer
            for clip_id, system in zip(clip_ids, trial.systems, strict=True):
                self._sounds[clip_id] = trial.prompt, system
            if melody_id:
                self._sounds[melody_id] = trial.prompt, None
            return offer

    def _forget(self, listener: str) -> None:
        offer = self._offers.pop(listener, None)
        if offer is not None:
            for sound_id in (*offer.clip_ids, offer.melody_id):
                self._sounds.pop(sound_id or "", None)

    def _rows(self, listener: str, offer: Offer, answer: dict[str, Any]) -> list[Rating]:
        """The answer as rows; Refused unless every clip was heard and rated for everything."""
        clips = [offer.audio.clips[system] for system in offer.trial.systems]
        heard = numbers(answer.get("heard"), len(clips))
        for letter, seconds, clip in zip(LETTERS, heard, clips, strict=False):
            if seconds < needed(clip.duration):
                raise Refused(400, f"Listen to clip {letter} before you rate it.")
        given = answer.get("ratings")
        if not isinstance(given, dict) or set(given) != set(self.test.questions):
            raise Refused(400, "Answer every question.")
        points = {question: checked_ratings(given[question], len(clips)) for question in given}
        (seconds,) = numbers([answer.get("seconds")], 1)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        trial = offer.trial
        return [
            Rating(
                listener, trial.number, trial.repeat, trial.prompt.name, system, question,
                points[question][i], i + 1, round(seconds, 1), round(heard[i], 1), now,
                clips[i].loudness, clips[i].digest, self.test.seed,
            )
            for question in self.test.questions
            for i, system in enumerate(trial.systems)
        ]  # fmt: skip


def shown(offer: Offer) -> dict[str, Any]:
    """What the page may know of a trial."""
    clips = [offer.audio.clips[system] for system in offer.trial.systems]
    melody = offer.audio.melody
    return {
        "id": offer.id,
        "text": offer.trial.prompt.text,
        "melody": None
        if melody is None
        else {"url": f"/audio/{offer.melody_id}", "duration": melody.duration},
        "clips": [
            {
                "letter": letter,
                "url": f"/audio/{clip_id}",
                "duration": clip.duration,
                "needed": needed(clip.duration),
            }
            for letter, clip_id, clip in zip(LETTERS, offer.clip_ids, clips, strict=False)
        ],
    }


def needed(duration: float) -> float:
    """Seconds of a clip that must be played before it can be rated."""
    return min(HEARD_SHARE * duration, HEARD_AT_MOST)


def listener_name(name: object) -> str:
    """A typed name as it is stored; without one, a random one that the browser keeps."""
    if not isinstance(name, str) or len(name) > 10 * LONGEST_NAME:
        raise Refused(400, "Type a name, or leave it empty.")
    plain = " ".join(unicodedata.normalize("NFC", name).split())
    if not plain:
        return f"anonymous-{secrets.token_hex(4)}"
    if len(plain) > LONGEST_NAME:
        raise Refused(400, f"Type a name of at most {LONGEST_NAME} letters.")
    if any(unicodedata.category(letter) in ("Cc", "Cs", "Cn") for letter in plain):
        raise Refused(400, "Type a name of letters and digits.")
    return plain


def numbers(values: object, n: int) -> list[float]:
    """`n` finite numbers that are not negative."""
    if not isinstance(values, list) or len(values) != n:
        raise Refused(400, "Listen to every clip.")
    for value in values:
        # A JSON integer may have more digits than any float.
        if type(value) not in (int, float) or not 0 <= value < 1e6 or not math.isfinite(value):
            raise Refused(400, "The page sent times that are none: reload it.")
    return [float(value) for value in values]


def checked_ratings(values: object, n: int) -> list[int]:
    """`n` whole numbers from 1 to 100."""
    if not isinstance(values, list) or len(values) != n:
        raise Refused(400, "Rate every clip.")
    for value in values:
        if type(value) is not int or not LOWEST <= value <= HIGHEST:
            raise Refused(400, f"Rate every clip from {LOWEST} to {HIGHEST}.")
    return values
