"""A W&B run that a resumed training goes on with."""

import os
import re
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import WandbLogger

from musicgen_train.errors import UserError

LONGEST = 64  # characters of an id that W&B takes


def wandb_logger(name: str, save_dir: str, project: str, **options: Any) -> WandbLogger:
    """Log to the W&B run whose id follows from the name; options are those of `wandb.init`."""
    import wandb

    offline = os.environ.get("WANDB_MODE", "online") != "online" or options.get("offline")
    if not offline and not wandb.login(prompt=False):
        raise UserError(
            "logger=wandb: there is no account to log to: run `wandb login` once, or set "
            "WANDB_MODE=offline"
        )
    Path(save_dir).mkdir(parents=True, exist_ok=True)
    return WandbLogger(
        name=name, save_dir=save_dir, project=project, id=run_id(name), resume="allow", **options
    )


def run_id(name: str) -> str:
    """The name with the characters that W&B allows in ids; two names never share one.

    demo/lm is demo-2flm: what is not a letter, a digit or _ is its code in hexadecimal.
    """
    legal = re.sub(r"[^A-Za-z0-9_]", lambda found: f"-{ord(found[0]):x}", name)
    if len(legal) <= LONGEST:
        return legal
    import hashlib

    return legal[: LONGEST - 9] + "-" + hashlib.sha256(name.encode()).hexdigest()[:8]
