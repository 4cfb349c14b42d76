"""What a visitor asks for in the Generate tab, checked before anything is computed."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from musicgen_train.arguments import number, shown
from musicgen_train.errors import UserError
from musicgen_train.generation_params import GenerationParams

if TYPE_CHECKING:
    from musicgen_train.app.model_facts import ModelFacts
    from musicgen_train.app.sounds import Sound

LONGEST_TEXT = 2000  # letters
LARGEST_SEED = 2**53 - 1  # a browser's numbers have no more digits
SEPARATORS = ("htdemucs",)  # names only: a path would be a file of the server


@dataclass(frozen=True)
class Limits:
    """What one visitor may ask of the server."""

    max_duration: float = 120.0  # seconds of music
    max_variants: int = 4
    max_upload_bytes: int = 100 * 10**6
    max_sound_duration: float = 600.0  # seconds of a melody or a prompt
    max_song_duration: float = 1800.0  # seconds of a song to fine-tune on
    max_songs: int = 500
    max_gathered_bytes: int = 10 * 10**9  # of all visitors' songs before their fine-tuning
    max_disk_bytes: int = 4 * 10**9  # of all visitors' takes
    max_takes: int = 50  # per visitor
    max_jobs: int = 8  # per visitor, waiting and running


@dataclass(frozen=True, kw_only=True)
class Request:
    """One press of Generate: `variants` pieces that differ in their seeds, seed + 0, 1, …

    model, adapters: labels of the `ModelShelf`; adapters with their weights. durations are seconds
    and those of the music include the prompt. prompt_duration: how much of the prompt is used,
    from its start; None for all of it. The numbers are those of `MusicGen.set_generation_params`.
    """

    model: str
    adapters: Mapping[str, float] = field(default_factory=dict)
    text: str = ""
    negative_text: str = ""
    melody: "Sound | None" = None
    melody_separator: str | None = None
    prompt: "Sound | None" = None
    prompt_duration: float | None = None
    duration: float = 8.0
    top_k: int = 250
    top_p: float = 0.0
    temperature: float = 1.0
    cfg_coef: float = 3.0
    seed: int = 0
    variants: int = 1

    def checked(self, limits: Limits, facts: "ModelFacts") -> None:
        """Refuse, in one line each, what the model cannot do or the server does not allow."""
        self._check_texts(facts)
        self._check_numbers(limits)
        self._check_sounds(facts)
        for label, weight in self.adapters.items():
            remedy = "give a number from -10 to 10"
            number(f"weight of {shown(label)}", weight, lambda w: abs(w) <= 10, remedy)

    def as_settings(self) -> dict[str, Any]:
        """As JSON: what a take embeds, and the form can be filled with. Sounds go by their names.

        A take's own seed is that of its variant, so that alone it is made again.
        """
        return {
            **vars(self),
            "adapters": dict(self.adapters),
            "melody": None if self.melody is None else self.melody.name,
            "prompt": None if self.prompt is None else self.prompt.name,
        }

    def _check_texts(self, facts: "ModelFacts") -> None:
        for name, text in (("text", self.text), ("negative text", self.negative_text)):
            _check_text(name, text)
            if text.strip() and not facts.takes_text:
                raise UserError(f"{self.model} takes no text: leave the {name} empty")

    def _check_numbers(self, limits: Limits) -> None:
        longest = limits.max_duration
        remedy = f"give more than 0 and at most {longest:g} s"
        number("duration", self.duration, lambda s: 0 < s <= longest, remedy, unit=" s")
        most = limits.max_variants
        remedy = f"give a whole number from 1 to {most}"
        number("variants", self.variants, lambda n: 1 <= n <= most, remedy, whole=True)
        remedy = f"give a whole number from 0 to {LARGEST_SEED - most}"
        number("seed", self.seed, lambda s: 0 <= s <= LARGEST_SEED - most, remedy, whole=True)
        GenerationParams(
            top_k=self.top_k,
            top_p=self.top_p,
            temperature=self.temperature,
            duration=self.duration,
            cfg_coef=self.cfg_coef,
        )

    def _check_sounds(self, facts: "ModelFacts") -> None:
        if self.melody is not None and not facts.takes_melody:
            raise UserError(f"{self.model} takes no melody: remove it, or choose a melody model")
        if self.melody_separator not in (None, *SEPARATORS):
            raise UserError(
                f"separator {shown(self.melody_separator)}: choose {', '.join(SEPARATORS)} or none"
            )
        if self.prompt is None:
            return
        used = self.prompt.duration
        if self.prompt_duration is not None:
            remedy = "give more than 0"
            given = self.prompt_duration
            used = min(used, number("prompt duration", given, lambda s: s > 0, remedy, unit=" s"))
        if used >= self.duration:
            raise UserError(
                f"the prompt lasts {used:g} s of a duration of {self.duration:g} s, which includes "
                "it: use less of the prompt, or set a longer duration"
            )


def _check_text(name: str, text: object) -> None:
    """Refuse what no text encoder, and no file's comment, can take."""
    if not isinstance(text, str):
        raise UserError(f"the {name} is {shown(text)}: give a text")
    if len(text) > LONGEST_TEXT:
        raise UserError(f"the {name} has {len(text)} letters: give at most {LONGEST_TEXT}")
    try:
        text.encode()
    except UnicodeEncodeError:  # half an emoji
        raise UserError(f"the {name} is not UTF-8: type it anew") from None


def random_seed() -> int:
    """A seed for a visitor who does not care; short enough to be read and typed again."""
    return secrets.randbelow(10**6)
