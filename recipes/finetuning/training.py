"""Training the base on the songs, mixed with the base's own music; train.py does it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import yaml

from musicgen_train.errors import UserError
from musicgen_train.whole_files import write_json, write_text
from recipes.finetuning.base import Base, training_parts
from recipes.finetuning.command_line import quoted
from recipes.finetuning.commands import as_word, show
from recipes.finetuning.plan import Plan
from recipes.finetuning.prompts import captions_of
from recipes.finetuning.settings import Settings, is_configuration
from recipes.finetuning.stage import Stage, Work

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENT = "conf/experiment/run.yaml"  # in the run's folder
TEXTS = "training_texts.json"  # of what is listened to while it trains
LISTENED = 4  # texts on a GPU; one on a CPU
SLOW = 5e7  # parameters of a model that takes minutes for a clip on a CPU
OWN = (
    "name", "experiment", "resume", "init_from", "codec_path", "seed", "max_steps", "codec",
    "model", "data.path", "task.name", "task.adapter", "callbacks.status",
)  # fmt: skip


def settings_of(work: Work) -> dict[str, Any]:
    """All of the configuration but where its files lie."""
    plan = work.plan()
    shape = {name: getattr(plan, name) for name in (
        "batch_size", "accumulate", "steps", "warmup_steps", "lr", "precision", "recompute",
    )}  # fmt: skip
    adapter = None if work.settings.method == "full" else adapter_of(work.settings, plan, work.base)
    return {
        "base": work.base.identity,
        "method": work.settings.method,
        **shape,
        "adapter": adapter,
        "prior_share": work.settings.prior_share,
        "seed": work.settings.seed,
        "train": work.settings.train,
    }


def run(work: Work) -> dict[str, Any]:
    plan = work.plan()
    write_experiment(work, plan)
    write_json(work.run / TEXTS, {"texts": sample_texts(work)})
    conf, more = work.run / "conf", extra(work.settings.train)
    words = [as_word(name, value) for name, value in more.items()]
    command = f"python train.py --config-dir {conf} experiment=[finetune,run] resume=auto"
    show(" ".join([command, *words]))
    work.base.release()
    place = quoted(f"file://{conf.resolve()}")
    train([f"hydra.searchpath=[{place}]", "experiment=[finetune,run]", "resume=auto",
           *hydra_words(more)])  # fmt: skip
    return {"model": digest_of(work.run / "training/model/model.safetensors")}


def composed(overrides: list[str]) -> Any:
    """train.py's configuration; UserError for keys that it has not."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException

    GlobalHydra.instance().clear()  # that of this command, which has done its work
    try:
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            return compose("train", overrides)
    except HydraException as error:
        reason = " ".join(str(error).split("\n")[0].split())
        raise UserError(f"train.KEY=…: {reason} (the keys are those of train.py)") from None


def check_training(settings: Settings, plan: Plan, base: Base) -> None:
    """Refuse keys that train.py lacks, and an adapter that cannot be, before hours are spent."""
    from musicgen_train.adapters.injection import check_adaptable
    from musicgen_train.training.adapter_training import adapter_training

    if settings.trigger and not base.lm["text_dim"]:
        raise UserError(f"trigger: base={base.name} reads no text; leave it out")
    for name in extra(settings.train):
        if any(f"{name}.".startswith(f"{own}.") for own in OWN):
            raise UserError(f"train.{name}: the recipe sets it; leave it out")
    if settings.train.get("trainer") in ("ddp", "fsdp"):
        raise UserError(
            "train.trainer: the recipe trains on one GPU; for more of them run its stages up to "
            "prior, and then the training with the command that it prints and trainer=ddp"
        )
    if settings.train:
        composed(["experiment=[finetune]", *hydra_words(extra(settings.train))])
    if settings.method != "full":
        adapter_training(adapter_of(settings, plan, base))
        check_adaptable(base.model.lm, kind=settings.method, targets=settings.targets)


