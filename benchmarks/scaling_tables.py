"""The tables of docs/scaling.md, in Markdown."""

from dataclasses import fields
from typing import Any

from benchmarks.scaling_costs import (
    GB,
    HOUR,
    TB,
    Assumptions,
    DataCost,
    RunCost,
    data_cost,
    run_cost,
    steps_between,
)
from benchmarks.tables import markdown
from benchmarks.unit_costs_model import SIZES

LIBRARIES = (20_000.0, 1_000_000.0)  # hours of music
GPUS = (8, 64, 512)
CHECKPOINT_SHARE = 0.01  # of the time, that checkpoints may take
SONG = 240.0  # seconds
UNITS = {
    "gpu_hour": "$ an hour of a GPU",
    "core_hour": "$ an hour of a CPU core",
    "tb_month": "$ a month for a TB",
    "peak": "10¹² FLOP/s of a GPU in bfloat16",
    "single_peak": "10¹² FLOP/s of a GPU in float32",
    "mfu": "of the former is reached by training",
    "single_mfu": "of the latter is reached by separator and tokenizer",
    "node_network": "GB/s of a GPU within a node",
    "network": "GB/s of a GPU between nodes",
    "disk": "GB/s at which one process writes checkpoints (0: as measured)",
    "source_kbps": "kbit/s of the music as it comes",
    "gpus_per_node": "GPUs of a node",
    "workers": "workers of a GPU's loader (`data.num_workers`)",
    "batch": "segments a step",
    "segment": "seconds of a segment",
    "steps": "steps",
    "every": "steps from checkpoint to checkpoint",
}


def all_tables(costs: dict[str, Any], given: Assumptions) -> dict[str, str]:
    """Every table by its name in the page."""
    libraries = [data_cost(costs, hours, given) for hours in LIBRARIES]
    runs = [run_cost(costs, size, n, given) for size in SIZES for n in GPUS]
    return {
        "assumed": assumed(given),
        "measured": measured(costs),
        "data": data(libraries, given),
        "runs": training(runs),
        "waits": waits(runs),
        "epochs": epochs(libraries, given),
    }


def number(value: float) -> str:
    """Three digits, with a comma between thousands."""
    if value == 0 or not 0.01 <= abs(value) < 1e15:
        return f"{value:.3g}"
    digits = f"{value:.3g}"
    return f"{float(digits):,.0f}" if abs(value) >= 100 else digits


def assumed(given: Assumptions) -> str:
    """Everything that is not measured."""
    rows = [
        [f"`--{f.name.replace('_', '-')}`", f"{getattr(given, f.name):,}", UNITS[f.name]]
        for f in fields(given)
    ]
    return markdown(["parameter", "value", ""], rows)


def measured(costs: dict[str, Any]) -> str:
    """Unit costs: of which machine, and what was counted."""
    made, index, cut = costs["preparing"], costs["index"], costs["separating"]
    training, models = costs["training"], costs["models"]
    cpu = f"one core of {costs['cpu']}"
    per_token = ", ".join(f"{s} {models[s]['flops_per_token'] / 1e9:.2f}" for s in SIZES)
    kept = ", ".join(f"{s} {models[s]['checkpoint_bytes'] / GB:.1f}" for s in SIZES)
    hour = HOUR * models["small"]["frame_rate"] * models["small"]["n_q"]
    where = costs["gpu"] or cpu
    rows = [
        ["preparing an hour of MP3, without separator",
         f"{number(made['prepare_core_seconds_per_hour'])} s", cpu],
        ["HT-Demucs (random weights, 42 M)",
         f"{cut['times_real_time_of_a_core']:.2f} × real time", cpu],
        ["tokenising an hour, EnCodec 32 kHz (random weights)",
         f"{number(made['tokenize_core_seconds_per_hour'])} s", cpu],
        ["FLOPs a second of music: HT-Demucs, tokenizer",
         f"{cut['flops_per_second_of_music'] / 1e9:.1f}, "
         f"{made['tokenize_flops_per_second'] / 1e9:.1f} · 10⁹", "counted"],
        ["an hour as FLAC shards (32 kHz mono)", f"{made['shard_bytes_per_hour'] / 1e6:.1f} MB",
         "the demo's music"],
        ["an hour as codes, with chroma and texts",
         f"{made['codes_bytes_per_hour'] / 1e6:.2f} MB", "the same"],
        ["an hour in tokens", f"{hour:,.0f}", "counted: 50 Hz × 4"],
        ["training FLOPs a token, 10⁹", per_token, "counted, 30 s with text"],
        [f"training step of dim {training['dim']}, {training['layers']} layers",
         f"{training['flops_per_second'] / 1e12:.3g} · 10¹² FLOP/s", where],
        ["a checkpoint, GB", kept, "counted: 16 bytes a parameter"],
        ["writing one, synced and read back",
         f"{costs['checkpoint']['bytes_per_second'] / GB:.2f} GB/s", "one process, this disk"],
        ["loading codes, one process",
         f"{number(costs['loading']['codes']['samples_per_second'])} samples/s, "
         f"{number(costs['loading']['codes']['bytes_per_second'] / 1e6)} MB/s", cpu],
        ["loading audio, one process",
         f"{number(costs['loading']['audio']['samples_per_second'])} samples/s, "
         f"{number(costs['loading']['audio']['bytes_per_second'] / 1e6)} MB/s", cpu],
        ["the index, for each process that opens it",
         f"{index['bytes_per_sample']:.0f} bytes a sample, and "
         f"{index['order_bytes_per_sample']:.0f} for an epoch's order",
         f"{number(index['samples'])} samples"],
    ]  # fmt: skip
    return markdown(["", "cost", "of"], rows)


