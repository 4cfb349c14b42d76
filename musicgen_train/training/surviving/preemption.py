"""Stopping on a signal: the step is finished, a checkpoint written, the job put back in the queue.

SIGTERM and SIGUSR1 are what schedulers send (`#SBATCH --signal=USR1@120`), SIGINT is Ctrl-C.

Exit status: 0 if SLURM has put the job back in its queue, and under torchrun, which starts anew
whatever fails; else 128 + the signal's number (143 of SIGTERM), as shells have it. So a loop that
goes on after SIGTERM only is

    while python train.py experiment=… resume=auto; [ $? -eq 143 ]; do :; done

and under torchrun it asks for runs/NAME/model, which a run writes at its very end. torchrun itself
passes SIGUSR1 on only with TORCHELASTIC_SIGNALS_TO_HANDLE=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1,
and gives the ranks 30 s.
"""

import os
import signal
import subprocess
import sys
import time
from types import FrameType
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

from musicgen_train.training.surviving.kept_checkpoints import KeptCheckpoints

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class Preemption(L.Callback):
    """End the run between two optimizer steps after a signal to any rank.

    The same signal again ends the process at once, if it comes `again_after` seconds after the
    first: a launcher passes on what the whole process group has got already.

    Lightning's handlers are replaced: that of SIGTERM broadcasts inside the handler, which hangs
    unless all ranks are there; that of SLURM's signal saves inside it, in the midst of a step.
    """

    def __init__(self, again_after: float = 2.0):
        self.again_after = again_after
        self.received = 0
        self._since = 0.0
        self._checked = -1
        self._pid = os.getpid()
        self._before: dict[int, Any] = {}
        self._tells = False

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        environment = trainer._accelerator_connector.cluster_environment
        if isinstance(environment, SLURMEnvironment):
            environment.auto_requeue = False

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._tells = trainer.is_global_zero
        self._pid = os.getpid()
        self._before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        # It would broadcast every batch whether Lightning's handler was called: never, from now on.
        loop: Any = trainer.fit_loop.epoch_loop
        loop._broadcast_sigterm_tensor = lambda: None

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self._checked:
            return  # gradients are being accumulated
        self._checked = trainer.global_step
        signum = self._agreed(trainer)
        if signum:
            self._stop(trainer, signum)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._restore()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        self._restore()

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid:
            return  # a loader's worker: its training process decides
        now = time.monotonic()
        if not self.received:
            self.received, self._since = signum, now
            if self._tells:
                name = signal.Signals(signum).name
                line = f"{name}: stopping after this step; {name} again ends at once\n"
                os.write(2, line.encode())  # print must not be interrupted by itself
        elif signum == self.received and now - self._since > self.again_after:
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _agreed(self, trainer: L.Trainer) -> int:
        """The signal that any rank has got, the same on all; 0 without. SIGTERM outweighs."""
        if trainer.world_size == 1:
            return self.received
        received = torch.tensor(self.received, device=trainer.strategy.root_device)
        return int(trainer.strategy.reduce(received, reduce_op="max"))

    def _stop(self, trainer: L.Trainer, signum: int) -> None:
        kept = (c for c in trainer.checkpoint_callbacks if isinstance(c, KeptCheckpoints))
        keeper = next((callback for callback in kept if callback.periodic), None)
        place = "there is no callbacks.checkpoint, and so none was written"
        if keeper is not None and trainer.global_step:
            place = f"{os.path.relpath(keeper.keep(trainer))} is written; go on with resume=auto"
        status = 0
        if trainer.is_global_zero:
            name = signal.Signals(signum).name
            print(f"{name}: stopped after step {trainer.global_step}: {place}", flush=True)
            # What SLURM sends when it takes the job back is to change nothing.
            for number in self._before:
                signal.signal(number, signal.SIG_IGN)
            torchrun = torch.distributed.is_torchelastic_launched()
            requeued = signum != signal.SIGINT and requeue()
            status = 0 if requeued or torchrun else 128 + signum
        # Lightning's launcher kills rank 0 when another rank fails.
        raise SystemExit(status)


def requeue() -> bool:
    """Put the SLURM job that this process belongs to back in the queue; whether that was done."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is None:
        return False
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    try:
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True)
    except OSError as error:
        print(f"job {job} was not requeued: scontrol: {error.strerror}", file=sys.stderr)
        return False
    if done.returncode:
        reason = " ".join(done.stderr.split())
        print(f"job {job} was not requeued: scontrol: {reason}", file=sys.stderr)
        return False
    print(f"job {job} is requeued", flush=True)
    return True
