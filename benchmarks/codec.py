"""Our EnCodec beside transformers' `EncodecModel` of the same shape and the same weights.

python -m benchmarks.codec [--preset 24khz --batch 1 --seconds 10 --rounds 5 --output FILE.json]

All code the same audio, in turn in one process, and must agree; the ratio is the median over
rounds. Only ours trains: a step is forward, every loss, the balancer, backward and Adam.
Memory is the peak of a process that does nothing else. The limit is the speed at which the
products and convolutions alone would run, at the rate of matrix products measured in this run.
"""

import argparse
import statistics
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.alone import output_argument, run_alone
from benchmarks.codec_models import (
    PRESETS,
    Calls,
    folded_codec,
    music_like,
    our_calls,
    our_codec,
)
from benchmarks.codec_models import transformers_calls as their_calls
from benchmarks.limits import Limits
from benchmarks.memory import in_fresh_process, peak_mib
from benchmarks.results import Row
from benchmarks.timing import device_name, in_turn, seconds, times_as_fast

if TYPE_CHECKING:
    from torch import Tensor

TASKS = ("encode", "decode")
CODERS = ("transformers", "ours", "ours folded")
STEPS = ("train", "train adversarial")


class Plan(NamedTuple):
    """What is coded and trained on."""

    preset: str = "32khz"
    batch: int = 1
    seconds: float = 10.0
    rounds: int = 5
    train_batch: int = 2
    train_seconds: float = 1.0
    train: bool = True
    memory: bool = True  # takes a process for each row


PLANS = {
    "quick": [
        Plan(seconds=5.0, train=False, memory=False),
        Plan("tiny", seconds=5.0, train_batch=4, memory=False),
    ],
    "full": [Plan(batch=16, seconds=30.0, train_batch=64), Plan("24khz", batch=16, train=False)],
    "dry": [Plan("tiny", seconds=0.5, rounds=1, train_batch=1, train_seconds=0.5)],
}


def rows_in(mode: str, limits: Limits) -> Iterator[Row]:
    """All rows of a mode."""
    for plan in PLANS[mode]:
        yield from rows(plan, limits)


def rows(plan: Plan, limits: Limits) -> Iterator[Row]:
    """Speed in multiples of real time, and memory, of coding and of training steps."""
    peaks: dict[str, float] = {}
    for row in coding(plan, limits):
        names = (row.case, f"{row.case.split(', ')[0]}, transformers")
        for name in names if plan.memory else ():
            if name not in peaks:
                peaks[name] = in_fresh_process(peak_of, name, plan)
        mib, peer_mib = (peaks.get(name) for name in names)
        size = f"{plan.preset}, {plan.batch} x {plan.seconds:g} s"
        yield row._replace(case=f"{size}, {row.case}", mib=mib, peer_mib=peer_mib)
    for name in STEPS if plan.train else ():
        yield training(name, plan)


def coding(plan: Plan, limits: Limits) -> Iterator[Row]:
    """Ours beside transformers', once they are seen to agree."""
    import torch

    torch.backends.cudnn.allow_tf32 = False  # rounded products would not agree
    duration = plan.batch * plan.seconds
    with torch.inference_mode():
        calls = {name: coder(name, plan) for name in CODERS}
    for task in TASKS:
        limit = duration * limits.float32 / task_flops(task, plan)
        with torch.inference_mode():
            outputs = {name: call[task]() for name, call in calls.items()}
            for name in CODERS[1:]:
                check_equal(task, name, outputs[name], outputs["transformers"])
            times = in_turn({name: calls[name][task] for name in CODERS}, plan.rounds)
        speeds = {name: duration / statistics.median(found) for name, found in times.items()}
        for name in CODERS[1:]:
            ratio = times_as_fast(times[name], times["transformers"])
            yield Row(
                "codec", f"{task}, {name}", speeds[name], "x real time", "transformers",
                speeds["transformers"], ratio, plan.rounds, limit,
            )  # fmt: skip


def task_flops(task: str, plan: Plan) -> int:
    """Of the folded codec, as torch's counter cannot look into weight norm."""
    from benchmarks.flops import counted_flops

    codec = folded_codec(plan.preset)
    second = music_like(1, 1.0, codec.sample_rate)
    call = our_calls(codec, second, codec.encode(second))[task]
    return round(counted_flops(call, codec) * plan.batch * plan.seconds)


