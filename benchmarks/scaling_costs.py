"""The arithmetic of a cluster's run: from measured unit costs and assumptions to hours and money.

Nothing here is measured. `costs` is what benchmarks.unit_costs wrote; sizes are in bytes, money is
in dollars, and GPUs work `mfu` of their peak whatever their number.
"""

import math
from dataclasses import dataclass
from typing import Any

from benchmarks.recipe_costs import STATE_BYTES

HOUR = 3600.0
TB, GB = 1e12, 1e9
SHARDED = ("medium", "large")  # conf/experiment/pretrain_medium: trainer=fsdp; small: ddp
PACE = 1.05  # what slows a run by less than a twentieth is not its limit


@dataclass(frozen=True)
class Assumptions:
    """What is not measured here: prices, what hardware can do, and how the run is set up."""

    gpu_hour: float = 2.5  # $
    core_hour: float = 0.04  # $
    tb_month: float = 23.0  # $, object storage
    peak: float = 989.4  # 10^12 FLOP/s of a GPU in half precision
    single_peak: float = 66.9  # the same in float32, which separator and tokenizer work in
    mfu: float = 0.4  # share of the peak that training reaches
    single_mfu: float = 0.2  # share of `single_peak` that separating and tokenising reach
    node_network: float = 300.0  # GB/s of a GPU within a node
    network: float = 50.0  # GB/s of a GPU between nodes
    disk: float = 0.0  # GB/s that one process writes a checkpoint at; 0: as measured
    source_kbps: float = 256.0  # of the music as it is bought
    gpus_per_node: int = 8
    workers: int = 4  # of a GPU's loader
    batch: int = 192  # segments a step
    segment: float = 30.0  # seconds
    steps: int = 1_000_000  # of `batch`
    every: int = 2000  # steps from one checkpoint to the next


@dataclass(frozen=True)
class DataCost:
    """What so many hours of music take until they can be trained on."""

    hours: float
    samples: float
    tokens: float
    source_bytes: float
    shard_bytes: float
    codes_bytes: float
    prepare_core_hours: float
    separate_gpu_hours: float
    tokenize_gpu_hours: float
    node_index_bytes: float  # of all processes of a node
    index_seconds: float  # that each of them opens it in
    money: float  # once
    month: float  # for storage, of everything that is kept


def data_cost(costs: dict[str, Any], hours: float, given: Assumptions) -> DataCost:
    """Preparing, separating and tokenising, and what is stored."""
    made = costs["preparing"]
    model = costs["models"]["small"]
    samples = hours * HOUR / given.segment
    source = hours * HOUR * given.source_kbps * 1000 / 8
    shards, codes = (hours * made[f"{kind}_bytes_per_hour"] for kind in ("shard", "codes"))
    cores = hours * made["prepare_core_seconds_per_hour"] / HOUR
    separate = gpu_hours(costs["separating"]["flops_per_second_of_music"], hours, given)
    tokenize = gpu_hours(made["tokenize_flops_per_second"], hours, given)
    index = costs["index"]
    node = given.gpus_per_node * samples * index["bytes_per_sample"]
    node += given.gpus_per_node * given.workers * samples * index["order_bytes_per_sample"]
    return DataCost(
        hours=hours,
        samples=samples,
        tokens=hours * HOUR * model["frame_rate"] * model["n_q"],
        source_bytes=source,
        shard_bytes=shards,
        codes_bytes=codes,
        prepare_core_hours=cores,
        separate_gpu_hours=separate,
        tokenize_gpu_hours=tokenize,
        node_index_bytes=node,
        index_seconds=samples / 1e6 * index["open_seconds_per_million"],
        money=cores * given.core_hour + (separate + tokenize) * given.gpu_hour,
        month=(source + shards + codes) / TB * given.tb_month,
    )