def train(overrides: list[str]) -> None:
    """train.py in this process."""
    import train as entry

    cfg = composed(overrides)
    try:
        entry.run(cfg)
    except UserError as error:
        advises = "data.batch_size" in str(error) or "task.recompute" in str(error)
        raise UserError(f"{error}{ADVICE if advises else ''}") from None


ADVICE = " (here with train. in front of each of these keys)"


def write_experiment(work: Work, plan: Plan) -> None:
    """The record of the training: what the base is, and what follows from the songs."""
    content = yaml.safe_dump(experiment(work, plan), sort_keys=False, allow_unicode=True)
    write_text(
        work.run / EXPERIMENT, f"# @package _global_\n# Written by recipes/finetune.py.\n{content}"
    )


def experiment(work: Work, plan: Plan) -> dict[str, Any]:
    """The sections of train.py's configuration that are this run's own."""
    settings, run = work.settings, work.run
    sources = {str(run / "codes"): round(1 - settings.prior_share, 6)}
    if plan.prior_clips:
        sources[str(run / "prior")] = settings.prior_share
    on_gpu = work.device.kind == "cuda"
    texts = sample_texts(work)
    listening = {"every_n_steps": max(1, plan.steps // 4), "prompts": texts} if texts else None
    parts = training_parts(work.base)
    task: dict[str, Any] = {
        "name": settings.name, "max_duration": work.base.max_duration,
        "recompute": plan.recompute,
    }  # fmt: skip
    if settings.method != "full":
        task["adapter"] = adapter_of(work.settings, plan, work.base)
    return {
        "defaults": [{"override /trainer": "gpu" if on_gpu else "cpu"}],
        "name": f"{settings.name}/training",
        "seed": settings.seed,
        "max_steps": plan.steps,
        "init_from": settings.base,
        "codec_path": str(run / "codec"),
        **parts,
        "data": {"path": sources, "batch_size": plan.batch_size},
        "optim": {"lr": plan.lr},
        "schedule": {"warmup_steps": plan.warmup_steps},
        "task": task,
        "trainer": {
            **({"devices": 1} if on_gpu else {}),
            "accumulate_grad_batches": plan.accumulate,
            "val_check_interval": max(1, plan.steps // 4),
            "log_every_n_steps": max(1, plan.steps // 100),
        },
        "callbacks": {
            "checkpoint": {"every_n_train_steps": max(10, plan.steps // 12)},
            "samples": listening,
            "status": {"path": str(run.status)},
        },
    }


def sample_texts(work: Work) -> list[str]:
    """What the model is asked for while it trains: captions, of songs that it does not see first.

    None where a clip would take longer than it tells. They go through the configuration.
    """
    if work.device.kind == "cpu" and work.base.n_parameters > SLOW:
        return []
    songs = captions_of(work.run / "codes", work.results["captions"]["held_out"])
    texts = list(dict.fromkeys(text for _, text, _ in songs if not is_configuration(text)))
    return texts[: LISTENED if work.device.kind == "cuda" else 1]


def adapter_of(settings: Settings, plan: Plan, base: Base) -> dict[str, Any]:
    """The settings task.adapter."""
    chosen = {
        "kind": settings.method, "rank": plan.rank, "alpha": plan.alpha,
        "dropout": settings.adapter_dropout,
    }  # fmt: skip
    chosen |= {"trigger": settings.trigger} if settings.trigger else {}
    chosen |= {"licence": base.licence} if base.licence else {}
    return chosen | ({"targets": settings.targets} if settings.targets is not None else {})


def extra(train: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The user's own keys of train.py, with dots."""
    found: dict[str, Any] = {}
    for key, value in train.items():
        if isinstance(value, dict):
            found |= extra(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found


def hydra_words(more: dict[str, Any]) -> list[str]:
    """`key=value` in Hydra's grammar, which is JSON's but for texts."""
    return [
        f"{name}={quoted(value) if isinstance(value, str) else json.dumps(value)}"
        for name, value in more.items()
    ]


def digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


STAGE = Stage(
    "train", "Training", ("captions", "prior"), ("training/model",), settings_of, run,
    leftovers=("training",),
)  # fmt: skip
