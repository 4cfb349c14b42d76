"""A tiny random model on disk, a fine-tuning of it, and adapters: what the page finds in runs."""

from pathlib import Path

import torch

from musicgen_train.formats import save_musicgen
from tests.adapters.small_adapters import trained, write
from tests.small_musicgen import tiny


def write_runs(root: Path) -> Path:
    """`root`/base is a model with text and melody; `root`/runs has its offspring.

    runs/tuned is another model of the same shape, runs/mine an adapter of the base, runs/other an
    adapter of runs/tuned; runs/codec holds no language model, runs/begun nothing whole.
    """
    model = tiny()
    save_musicgen(model, root / "base")
    runs = root / "runs"
    write(model.lm, trained(model.lm), runs / "mine" / "adapter")
    with torch.no_grad():
        for parameter in model.lm.parameters():
            parameter.mul_(1.1)
    save_musicgen(model, runs / "tuned" / "model")
    write(model.lm, trained(model.lm), runs / "other" / "adapter", name="other")
    for name, text in (("codec", '{"codec": {}}'), ("begun", "{")):
        folder = runs / name / "model"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(text)
    return root
