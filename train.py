"""Train a codec or a language model: compose the configuration, instantiate it, fit, export.

python train.py experiment=NAME [key=value …]      conf/experiment lists the names
"""

import logging
import os
import sys
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf

from musicgen_train.errors import UserError, exit_on_user_error

CONF = Path(__file__).parent / "conf"


def check_choices(overrides: list[str]) -> None:
    """Refuse an unknown `experiment=NAME`, `optim=NAME`, … in one line: Hydra takes ten."""
    folders = [CONF, *config_dirs(overrides)]
    for override in overrides:
        group, _, name = override.partition("=")
        known = sorted(path.stem for conf in folders for path in (conf / group).glob("*.yaml"))
        chosen = name.strip("[]").split(",") if name != "null" else []
        for choice in (choice.strip() for choice in chosen):
            if known and group.isidentifier() and choice not in known:
                raise UserError(f"unknown {group} {choice!r}: choose one of {', '.join(known)}")


def config_dirs(arguments: list[str]) -> list[Path]:
    """Folders that the user adds to conf: `--config-dir FOLDER`, or with `=` between."""
    words = [word for argument in arguments for word in argument.split("--config-dir=", 1)]
    return [Path(b) for a, b in pairwise(words) if a in ("", "--config-dir")]


def is_first_rank() -> bool:
    """Whether this process is rank 0 of torchrun, of Lightning's launcher or of SLURM."""
    environ = os.environ
    if "RANK" in environ:
        return environ["RANK"] == "0"
    if "LOCAL_RANK" in environ or "NODE_RANK" in environ:
        return environ.get("LOCAL_RANK", "0") == environ.get("NODE_RANK", "0") == "0"
    return environ.get("SLURM_PROCID", "0") == "0"


def check_run(cfg: DictConfig) -> Path:
    """Return the run directory; refuse missing keys, and a run that exists unless resuming."""
    run_dir = Path("runs") / str(cfg.name)
    missing = sorted(OmegaConf.missing_keys(cfg))
    if missing:
        raise UserError(f"{missing[0]} is missing: give {missing[0]}=…")
    # Another rank may find what the first has just written.
    if cfg.resume is None and is_first_rank() and (run_dir / "config.yaml").exists():
        raise UserError(f"{run_dir} exists already: choose another name=…, or resume=auto")
    return run_dir


def codec_identity(cfg: DictConfig) -> dict[str, str]:
    """What ties a language model's codes to their codec; empty when the codec itself is trained."""
    if cfg.data.kind != "codes":
        return {}
    if cfg.codec_path is None:
        raise UserError("codec_path is missing: name the codec folder that made the codes")
    from musicgen_train.formats import load_codec

    return {"codec_identity": load_codec(cfg.codec_path).identity()}


def build(node: DictConfig, **arguments: Any) -> Any:
    """Instantiate a part of the configuration; values that do not fit are the user's to mend."""
    from hydra.errors import InstantiationException
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    try:
        return hydra.utils.instantiate(node, **arguments)
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        if isinstance(error.__cause__, ValueError | TypeError | MisconfigurationException):
            raise UserError(f"configuration: {error.__cause__}") from None
        raise


def quiet() -> None:
    """Keep Lightning's tips, and warnings about deliberate choices, off the screen."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
    # The schedule also runs while the discriminator waits.
    warnings.filterwarnings("ignore", message="Detected call of .lr_scheduler.step")
    # That of a resumed run is not.
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")


def estimate(task: Any, datamodule: Any, trainer: Any, done: int) -> None:
    """Print what a step will take and what the data lack; refuse a batch that does not fit."""
    from musicgen_train.training.estimating.run_estimate import check_fit, estimate_run

    expected = estimate_run(task, datamodule, trainer, done)
    if trainer.is_global_zero:
        ranks = trainer.num_devices * trainer.num_nodes
        step_samples = datamodule.batch_size * trainer.accumulate_grad_batches * ranks
        print(expected, *datamodule.remarks(step_samples), sep="\n", flush=True)
    check_fit(expected, task, datamodule, trainer)


def check_layout(resume: Path | None, trainer: Any) -> None:
    """Refuse to resume one process, or whole copies of a model, from a sharded checkpoint."""
    from musicgen_train.training.sharding import FullySharded

    folder = resume is not None and resume.is_dir()
    if folder and not isinstance(trainer.strategy, FullySharded):
        raise UserError(
            f"resume={resume} is sharded: add trainer=fsdp, or make one file of it: "
            f"python -m musicgen_train.training.surviving.consolidate {resume} one.ckpt"
        )


def resume_point(cfg: DictConfig, config: Any, run_dir: Path) -> tuple[Path | None, int]:
    """The checkpoint to go on from, if any, and the steps that it has made."""
    from musicgen_train.training.surviving.checkpoints import check_resumable, newest_checkpoint

    auto = cfg.resume == "auto"
    path = newest_checkpoint(run_dir / "checkpoints") if auto else cfg.resume
    if path is None:
        return None, 0
    return Path(path), check_resumable(Path(path), config, known_whole=auto)


def check_parts(cfg: DictConfig, config: Any) -> None:
    """Refuse numbers, a codec's shape, an optimizer or a schedule that cannot be."""
    from musicgen_train.formats.codec_building import check_codec_config
    from musicgen_train.training.optimizers import try_out

    if cfg.num_threads is not None and cfg.num_threads < 1:
        raise UserError(f"num_threads={cfg.num_threads}: use 1 or more, or null for torch's choice")
    for name in ("accumulate_grad_batches", "val_check_interval"):
        if not cfg.trainer[name] > 0:
            raise UserError(f"trainer.{name}={cfg.trainer[name]}: use more than 0")
    if cfg.task.get("adapter") is not None and not cfg.init_from:
        raise UserError("task.adapter is of a model: give init_from=… (small, a folder, …) too")
    if cfg.task.get("decoder_only") and not cfg.init_from:
        raise UserError("task.decoder_only keeps a codec's codes: give init_from=… (a folder) too")
    codec = config["codec"].get("mono", config["codec"])  # a stereo codec is a mono one
    shape = {name: value for name, value in codec.items() if name != "_target_"}
    check_codec_config(shape, CONF / "codec", {})
    try_out(build(cfg.optim, _convert_="all"), build(cfg.schedule))


