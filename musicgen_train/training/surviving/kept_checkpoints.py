"""Which checkpoints a run keeps: the last n, and the best."""

import os
import re
import shutil
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from musicgen_train.errors import UserError


class KeptCheckpoints(ModelCheckpoint):
    """Lightning's `ModelCheckpoint`, exact for a run that is killed at any moment.

    With `every_n_train_steps` the last `save_top_k` are kept, else those with the best `monitor`
    of the validations after step `from_step`. What differs from Lightning's, and why:

    - A step is saved once its log and its validation are done. Lightning saves before; a run that
      is killed in between and resumed has neither.
    - It is saved with the loops' counters of the end of its batch, from which Lightning goes on
      exactly.
    - Every file that is not to be kept is removed after each save. Lightning forgets those that it
      was about to remove when it was killed, and never removes the one that it resumed from: one
      more after every preemption.
    - A file of the same step is replaced; Lightning would write a second one beside it.
    - `last.ckpt` is renamed into its place; Lightning removes the old one first.
    - When rank 0 cannot write, all ranks end.
    - A run directory that was moved is still known.
    """

    def __init__(
        self,
        dirpath: str,
        filename: str,
        monitor: str,
        mode: str,
        save_top_k: int,
        every_n_train_steps: int | None = None,
        save_last: bool | Literal["link"] | None = None,
        from_step: int = 0,
    ):
        super().__init__(
            dirpath=dirpath,
            filename=filename,
            monitor=monitor,
            mode=mode,
            save_top_k=save_top_k,
            every_n_train_steps=every_n_train_steps,
            save_last=save_last,
            enable_version_counter=False,
        )
        if re.findall(r"{(\w+)", filename) != ["step"]:
            raise UserError(f"a checkpoint's filename is {filename!r}: its one field is {{step}}")
        self.periodic = bool(every_n_train_steps)
        self.from_step = from_step
        self._place: dict[str, Any] = {}  # of the end of the last batch
        self._warned = False

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        chosen = trainer.strategy.broadcast(trainer.ckpt_path)
        if chosen != trainer.ckpt_path:
            raise UserError(
                f"the ranks found different checkpoints ({chosen} and {trainer.ckpt_path}): name "
                "one with resume=PATH"
            )

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._note_place(trainer)
        step = trainer.global_step
        if str(self.path_of(step)) in self.best_k_models:
            self._finish_saving(trainer, step)
        if trainer.is_global_zero and self.periodic and self.save_top_k >= 0:
            for path in self.not_kept(steps=range(step + 1, sys.maxsize)):
                print(f"{path} is of a step to come: the next checkpoint removes it", flush=True)

    def _finish_saving(self, trainer: L.Trainer, step: int) -> None:
        """Do what is left to do when the run was killed after a checkpoint was written."""
        self._last_global_step_saved = step
        if self.save_last == "link":
            self.last_model_path = self._last_path()
            self._link_checkpoint(trainer, str(self.path_of(step)), self.last_model_path)
        self._remove_old(trainer, range(step + 1))

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        self._note_place(trainer)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        # The first moment at which all of the step before is done.
        if self.periodic and trainer.global_step % self._every_n_train_steps == 0:
            self.keep(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.periodic:
            self.keep(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.periodic or trainer.sanity_checking or trainer.global_step <= self.from_step:
            return
        if self.monitor in trainer.callback_metrics:
            self.keep(trainer)
        elif trainer.is_global_zero and not self._warned:
            self._warned = True
            print(f"no checkpoint is kept as the best: {self.monitor} is not logged", flush=True)

    def keep(self, trainer: L.Trainer) -> Path:
        """Save the present step unless it is saved or not among the best; return its path."""
        if not self._should_skip_saving_checkpoint(trainer):
            candidates = self._monitor_candidates(trainer)
            self._save_topk_checkpoint(trainer, candidates)
            self._save_last_checkpoint(trainer, candidates)
            self._remove_old(trainer, range(sys.maxsize))
        return self.path_of(trainer.global_step)

    def _last_path(self) -> str:
        return self.format_checkpoint_name({}, self.CHECKPOINT_NAME_LAST)

    def path_of(self, step: int) -> Path:
        return Path(self.format_checkpoint_name({"step": torch.tensor(step)}))

    def _remove_old(self, trainer: L.Trainer, steps: range) -> None:
        if trainer.is_global_zero and self.save_top_k >= 0:
            for path in self.not_kept(steps):
                trainer.strategy.remove_checkpoint(path)

    def not_kept(self, steps: range) -> list[Path]:
        """Checkpoints of this kind and of such steps that are not among those to keep."""
        kept = {Path(path).name for path in self.best_k_models}
        assert self.dirpath is not None
        return [
            path
            for path in sorted(Path(self.dirpath).glob("*.ckpt"))
            if path.name not in kept
            and (found := re.search(r"step=(\d+)", path.name))
            and int(found[1]) in steps
            and path.name == self.path_of(int(found[1])).name
        ]

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if self._place:
            checkpoint["epoch"] = self._place["epoch"]
            checkpoint["loops"]["fit_loop"] = self._place["fit_loop"]

    def _note_place(self, trainer: L.Trainer) -> None:
        loops = deepcopy(trainer.fit_loop.state_dict())
        # Lightning takes the batches of the last validation for some of the next, when it goes on.
        current = loops["epoch_loop.val_loop.batch_progress"]["current"]
        current.update(dict.fromkeys(current, 0))
        self._place = {"epoch": trainer.current_epoch, "fit_loop": loops}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what is still there of the checkpoints that were kept."""
        assert self.dirpath is not None
        here = {
            path: os.path.join(self.dirpath, os.path.basename(path))
            for path in state_dict["best_k_models"]
        }
        kept = {
            here[path]: score
            for path, score in state_dict["best_k_models"].items()
            if os.path.exists(here[path])
        }
        best = here.get(state_dict["best_model_path"], "")
        super().load_state_dict(
            {
                **state_dict,
                "dirpath": self.dirpath,
                "best_k_models": kept,
                "best_model_path": best if best in kept else "",
                "best_model_score": kept.get(best),
                "kth_best_model_path": here.get(state_dict["kth_best_model_path"], ""),
                "last_model_path": self._last_path() if state_dict["last_model_path"] else "",
            }
        )

    def _save_checkpoint(self, trainer: L.Trainer, filepath: str) -> None:
        failure = None
        try:
            super()._save_checkpoint(trainer, filepath)
        except UserError as error:
            failure = error
            trainer.strategy.barrier("Trainer.save_checkpoint")  # where the other ranks are
        if trainer.strategy.reduce_boolean_decision(failure is not None, all=False):
            # One line is enough, and the exit status is that of rank 0.
            raise failure or SystemExit(0)

    def _should_remove_checkpoint(self, trainer: L.Trainer, previous: str, current: str) -> bool:
        return False  # `keep` removes

    @staticmethod
    def _link_checkpoint(trainer: L.Trainer, filepath: str, linkpath: str) -> None:
        if trainer.is_global_zero:
            temporary = Path(linkpath + ".part")
            temporary.unlink(missing_ok=True)
            try:
                temporary.symlink_to(os.path.basename(filepath))
            except OSError:  # a file system without links
                shutil.copyfile(filepath, temporary)
            temporary.replace(linkpath)
        trainer.strategy.barrier()