def training(name: str, plan: Plan) -> Row:
    """A training step, which transformers does not have."""
    step = training_step(name, plan)
    step()
    found = statistics.median(seconds(step) for _ in range(plan.rounds))
    duration = plan.train_batch * plan.train_seconds
    case = f"{plan.preset}, {plan.train_batch} x {plan.train_seconds:g} s, {name}"
    mib = in_fresh_process(peak_of, name, plan) if plan.memory else None
    return Row(
        "codec", case, duration / found, "x real time", rounds=plan.rounds, mib=mib,
        note=f"{found:.2f} s a step; transformers cannot train it",
    )  # fmt: skip


def coder(name: str, plan: Plan) -> Calls:
    """Encode and decode by one of `CODERS`."""
    from musicgen_train.codec.folding import fold_weight_norm

    wav = music_like(plan.batch, plan.seconds, rate_of(plan)).to(device_name())
    codec = our_codec(plan.preset).to(wav.device)
    codes = codec.encode(wav)  # the same for all to decode: one rounding apart, some differ
    if name == "transformers":
        return their_calls(codec, wav, codes)
    return our_calls(fold_weight_norm(codec) if name == "ours folded" else codec, wav, codes)


def training_step(name: str, plan: Plan) -> Callable[[], None]:
    """One of `STEPS`, as the training module takes it, without Lightning around it."""
    import torch

    from musicgen_train.training.adversary import Adversary
    from musicgen_train.training.codec_module import CodecModule
    from musicgen_train.training.discriminator import MultiScaleSTFTDiscriminator

    adam = partial(torch.optim.Adam, lr=3e-4, betas=(0.5, 0.9))
    weights = {"adv": 4.0, "feat": 4.0}
    adversary = Adversary(MultiScaleSTFTDiscriminator(), adam, weights=weights)
    module = CodecModule(
        our_codec(plan.preset), adam, adversary=adversary if name != "train" else None,
        weights={"l1": 0.1, "msspec": 2.0}, ema_decay=None,
    )  # fmt: skip
    wav = music_like(plan.train_batch, plan.train_seconds, rate_of(plan)).to(device_name())
    module.to(wav.device).train()
    optimizers = module.configure_optimizers()

    def step() -> None:
        output = module.codec(wav)
        losses = module.reconstruction_losses(output.wav, wav)
        if module.adversary is not None:
            update(optimizers[1], module.adversary.own_loss(output.wav, wav)[0])
            losses |= module.adversary.codec_losses(output.wav, wav)
        balanced = module.balancer(losses, output.wav)
        update(optimizers[0], balanced.loss + module.commitment * output.commitment)

    return step


def update(optimizer: Any, loss: "Tensor") -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def rate_of(plan: Plan) -> int:
    return PRESETS[plan.preset]["sample_rate"]


def check_equal(task: str, name: str, ours: "Tensor", theirs: "Tensor") -> None:
    """Stop where what is timed is not the same work."""
    if task == "encode":
        share = (ours == theirs).float().mean().item()
        assert share > 0.999, f"{name}: only {share:.4%} of the codes are transformers'"
    else:
        difference = (ours - theirs).abs().max().item()
        assert difference < 1e-4, f"{name}: audio differs from transformers' by {difference}"


def peak_of(row: str, plan: Plan) -> float:
    """Peak MiB of one row's work, twice; to be called in a process of its own."""
    import torch

    if row in STEPS:
        step = training_step(row, plan)
        step()
        step()
        return peak_mib()
    task, _, name = row.partition(", ")
    with torch.inference_mode():
        call = coder(name, plan)[task]
        call()
        call()
    return peak_mib()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--preset", choices=PRESETS, default="32khz")
    add("--batch", type=int, default=1)
    add("--seconds", type=float, default=10.0)
    add("--rounds", type=int, default=5)
    add("--train-batch", type=int, default=2)
    add("--train-seconds", type=float, default=1.0)
    add("--no-train", action="store_true", help="encode and decode only")
    output_argument(parser)
    args = parser.parse_args()
    plan = Plan(
        args.preset, args.batch, args.seconds, args.rounds, args.train_batch, args.train_seconds,
        not args.no_train,
    )  # fmt: skip
    run_alone(lambda limits: rows(plan, limits), args.output)


if __name__ == "__main__":
    main()
