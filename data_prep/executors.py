"""Where work is done: in processes of this machine, or on a Ray cluster; one path for both."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from data_prep.ray_workers import run_on_ray
from data_prep.workers import WorkerDied, run_in_processes
from musicgen_train.errors import UserError

Job = TypeVar("Job")
Result = TypeVar("Result")
EXECUTORS = ("local", "ray")


@dataclass(frozen=True)
class Executor:
    """How many workers, where, on which device."""

    executor: str = "local"
    num_workers: int = 2  # processes, or Ray actors; 0: in this process
    device: str = "cpu"
    ray_address: str | None = None  # of a running cluster, "auto" to find one; None starts one here
    gpus_per_worker: float = 1.0  # for Ray with device=cuda

    def __post_init__(self) -> None:
        if self.executor not in EXECUTORS:
            raise UserError(f"unknown executor {self.executor!r}; use {' or '.join(EXECUTORS)}")
        if self.num_workers < 0:
            raise UserError(f"num_workers={self.num_workers}: give 0 or more")
        if self.device not in ("cpu", "cuda"):
            raise UserError(f"unknown device {self.device!r}; use cpu or cuda")
        if self.device == "cuda" and self.executor == "local":
            import torch

            if not torch.cuda.is_available():
                raise UserError("device=cuda: this machine has no GPU that torch can use; use cpu")

    def run(
        self, function: Callable[[Job], Result], jobs: Iterable[Job]
    ) -> Iterator[tuple[Job, Result | WorkerDied]]:
        """Yield (job, its result) as they finish; a job that kills its worker yields WorkerDied."""
        if self.executor == "ray":
            return run_on_ray(
                function, jobs, self.num_workers, self.device, self.ray_address,
                self.gpus_per_worker,
            )  # fmt: skip
        return run_in_processes(function, jobs, self.num_workers, self.device)