def data(libraries: list[DataCost], given: Assumptions) -> str:
    """What each library takes until it can be trained on."""
    lines = {
        "tokens": [f"{c.tokens / 1e9:,.1f} · 10⁹" for c in libraries],
        f"samples of {given.segment:g} s": [f"{c.samples / 1e6:,.1f} M" for c in libraries],
        "the music as it comes": [f"{number(c.source_bytes / TB)} TB" for c in libraries],
        "FLAC shards (while packing: twice)": [
            f"{number(c.shard_bytes / TB)} TB" for c in libraries
        ],
        "codes": [f"{number(c.codes_bytes / GB)} GB" for c in libraries],
        "preparing, core hours": [number(c.prepare_core_hours) for c in libraries],
        "HT-Demucs, GPU hours (assumed speed)": [number(c.separate_gpu_hours) for c in libraries],
        "tokenising, GPU hours (assumed speed)": [number(c.tokenize_gpu_hours) for c in libraries],
        "once, $": [number(c.money) for c in libraries],
        "storage of all of it, $ a month": [number(c.month) for c in libraries],
        "index and orders in a node's memory": [
            f"{number(c.node_index_bytes / GB)} GB" for c in libraries
        ],
        "opening the index, each process": [f"{number(c.index_seconds)} s" for c in libraries],
        "words of a 4-minute song that find its near copies": [
            number(copy_words(c)) for c in libraries
        ],
    }
    head = ["", *(f"{c.hours:,.0f} h" for c in libraries)]
    return markdown(head, [[name, *values] for name, values in lines.items()])


def copy_words(cost: DataCost) -> float:
    """Words of a song's fingerprint that are indexed: two equal ones make a candidate."""
    from data_prep.duplicates import _MOST_INDEXED
    from data_prep.fingerprint import WORDS_PER_SECOND

    total = cost.hours * HOUR * WORDS_PER_SECOND
    return SONG * WORDS_PER_SECOND * min(1.0, _MOST_INDEXED / total)


def training(runs: list[RunCost]) -> str:
    """Hours and money, by size and GPUs."""
    head = ["model", "GPUs", "segments a GPU", "steps", "a step", "days", "GPU hours", "$", "limit"]
    rows = [
        [run.size, str(run.gpus), str(run.batch_per_gpu), f"{run.steps:,}",
         f"{1000 * run.step_seconds:.0f} ms", number(run.hours / 24), number(run.gpu_hours),
         number(run.money), run.limit]
        for run in runs
    ]  # fmt: skip
    return markdown(head, rows)


def waits(runs: list[RunCost]) -> str:
    """What a step could wait for, beside its computing."""
    head = ["model", "GPUs", "computing", "network", "sent by a GPU", "state of a GPU",
            "a checkpoint", "its share", "steps between, for 1 %", "workers a GPU needs",
            "codes read, all GPUs"]  # fmt: skip
    rows = [
        [run.size, str(run.gpus), f"{1000 * run.compute_seconds:.0f} ms",
         f"{1000 * run.network_seconds:.0f} ms", f"{run.network_bytes / GB:.1f} GB",
         f"{run.state_bytes / GB:.1f} GB", f"{number(run.checkpoint_seconds)} s",
         f"{100 * run.checkpoint_share:.1f} %", f"{steps_between(run, CHECKPOINT_SHARE):,}",
         number(run.workers), f"{number(run.read_bytes_per_second / 1e6)} MB/s"]
        for run in runs
    ]  # fmt: skip
    return markdown(head, rows)


def epochs(libraries: list[DataCost], given: Assumptions) -> str:
    """How often a run hears a library."""
    heard = given.steps * given.batch * given.segment / HOUR
    rows = [[f"{c.hours:,.0f} h", number(heard / c.hours)] for c in libraries]
    return markdown([f"of {heard:,.0f} h in all", "epochs"], rows)
