"""Run one function over many jobs on a Ray cluster, with the same results as in processes."""

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from data_prep.workers import TRIES, WorkerDied
from musicgen_train.errors import UserError

Job = TypeVar("Job")
Result = TypeVar("Result")


def run_on_ray(
    function: Callable[[Job], Result],
    jobs: Iterable[Job],
    num_workers: int,
    device: str = "cpu",
    address: str | None = None,
    gpus_per_worker: float = 1.0,
) -> Iterator[tuple[Job, Result | WorkerDied]]:
    """Yield (job, result) as they finish, from `num_workers` actors of one CPU each.

    address: of a running cluster ("auto" finds one); None starts Ray on this machine. With device
    "cuda" each actor also reserves `gpus_per_worker` GPUs. Ray replaces an actor that dies.
    """
    num_workers = max(num_workers, 1)
    ray, ours = _start(address, num_workers)
    n_gpus = gpus_per_worker if device == "cuda" else 0
    _check_resources(ray, num_workers, n_gpus)
    options = {"num_cpus": 1, "num_gpus": n_gpus}
    retries = {"max_restarts": -1, "max_task_retries": TRIES - 1}
    actor_class = ray.remote(**options, **retries)(_Actor)
    actors = [actor_class.remote(function) for _ in range(num_workers)]
    try:
        yield from _share_out(ray, actors, iter(jobs))
    finally:
        for actor in actors:
            ray.kill(actor)
        if ours:
            ray.shutdown()


def _check_resources(ray: Any, num_workers: int, n_gpus: float) -> None:
    """Refuse actors that the cluster has no room for: their jobs would wait for ever."""
    there = ray.cluster_resources()
    for kind, needed in (("CPU", num_workers), ("GPU", num_workers * n_gpus)):
        if there.get(kind, 0) < needed:
            raise UserError(
                f"the Ray cluster has {there.get(kind, 0):g} {kind}s, and {num_workers} workers "
                f"need {needed:g}; lower num_workers, or add nodes"
            )


def _share_out(ray: Any, actors: list[Any], jobs: Iterator[Any]) -> Iterator[tuple[Any, Any]]:
    """Keep every actor at a job until there are none."""
    pending: dict[Any, tuple[Any, Any]] = {}  # reference -> actor, job

    def give(actor: Any) -> None:
        for job in jobs:
            pending[actor.run.remote(job)] = actor, job
            return

    for actor in actors:
        give(actor)
    while pending:
        (done,), _ = ray.wait(list(pending), num_returns=1)
        actor, job = pending.pop(done)
        try:
            result = ray.get(done)
        except ray.exceptions.RayActorError:
            result = WorkerDied()
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        yield job, result
        give(actor)


class _Actor:
    """A worker: it keeps its models between jobs."""

    def __init__(self, function: Callable) -> None:
        import torch

        torch.set_num_threads(1)
        self.function = function

    def run(self, job: Any) -> Any:
        return self.function(job)


def _start(address: str | None, num_cpus: int) -> tuple[Any, bool]:
    """Ray, connected, and whether that is for us to end."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError:
        raise UserError(
            "executor=ray needs Ray: pip install 'musicgen_train[ray]', or use executor=local"
        ) from None
    if ray.is_initialized():
        return ray, False
    options = {"num_cpus": num_cpus, "include_dashboard": False} if address is None else {}
    try:
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, **options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"the Ray cluster {address} cannot be reached ({reason}); start one, or leave "
            "ray_address out"
        ) from None
    return ray, True
