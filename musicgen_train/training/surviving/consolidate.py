"""Sharded checkpoints as one file: `python -m musicgen_train.training.surviving.consolidate -h`."""

import argparse
import re
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.default_planner import _EmptyStateDictLoadPlanner
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.state_dict_loader import _load_state_dict

from musicgen_train.errors import UserError, exit_on_user_error
from musicgen_train.training.surviving.checkpoint_files import check_metadata, is_whole, write_whole


def parser() -> argparse.ArgumentParser:
    """Two paths."""
    p = argparse.ArgumentParser(
        prog="python -m musicgen_train.training.surviving.consolidate",
        description="Turn a checkpoint folder of a sharded run (trainer=fsdp) into one file, which "
        "resumes on one device, and which evaluate.py, export and generate take.",
    )
    p.add_argument("folder", type=Path, help="runs/NAME/checkpoints/step=….ckpt of such a run")
    p.add_argument("file", type=Path, help="the checkpoint to write, *.ckpt")
    return p


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    """Convert and say what was written."""
    args = parser().parse_args(argv)
    if not args.folder.is_dir():
        raise UserError(f"{args.folder} is no folder: give a checkpoint of a sharded run")
    if args.file.exists():
        raise UserError(f"{args.file} exists already: choose another name")
    write_whole(consolidated(args.folder), args.file)
    print(f"checkpoint: {args.file}")


def consolidated(folder: Path) -> dict[str, Any]:
    """The content of a sharded checkpoint, all of it in memory, laid out as in a single file.

    Lightning's own consolidation looks for weights under another name, leaves the optimizer's
    states under the names of parameters, where torch's optimizers want numbers, and opens pickles
    without restriction.
    """
    check_metadata(folder)  # and every value that is opened below
    if not is_whole(folder):
        raise UserError(f"{folder} is damaged: take an earlier one")
    content: dict[str, Any] = {}
    _load_state_dict(
        content,
        storage_reader=FileSystemReader(folder),
        planner=_EmptyStateDictLoadPlanner(),
        no_dist=True,
    )
    optimizers = sorted(
        (name for name in content if re.fullmatch(r"optimizer_\d+", name)),
        key=lambda name: int(name.removeprefix("optimizer_")),
    )
    return {
        **torch.load(folder / "meta.pt", map_location="cpu", weights_only=True),
        "state_dict": content["state_dict"],
        "optimizer_states": [_numbered(content[name]) for name in optimizers],
    }


def _numbered(state: dict[str, Any]) -> dict[str, Any]:
    """An optimizer's state by the place of each parameter in its groups, not by its name."""
    names = [name for group in state["param_groups"] for name in group["params"]]
    places = {name: place for place, name in enumerate(names)}
    assert len(places) == len(names), names
    return {
        "state": {places[name]: values for name, values in state["state"].items()},
        "param_groups": [
            {**group, "params": [places[name] for name in group["params"]]}
            for group in state["param_groups"]
        ],
    }


if __name__ == "__main__":
    main()
