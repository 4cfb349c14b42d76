"""The commands that make music with what came of it."""

import shlex

from recipes.finetuning.captions import read_captions, with_trigger
from recipes.finetuning.stage import Work

GENERATE = "python -m musicgen_train.generate"


def commands(work: Work) -> list[tuple[str, str]]:
    """What a command does, and the command."""
    text = shlex.quote(example(work))
    duration = f"--duration {work.expected.segment_duration:g} --output songs"
    model = shlex.quote(str(work.run / "model"))
    found = [("With the merged model", f"{GENERATE} --checkpoint {model} --text {text} {duration}")]
    if work.settings.method != "full":
        base, adapter = work.settings.base, f"{work.run / 'adapter'}=1.0"
        found.append((
            "With the adapter on its base; 0.5 takes half of it, another --adapter mixes",
            f"{GENERATE} --checkpoint {shlex.quote(base)} --adapter {shlex.quote(adapter)} "
            f"--text {text} {duration}",
        ))  # fmt: skip
    return found


def example(work: Work) -> str:
    """A text in the manner of the songs."""
    captions = read_captions(work.run.captions)
    caption = next((c.text for _, c in sorted(captions.items()) if c.text), "music")
    return with_trigger(work.settings.trigger, caption)
