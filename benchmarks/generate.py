"""Generation beside transformers' MusicGen of the same shape, weights and type, in one run.

python -m benchmarks.generate [--shape small --batches 1 4 16 --steps 40]

Both decode the same text greedily with guidance, alternately in one process, on the same random
weights; ratios are medians of paired rounds. What is timed is a step in the middle of a generation:
start and codec are left out. Tokens must be equal where the type of the weights is. The limit is
one reading of the weights per step at the memory bandwidth measured in this run, or their products
at its rate, whichever takes longer.
"""

import argparse
import copy
import statistics
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.alone import output_argument, run_alone
from benchmarks.limits import Limits
from benchmarks.lm_models import (
    N_Q,
    SHAPES,
    TEXT_DIM,
    TEXT_LENGTH,
    our_model,
    their_model,
    their_musicgen,
)  # fmt: skip
from benchmarks.memory import in_fresh_process, peak_mib
from benchmarks.results import Row
from benchmarks.stepping import WARM, our_run, their_run
from benchmarks.timing import device_name, seconds, times_as_fast

if TYPE_CHECKING:
    from musicgen_train.lm import LanguageModel

BITS = {"float32": 32, "bfloat16": 16, "int8": 8}  # of a weight


class Plan(NamedTuple):
    """What is generated."""

    shape: str
    batches: Sequence[int]
    steps: int
    rounds: int
    chunk: float = 0.5  # seconds of the stream's first chunk


PLANS = {
    "quick": [Plan("small", (1,), 16, 5)],
    "full": [Plan("small", (1, 4, 16), 48, 5), Plan("medium", (1,), 48, 5)],
    "dry": [Plan("tiny", (1,), 10, 1, 0.04)],
}


def rows_in(mode: str, limits: Limits) -> Iterator[Row]:
    """All rows of a mode."""
    for plan in PLANS[mode]:
        yield from rows(plan, limits)


def rows(plan: Plan, limits: Limits) -> Iterator[Row]:
    """Steps a second of each variant beside each peer, by batch; then first chunks."""
    import torch

    device = device_name()
    lm = our_model(SHAPES[plan.shape], device).eval()
    types = ["bfloat16"] if device == "cuda" else ["float32", "bfloat16"]
    peers = {f"transformers {t}": their_model(lm, getattr(torch, t)) for t in types}
    models = {name: prepared(lm, o) for name, o in variants(device == "cuda").items()}
    peaks: dict[str, float] = {}
    for batch in plan.batches:
        bounds = {name: bound(lm, name, batch, plan.steps, limits) for name in models}
        for row in compare(models, peers, batch, plan):
            row = row._replace(limit=bounds[row.case])
            if batch == plan.batches[0]:
                for name in (row.case, row.peer):
                    if name not in peaks:
                        peaks[name] = in_fresh_process(peak_of, plan.shape, device, batch, name)
                row = row._replace(mib=peaks[row.case], peer_mib=peaks[row.peer])
            yield row._replace(case=f"{plan.shape}, batch {batch}, {row.case}")
    for name, model in models.items():
        yield first_chunk(model, plan, f"{plan.shape}, {name}")


def variants(cuda: bool) -> dict[str, dict[str, Any]]:
    """The ways of preparing our model, by name."""
    if not cuda:
        return {"float32": {}, "bfloat16": {"weights": "bfloat16"}, "int8": {"weights": "int8"}}
    half = {"weights": "bfloat16"}
    return {
        "bfloat16": half,
        "bfloat16 graphs": {**half, "cuda_graphs": True},
        "bfloat16 compiled graphs": {**half, "compile": True, "cuda_graphs": True},
    }


def prepared(lm: "LanguageModel", options: dict[str, Any]) -> "LanguageModel":
    """A copy of the model, prepared as a variant asks."""
    from musicgen_train.lm.inference import prepare

    twin = copy.deepcopy(lm)
    prepare(twin, **options)
    return twin


