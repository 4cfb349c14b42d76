"""Our EnCodec beside transformers' `EncodecModel` of the same shape and the same weights.

python -m benchmarks.codec [--preset 24khz --batch 1 --seconds 10 --rounds 5 --output FILE.json]

All code the same audio, in turn in one process, and must agree; the ratio is the median over
rounds. Only ours trains: a step is forward, every loss, the balancer, backward and Adam.
Memory is the peak of a process that does nothing else.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.codec_models import PRESETS, Calls, music_like, our_calls, our_codec
from benchmarks.codec_models import transformers_calls as their_calls
from benchmarks.memory import in_fresh_process, peak_mib

if TYPE_CHECKING:
    from torch import Tensor

TASKS = ("encode", "decode")
CODERS = ("transformers", "ours", "ours folded")
STEPS = ("train", "train adversarial")


def coder(name: str, audio: dict[str, Any]) -> Calls:
    """Encode and decode by one of `CODERS`."""
    from musicgen_train.codec.folding import fold_weight_norm

    wav = on_device(music_like(audio["batch"], audio["seconds"], rate_of(audio)))
    codec = our_codec(audio["preset"]).to(wav.device)
    codes = codec.encode(wav)  # the same for all to decode: one rounding apart, some differ
    if name == "transformers":
        return their_calls(codec, wav, codes)
    return our_calls(fold_weight_norm(codec) if name == "ours folded" else codec, wav, codes)


def training_step(name: str, audio: dict[str, Any]) -> Callable[[], None]:
    """One of `STEPS`, as the training module takes it, without Lightning around it."""
    import torch

    from musicgen_train.training.adversary import Adversary
    from musicgen_train.training.codec_module import CodecModule
    from musicgen_train.training.discriminator import MultiScaleSTFTDiscriminator

    adam = partial(torch.optim.Adam, lr=3e-4, betas=(0.5, 0.9))
    weights = {"adv": 4.0, "feat": 4.0}
    adversary = Adversary(MultiScaleSTFTDiscriminator(), adam, weights=weights)
    module = CodecModule(
        our_codec(audio["preset"]), adam, adversary=adversary if name != "train" else None,
        weights={"l1": 0.1, "msspec": 2.0}, ema_decay=None,
    )  # fmt: skip
    wav = on_device(music_like(audio["train_batch"], audio["train_seconds"], rate_of(audio)))
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


def rate_of(audio: dict[str, Any]) -> int:
    return PRESETS[audio["preset"]]["sample_rate"]


def on_device(wav: "Tensor") -> "Tensor":
    import torch

    return wav.to("cuda" if torch.cuda.is_available() else "cpu")


def compare(audio: dict[str, Any], rounds: int) -> dict[str, dict[str, float]]:
    """Seconds of each task by each coder, and how many times as fast as transformers it is."""
    import torch

    with torch.inference_mode():
        calls = {name: coder(name, audio) for name in CODERS}
        result = {}
        for task in TASKS:
            outputs = {name: call[task]() for name, call in calls.items()}
            for name in CODERS[1:]:
                check_equal(task, name, outputs[name], outputs["transformers"])
            times = [{name: seconds(calls[name][task]) for name in CODERS} for _ in range(rounds)]
            for name in CODERS:
                result[f"{task}, {name}"] = {
                    "seconds": statistics.median(t[name] for t in times),
                    "ratio": statistics.median(t["transformers"] / t[name] for t in times),
                }
    return result


def check_equal(task: str, name: str, ours: "Tensor", theirs: "Tensor") -> None:
    """Stop where what is timed is not the same work."""
    if task == "encode":
        share = (ours == theirs).float().mean().item()
        assert share > 0.999, f"{name}: only {share:.4%} of the codes are transformers'"
    else:
        difference = (ours - theirs).abs().max().item()
        assert difference < 1e-4, f"{name}: audio differs from transformers' by {difference}"


def seconds(call: Callable[[], Any]) -> float:
    """Wall time of one call, the GPU's work included."""
    import torch

    wait = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    wait()
    began = time.perf_counter()
    call()
    wait()
    return time.perf_counter() - began


def time_steps(name: str, audio: dict[str, Any], rounds: int) -> dict[str, float]:
    step = training_step(name, audio)
    step()
    return {"seconds": statistics.median(seconds(step) for _ in range(rounds))}


def peak_of(row: str, audio: dict[str, Any]) -> float:
    """Peak MiB of one row's work, twice; to be called in a process of its own."""
    import torch

    if row in STEPS:
        step = training_step(row, audio)
        step(), step()
        return peak_mib()
    task, _, name = row.partition(", ")
    with torch.inference_mode():
        call = coder(name, audio)[task]
        call(), call()
    return peak_mib()


def measure(audio: dict[str, Any], rounds: int, with_training: bool) -> dict[str, Any]:
    """Every row: seconds, items a second, times real time, memory."""
    print("timing ours beside transformers' ...", flush=True)
    rows: dict[str, dict[str, float]] = compare(audio, rounds)
    for name in STEPS if with_training else ():
        print(f"timing: {name} ...", flush=True)
        rows[name] = time_steps(name, audio, rounds)
    for i, (name, row) in enumerate(rows.items(), start=1):
        print(f"memory, {i} of {len(rows)}: {name} ...", flush=True)
        train = "train_" if name in STEPS else ""
        batch, duration = audio[f"{train}batch"], audio[f"{train}seconds"]
        row["items_per_second"] = batch / row["seconds"]
        row["times_real_time"] = batch * duration / row["seconds"]
        row["peak_mib"] = in_fresh_process(peak_of, name, audio)
    return rows


def print_table(rows: dict[str, dict[str, float]]) -> None:
    print(f"{'':22}{'s':>8}{'items/s':>9}{'x real time':>13}{'x transformers':>16}{'MiB':>7}")
    for name, row in rows.items():
        ratio = f"{row['ratio']:.2f}" if "ratio" in row else ""
        print(
            f"{name:22}{row['seconds']:8.3f}{row['items_per_second']:9.2f}"
            f"{row['times_real_time']:13.2f}{ratio:>16}{row['peak_mib']:7.0f}"
        )


def main() -> None:
    """Measure, print a table and JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--preset", choices=PRESETS, default="32khz")
    add("--batch", type=int, default=1)
    add("--seconds", type=float, default=10.0)
    add("--rounds", type=int, default=5)
    add("--train-batch", type=int, default=2)
    add("--train-seconds", type=float, default=1.0)
    add("--no-train", action="store_true", help="encode and decode only")
    add("--output", type=Path, help="also write the JSON to this file")
    args = parser.parse_args()
    audio = {
        name: getattr(args, name)
        for name in ("preset", "batch", "seconds", "train_batch", "train_seconds")
    }

    import torch

    cuda = torch.cuda.is_available()
    result = {
        **audio,
        "rows": measure(audio, args.rounds, not args.no_train),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "machine": torch.cuda.get_device_name() if cuda else platform.processor() or "cpu",
    }
    print_table(result["rows"])
    print(json.dumps(result))
    if args.output:
        args.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
