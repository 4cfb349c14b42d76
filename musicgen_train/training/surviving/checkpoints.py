"""What checkpoints carry, and whether a run can resume from one."""

import sys
from pathlib import Path
from typing import Any

import lightning as L
import torch
import yaml
from lightning.fabric.utilities.rank_zero import rank_zero_only

from musicgen_train.data.order import hash_of
from musicgen_train.errors import UserError, reason_of
from musicgen_train.training.surviving.checkpoint_files import check_metadata, is_whole, remove


class ConfigRecord(L.Callback):
    """Put the resolved configuration beside the run and into its checkpoints.

    The file is written when training starts, so that a run refused before leaves its name free.
    """

    def __init__(self, config: dict[str, Any], path: Path):
        self.config = config
        self.path = path

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.is_global_zero:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            temporary = self.path.with_name(self.path.name + ".part")
            temporary.write_text(yaml.safe_dump(self.config, sort_keys=False))
            temporary.replace(self.path)
            for logger in trainer.loggers:
                logger.log_hyperparams(self.config)

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint["config"] = self.config


class StepSeed(L.Callback):
    """Seed torch anew for every batch from (seed, batch, rank).

    Dropout and the revival of dead codes then repeat in a resumed run without any saved state.
    """

    def __init__(self, seed: int):
        self.seed = seed

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        # Rank 0 draws as a single process would: what it draws for all ranks stays the same.
        # Scattered, as CPU generators take the low half of a seed only.
        torch.manual_seed(hash_of(self.seed, batch_idx, trainer.global_rank) >> 1)


def newest_checkpoint(folder: Path) -> Path | None:
    """The undamaged checkpoint of the latest step; None if there is none.

    Damaged ones are named on stderr and passed over. What dead runs left half written is removed.
    """
    for path in folder.glob("*.part"):
        rank_zero_only(remove)(path)
    found: list[tuple[int, float, Path]] = []
    for path in sorted(folder.glob("*.ckpt")):
        if path.is_symlink():
            continue
        try:
            found.append((_read(path)["global_step"], path.stat().st_mtime, path))
        except Exception:  # whatever stumbles over damaged bytes
            _tell_damaged(path)
    for _, _, path in sorted(found, reverse=True):
        if is_whole(path):
            return path
        _tell_damaged(path)
    return None


def _tell_damaged(path: Path) -> None:
    rank_zero_only(print)(f"{path} is damaged: passed over", file=sys.stderr)


def check_resumable(path: Path, config: dict[str, Any], *, known_whole: bool = False) -> int:
    """The step of a checkpoint to resume from; one that is damaged or of another model is refused.

    What else is changed is printed.
    """
    if not path.exists():
        raise UserError(f"resume={path}: no such checkpoint")
    try:
        content = _read(path)
        theirs, step = content["config"], int(content["global_step"])
        their_task = theirs["task"]
        if not known_whole and not is_whole(path):
            raise ValueError("its checksums differ")
    except UserError as error:  # of a folder
        raise UserError(f"resume={error}") from None
    except Exception as error:
        raise UserError(
            f"resume={path} is no checkpoint of train.py, or a damaged one ({reason_of(error)}): "
            "take an earlier one, or the newest undamaged one of the run with resume=auto"
        ) from None
    if their_task.get("_target_") != config["task"]["_target_"]:
        kind = "codec" if "codec_module" in str(their_task.get("_target_")) else "language model"
        raise UserError(
            f"resume={path} is of a {kind}, and this run trains none: give one of its own"
        )
    for name, wanted in _fixed(config["task"]).items():
        if _fixed(their_task)[name] != wanted:
            raise UserError(
                f"resume={path} was trained with another {name} than this run's: resume with its "
                "own settings, or take its exported weights with init_from"
            )
    changed = changed_settings(theirs, config)
    if changed:
        rank_zero_only(print)(f"resume={path} goes on with changed settings: {', '.join(changed)}")
    return step


def _read(path: Path) -> dict[str, Any]:
    """All but the tensors of a checkpoint; those stay on disk."""
    if path.is_dir():
        check_metadata(path)
        path = path / "meta.pt"
    return torch.load(path, map_location="cpu", weights_only=True, mmap=True)


def changed_settings(theirs: dict[str, Any], ours: dict[str, Any]) -> list[str]:
    """`data.batch_size 8 -> 16` for each setting that differs, except what only names the run.

    A value that other settings take over is told once, where its name is shortest.
    """
    old, new = _flat(theirs), _flat(ours)
    told: dict[tuple[str, str, str], str] = {}
    for name in sorted(old.keys() | new.keys(), key=lambda name: (name.count("."), name)):
        before, after = (str(side.get(name, "absent")) for side in (old, new))
        renamed = before.replace(str(theirs.get("name")), str(ours.get("name"))) == after
        if before != after and not renamed and name.split(".")[0] not in _OF_THE_START:
            told.setdefault((name.split(".")[-1], before, after), name)
    return [f"{name} {before} -> {after}" for (_, before, after), name in told.items()]


_OF_THE_START = ("name", "resume", "init_from", "hydra")


def _flat(node: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted names."""
    if not isinstance(node, dict):
        return {prefix: node}
    return {
        name: value
        for key, inner in node.items()
        for name, value in _flat(inner, f"{prefix}.{key}" if prefix else str(key)).items()
    }


def _fixed(task: dict[str, Any]) -> dict[str, Any]:
    """What gives a checkpoint's tensors their meaning, and so cannot change on the way."""
    adversary = task.get("adversary") or {}
    adapter = task.get("adapter")
    return {
        **{name: task.get(name) for name in ("codec", "lm", "text_encoder", "chroma")},
        "set of losses": list(task.get("weights") or []),
        "discriminator": adversary.get("discriminator"),
        "adapter": adapter and {n: adapter.get(n) for n in ("kind", "rank", "alpha", "targets")},
        "choice about ema_decay": task.get("ema_decay") is None,
        "optimizer": (task.get("optimizer") or {}).get("_target_"),
    }