def bound(lm: "LanguageModel", name: str, batch: int, steps: int, limits: Limits) -> float:
    """Steps a second that reading the weights, or multiplying with them, would allow."""
    from benchmarks.flops import step_cost

    kind = name.split()[0]
    flops, weights = step_cost(lm, 2 * batch, steps, TEXT_LENGTH)
    return min(limits.flops(kind) / flops, limits.read / (weights * BITS[kind] / 8))


def compare(
    models: dict[str, "LanguageModel"], peers: dict[str, Any], batch: int, plan: Plan
) -> Iterator[Row]:
    """A row for each model of ours and each peer, with how many tokens equal the first peer's."""
    import torch

    device = next(iter(models.values())).device
    text = torch.randn(batch, TEXT_LENGTH, TEXT_DIM, device=device)
    runs: dict[str, list[tuple[float, torch.Tensor]]] = {name: [] for name in [*peers, *models]}
    for _ in range(plan.rounds):
        for name, peer in peers.items():
            runs[name].append(their_run(peer, text, plan.steps))
        for name, lm in models.items():
            runs[name].append(our_run(lm, text, plan.steps))
    times = {name: [s for s, _ in found] for name, found in runs.items()}
    first = next(iter(peers))
    truth = runs[first][0][1]
    for name in models:
        equal = (runs[name][0][1] == truth).float().mean().item()
        same = f"{equal:.0%} of tokens those of {first}"
        for peer in peers:
            yield Row(
                "generation", name, 1 / statistics.median(times[name]), "steps/s", peer,
                1 / statistics.median(times[peer]), times_as_fast(times[name], times[peer]),
                plan.rounds, note=same if peer == first else "",
            )  # fmt: skip


def first_chunk(lm: "LanguageModel", plan: Plan, name: str) -> Row:
    """Seconds until a stream's first audio is there, through MusicGen's own codec (random)."""
    import torch

    from musicgen_train.codec.encodec import Encodec
    from musicgen_train.musicgen import MusicGen

    codec = Encodec(
        sample_rate=32000, channels=1, n_q=N_Q, card=lm.card, ratios=[8, 5, 4, 4], n_filters=64
    )
    model = MusicGen("random", codec.to(lm.device), lm)
    model.set_generation_params(duration=2 * plan.chunk)
    wav = torch.empty(0)

    def first() -> None:
        nonlocal wav
        stream = model.generate_stream([""], chunk_duration=plan.chunk, seeds=[0])
        wav = next(stream)
        stream.close()

    found = statistics.median(seconds(first) for _ in range(3))
    case = f"{name}, the first {wav.shape[-1] / 32000:.2f} s of a stream"
    return Row("generation", case, found, "s", rounds=3)


def peak_of(shape: str, device: str, batch: int, name: str) -> float:
    """Peak memory in MiB of loading in float32 and generating, in a process of its own."""
    import torch

    text = torch.randn(batch, TEXT_LENGTH, TEXT_DIM, device=device)
    if name.startswith("transformers"):
        peer = their_musicgen(SHAPES[shape], device, getattr(torch, name.split()[-1]))
        their_run(peer, text, WARM + 1)
    else:
        from musicgen_train.lm.inference import prepare

        lm = our_model(SHAPES[shape], device).eval()
        prepare(lm, **variants(device == "cuda")[name])
        our_run(lm, text, WARM + 1)
    return peak_mib()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--shape", choices=SHAPES, default="small")
    add("--batches", type=int, nargs="+", default=[1, 4, 16])
    add("--steps", type=int, default=40)
    add("--rounds", type=int, default=5)
    add("--chunk", type=float, default=0.5, help="seconds of the stream's first chunk")
    output_argument(parser)
    args = parser.parse_args()
    plan = Plan(args.shape, args.batches, args.steps, args.rounds, args.chunk)
    run_alone(lambda limits: rows(plan, limits), args.output)


if __name__ == "__main__":
    main()
