"""What is taken away: the merged model, the adapter, and transformers' layout where it can be."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from musicgen_train.errors import UserError
from recipes.finetuning.commands import show
from recipes.finetuning.run_folder import remove, whole_folder
from recipes.finetuning.stage import Stage, Work


def settings_of(work: Work) -> dict[str, Any]:
    return {"method": work.settings.method}


def run(work: Work) -> dict[str, Any]:
    work.base.release()
    source, refused = work.run / "training/model", ""
    licence = ["--licence", work.base.licence] if work.base.licence else []
    write_layout(source, work.run / "model", "native", licence)
    # transformers has no layout for a melody that is added to the steps: its texts alone, then.
    summed = work.base.chroma is not None and work.base.lm["fuse_chroma"] == "sum"
    more = ["--without-melody"] if summed else []
    try:
        write_layout(source, work.run / "transformers", "transformers", [*licence, *more])
    except UserError as error:
        refused = str(error)
        print(f"not written for transformers: {refused}")
    adapter = work.run / "training/adapter"
    if work.settings.method != "full":
        with whole_folder(work.run / "adapter") as folder:
            shutil.copytree(adapter, folder, dirs_exist_ok=True)
        print(f"adapter: {work.run / 'adapter'}")
    return {"model": work.results["train"]["model"], "not_for_transformers": refused}


def write_layout(source: Path, target: Path, layout: str, more: Sequence[str] = ()) -> None:
    """As `python -m musicgen_train.export` does, which checks what it wrote."""
    from musicgen_train import export

    words = [str(source), str(target), "--format", layout, *more]
    show(f"python -m musicgen_train.export {shlex.join(words)}")
    arguments = export.parser().parse_args(words)
    remove(target)
    for unfinished in target.parent.glob(f".{target.name}.*"):  # of a run that was killed
        remove(unfinished)
    with export.exiting_on_sigterm(), export.appearing(target) as folder:
        _, remarks = export.export(arguments, folder)
    for remark in remarks:
        print(f"  {remark}")


STAGE = Stage(
    "export", "Writing the model", ("train",), ("model",), settings_of, run,
    leftovers=("transformers", "adapter"),
)  # fmt: skip
