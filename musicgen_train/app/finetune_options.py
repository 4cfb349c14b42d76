"""What a visitor may ask of a fine-tuning, and the words that the recipe is given for it."""

import unicodedata
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from musicgen_train.app.untrusted_files import as_mapping
from musicgen_train.arguments import number, shown
from musicgen_train.errors import UserError

METHODS = ("lora", "dora", "full")
SEPARATORS = ("auto", "demucs", "none")  # stems would need files that name other files
PRESETS = ("cpu", "gpu8", "gpu16", "gpu24", "gpu80")
Goal = Literal["estimate", "captions", "all"]
GOALS: tuple[Goal, ...] = ("estimate", "captions", "all")
LONGEST_TRIGGER = 100  # letters
_WHOLE = {  # least and most
    "steps": (1, 100_000), "batch_size": (1, 1024), "rank": (1, 1024), "held_out": (0, 500),
    "clips": (1, 256), "seed": (0, 2**31 - 1),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class FinetuneOptions:
    """The keys of the recipe that the page offers; None leaves one to the recipe.

    base: a label of the `ModelShelf`. goal: only say what it would take; or only get the songs
    ready and write their captions, to be edited; or everything. A later start with another goal
    goes on from what is done.
    """

    base: str = "tiny"
    trigger: str = ""
    method: str = "lora"
    separator: str = "auto"
    goal: Goal = "all"
    preset: str | None = None
    steps: int | None = None
    batch_size: int | None = None
    lr: float | None = None
    rank: int | None = None
    prior_share: float | None = None
    held_out: int | None = None
    clips: int | None = None
    seed: int = 0

    def checked(self) -> None:
        """Refuse, in one line each, what the recipe would refuse when it has begun."""
        _check_choices(self)
        _check_trigger(self.trigger)
        for name, (least, most) in _WHOLE.items():
            if (value := getattr(self, name)) is not None:
                remedy = f"give a whole number from {least} to {most}"
                number(name, value, lambda n, a=least, b=most: a <= n <= b, remedy, whole=True)
        if self.lr is not None:
            number("lr", self.lr, lambda v: 0 < v <= 1, "give more than 0 and at most 1")
        if self.prior_share is not None:
            remedy = "give 0, or from 0.001 to 0.9"
            number("prior_share", self.prior_share, _is_share, remedy)

    def words(self) -> list[str]:
        """`key=value` arguments of the recipe, but for the base.

        A word can set no other key: the recipe takes a trigger as it stands and quotes it itself,
        and what else there is are names of lists and numbers.
        """
        self.checked()
        given = asdict(self)
        found = [f"trigger={' '.join(self.trigger.split())}"] if self.trigger.strip() else []
        for name in ("method", "separator", "preset", *_WHOLE, "lr", "prior_share"):
            if given[name] is not None:
                found.append(f"{name}={given[name]}")
        if self.goal == "estimate":
            found.append("estimate=true")
        if self.goal == "captions":
            found.append("stage=[prepare,tokenize,captions]")
        return found

    def as_settings(self) -> dict[str, Any]:
        """As JSON, to be shown and to be resumed with."""
        return asdict(self)


def read_options(settings: object) -> FinetuneOptions | None:
    """The options of a record that nobody vouches for; None if they are none."""
    given, known = as_mapping(settings), {field.name for field in fields(FinetuneOptions)}
    if not given or not given.keys() <= known:
        return None
    try:
        options = FinetuneOptions(**given)
        options.checked()
    except (UserError, TypeError):
        return None
    return options


def _check_choices(options: FinetuneOptions) -> None:
    choices = {
        "method": METHODS, "separator": SEPARATORS, "goal": GOALS, "preset": (None, *PRESETS),
    }  # fmt: skip
    for name, known in choices.items():
        value = getattr(options, name)
        if not isinstance(value, str | None) or value not in known:
            allowed = ", ".join(choice for choice in known if choice)
            raise UserError(f"{name} {shown(value)}: choose one of {allowed}")
    if not isinstance(options.base, str) or not options.base:
        raise UserError("the base is missing: choose a model")


def _check_trigger(trigger: object) -> None:
    """Refuse what the recipe would, and a word that it would not take as it stands."""
    if not isinstance(trigger, str):
        raise UserError(f"the trigger is {shown(trigger)}: give some words, or none")
    text = " ".join(trigger.split())
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text):
        raise UserError("the trigger holds control characters: type it anew")
    if len(text) > LONGEST_TRIGGER:
        raise UserError(
            f"the trigger has {len(text)} letters: a few words are enough, {LONGEST_TRIGGER} the "
            "most"
        )
    if text in ("null", "???") or "${" in text:
        raise UserError(f"the trigger {text} means something else to the recipe: use other words")


def _is_share(value: float) -> bool:
    return value == 0 or 0.001 <= value <= 0.9