def build_trainer(cfg: DictConfig, config: Any, run_dir: Path) -> Any:
    """The trainer with its callbacks, the clock first: the others read it."""
    from musicgen_train.training.monitoring.step_clock import StepClock
    from musicgen_train.training.surviving.checkpoints import ConfigRecord, StepSeed
    from musicgen_train.training.surviving.configured_options import ConfiguredOptions
    from musicgen_train.training.surviving.run_lock import RunLock

    callbacks = [StepClock(), *(build(c) for c in cfg.callbacks.values() if c is not None)]
    callbacks += [ConfigRecord(config, run_dir / "config.yaml"), StepSeed(cfg.seed)]
    callbacks += [ConfiguredOptions(), RunLock(run_dir)]
    loggers = [build(node) for node in cfg.logger.values() if node is not None]
    # Lightning counts batches: a validation between those of one step would also be a place to
    # save at, without the gradients so far.
    interval = cfg.trainer.val_check_interval * cfg.trainer.accumulate_grad_batches
    return build(cfg.trainer, callbacks=callbacks, logger=loggers, val_check_interval=interval)


def take_weights(cfg: DictConfig, task: Any, trainer: Any, resume: Path | None) -> None:
    """Start from the weights of another model, and show what was taken."""
    if not cfg.init_from:
        return
    if cfg.task.get("adapter") is not None and resume is not None:
        task.init_from(cfg.init_from)  # no checkpoint of an adapter holds its base
    elif resume is None:
        report = task.init_from(cfg.init_from)
        if trainer.is_global_zero:
            report.show(cfg.init_from)
    elif trainer.is_global_zero:
        print(f"init_from {cfg.init_from} is not read: {resume} has all weights")


def run(cfg: DictConfig) -> None:
    """Fit the configured task and write its model as a native folder."""
    run_dir = check_run(cfg)

    import lightning as L
    import torch

    from musicgen_train.training.freed_memory import keep_freed_memory
    from musicgen_train.training.surviving.checkpoint_files import full_disk_is_told
    from musicgen_train.training.surviving.lost_rank import lost_rank_is_told

    quiet()
    config: Any = OmegaConf.to_container(cfg, resolve=True)
    resume, done = resume_point(cfg, config, run_dir)
    check_parts(cfg, config)
    if cfg.num_threads:
        torch.set_num_threads(cfg.num_threads)
    L.seed_everything(cfg.seed, verbose=False)
    datamodule = build(cfg.data, **codec_identity(cfg))
    task = build(cfg.task)
    trainer = build_trainer(cfg, config, run_dir)
    if trainer.strategy.root_device.type == "cpu":
        keep_freed_memory()
    check_layout(resume, trainer)
    task.check(datamodule, trainer)
    take_weights(cfg, task, trainer, resume)
    estimate(task, datamodule, trainer, done)
    with full_disk_is_told(run_dir), lost_rank_is_told(trainer):
        trainer.fit(task, datamodule, ckpt_path=resume, weights_only=True)
        task.export(run_dir / "model")
    if trainer.is_global_zero:
        print(f"model: {run_dir / 'model'}")
        if cfg.task.get("adapter") is not None:
            print(f"adapter: {run_dir / 'adapter'}")


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
@exit_on_user_error
def main(cfg: Any) -> None:
    run(cfg)


if __name__ == "__main__":
    exit_on_user_error(check_choices)(sys.argv[1:])
    main()