def gpu_hours(flops_per_second: float, hours: float, given: Assumptions) -> float:
    """GPU hours of a model in float32 that so many hours of music go through."""
    return flops_per_second * hours / (given.single_peak * 1e12 * given.single_mfu)


@dataclass(frozen=True)
class RunCost:
    """What a whole training takes on so many GPUs."""

    size: str
    gpus: int
    batch_per_gpu: int
    batch: int  # of a step
    steps: int  # for the music that was asked for
    compute_seconds: float  # of a step
    network_bytes: float  # a GPU sends in a step, and receives
    network_seconds: float  # of a step; it runs beside the computing
    state_bytes: float  # weights, gradients, averages and optimizer of a GPU
    checkpoint_bytes: float
    checkpoint_seconds: float  # every one; the training waits for it
    checkpoint_share: float  # of the time
    workers: float  # of a loader, that a GPU needs
    read_bytes_per_second: float  # of the codes, by all GPUs together
    hours: float
    gpu_hours: float
    money: float
    limit: str  # what slows it first

    @property
    def step_seconds(self) -> float:
        """Of a step, the network hidden behind the computing as far as it goes."""
        return max(self.compute_seconds, self.network_seconds)


def run_cost(costs: dict[str, Any], size: str, gpus: int, given: Assumptions) -> RunCost:
    """The music of `steps` steps of `batch` segments, on GPUs of which each has at least one."""
    model = costs["models"][size]
    per_gpu = math.ceil(given.batch / gpus)
    batch = per_gpu * gpus
    steps = math.ceil(given.steps * given.batch / batch)
    compute = per_gpu * model["flops_per_sample"] / (given.peak * 1e12 * given.mfu)
    sent = sent_bytes(model["parameters"], gpus, size in SHARDED)
    speed = given.node_network if gpus <= given.gpus_per_node else given.network
    network = sent / (speed * GB)
    step = max(compute, network)
    stop = model["checkpoint_bytes"] / (given.disk * GB or costs["checkpoint"]["bytes_per_second"])
    share = stop / (stop + given.every * step)
    samples_per_second = per_gpu / step
    workers = samples_per_second / costs["loading"]["codes"]["samples_per_second"]
    sample_bytes = costs["preparing"]["codes_bytes_per_hour"] * given.segment / HOUR
    hours = steps * step / (1 - share) / HOUR
    slowed = {
        "network": network / compute,
        "checkpoints": 1 / (1 - share),
        "loader": workers / given.workers,
    }
    return RunCost(
        size, gpus, per_gpu, batch, steps, compute, sent, network,
        state_bytes=STATE_BYTES * model["parameters"] / (gpus if size in SHARDED else 1),
        checkpoint_bytes=model["checkpoint_bytes"],
        checkpoint_seconds=stop,
        checkpoint_share=share,
        workers=workers,
        read_bytes_per_second=gpus * samples_per_second * sample_bytes,
        hours=hours,
        gpu_hours=gpus * hours,
        money=gpus * hours * given.gpu_hour,
        limit=first_limit(slowed, gpus > given.batch),
    )  # fmt: skip


def first_limit(slowed: dict[str, float], too_many: bool) -> str:
    """What slows a run most; else the GPUs themselves. And whether there are too many of them."""
    worst = max(slowed, key=slowed.__getitem__)
    found = worst if slowed[worst] > PACE else "computing"
    return f"batch, {found}" if too_many else found


def sent_bytes(parameters: float, gpus: int, sharded: bool) -> float:
    """Bytes that a GPU sends in a step, in float32.

    Copies add up gradients around a ring: twice their size. Shards are gathered for the forward
    and for the backward pass, and gradients scattered: three times.
    """
    times = 3 if sharded else 2
    return times * 4 * parameters * (gpus - 1) / gpus


def steps_between(run: RunCost, share: float) -> int:
    """Steps between checkpoints so that they take `share` of the time."""
    return math.ceil(run.checkpoint_seconds * (1 - share) / share / run.step_seconds)
