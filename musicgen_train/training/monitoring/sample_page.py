"""The page that plays a run's samples: prompts below each other, steps side by side."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from musicgen_train.whole_files import replacing

ORIGINAL = "original"  # folder of the validation samples themselves


class PagePrompt(NamedTuple):
    """A row of the page."""

    key: str
    text: str
    melody: bool


def write_page(folder: Path, prompts: Sequence[PagePrompt], max_steps: int) -> Path:
    """Write `folder`/index.html of all step_N folders in it, those of earlier runs included."""
    import jinja2

    steps = sorted(int(path.name[5:]) for path in folder.glob("step_*") if path.name[5:].isdigit())
    columns = [(ORIGINAL, "original")] if (folder / ORIGINAL).exists() else []
    columns += [(f"step_{step}", f"step {step:,}".replace(",", " ")) for step in steps]
    rows = [
        (prompt, [(name, title, _has(folder / name, prompt.key)) for name, title in columns])
        for prompt in prompts
    ]
    template = files("musicgen_train.training.monitoring").joinpath("templates/samples.html.jinja")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(template.read_text(encoding="utf-8")).render(
        rows=rows, n_steps=len(steps), last=steps[-1] if steps else 0, max_steps=max_steps,
        run=folder.resolve().parent.name,
    )  # fmt: skip
    path = folder / "index.html"
    with replacing(path) as partial:
        partial.write_text(page, encoding="utf-8")
    return path


def _has(folder: Path, key: str) -> bool:
    return (folder / f"{key}.flac").exists()
