"""Unit costs of models: FLOPs and bytes, counted; training, checkpoints, separating, measured."""

import statistics
from pathlib import Path
from typing import Any

from benchmarks.lm_models import SHAPES
from benchmarks.memory import in_fresh_process
from benchmarks.recipe_costs import CONF, TEXT_LENGTH
from benchmarks.timing import device_name, device_seconds, one_thread, seconds

SIZES = ("small", "medium", "large")
SEGMENT = 30.0  # seconds of music that a sample is
GPU_BATCH = 8  # samples of a measured step


def count_models() -> dict[str, dict[str, float]]:
    """Parameters, FLOPs of a training step for each token, and bytes of a checkpoint, by size."""
    return {size: count_model(size) for size in SIZES}


def count_model(size: str) -> dict[str, float]:
    """One size with text, as conf/experiment/pretrain_* trains it; nothing is allocated."""
    import torch
    from hydra import compose, initialize_config_dir
    from hydra.utils import instantiate

    from musicgen_train.training.monitoring.model_flops import step_flops

    groups = ["codec=encodec_32khz", "conditioning=text", f"model={size}"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", groups)
    with torch.device("meta"):
        lm = instantiate(cfg.model, _convert_="all")
    n_parameters = sum(p.numel() for p in lm.parameters())
    n_frames = round(SEGMENT * cfg.codec.frame_rate)
    flops = step_flops(lm.config, 1, n_frames, TEXT_LENGTH, 0)
    layer = sum(p.numel() for p in lm.layers[0].parameters())
    return {
        "parameters": n_parameters,
        "layer_parameters": layer,
        "frame_rate": float(cfg.codec.frame_rate),
        "n_q": int(cfg.codec.n_q),
        "flops_per_sample": flops,
        "flops_per_token": flops / (n_frames * cfg.codec.n_q),
        "checkpoint_bytes": checkpoint_bytes(n_parameters),
    }


def checkpoint_bytes(n_parameters: int) -> int:
    """Of a training checkpoint: float32 weights, their average, and Adam's two averages."""
    return 4 * 4 * n_parameters


def training_speed(quick: bool) -> dict[str, Any]:
    """FLOP/s of a training step: of `small` on a GPU, of a smaller model on one core of a CPU."""
    return in_fresh_process(measure_training, 2 if quick else 10)


def measure_training(rounds: int) -> dict[str, Any]:
    """Steps as train.py takes them; on a GPU in bfloat16, whole segments."""
    import torch

    from benchmarks.train_step import Plan, flops_of_frame, make_step
    from musicgen_train.training.monitoring.model_flops import peak_flops

    one_thread()
    device, ways = device_name(), ("as train.py does",)
    plan = Plan("base", 2, 250, ways)
    if device == "cuda":
        plan = Plan("small", GPU_BATCH, 1500, ways)
    step = make_step(plan, *ways)
    step()
    spent = statistics.median(device_seconds(step, device) for _ in range(rounds))
    reached = flops_of_frame(plan) * plan.batch * plan.frames / spent
    peak = peak_flops(torch.device(device), "bf16-mixed")
    return {
        "device": device, **SHAPES[plan.shape]._asdict(), "batch": plan.batch,
        "frames": plan.frames, "step_seconds": spent, "flops_per_second": reached,
        "mfu": reached / peak if peak else None,
    }  # fmt: skip


def checkpoint_speed(folder: Path, quick: bool) -> dict[str, float]:
    """Bytes a second of a checkpoint that is written, synced and read back, as training does it."""
    import torch

    from musicgen_train.training.surviving.checkpoint_files import write_whole

    n_bytes = (256 if quick else 2048) * 2**20
    content = {"state": torch.rand(n_bytes // 4)}
    # Wall time: the disk's, and not the processor's.
    spent = statistics.median(
        seconds(lambda: write_whole(content, folder / "a.ckpt")) for _ in range(3)
    )
    return {"bytes": n_bytes, "seconds": spent, "bytes_per_second": n_bytes / spent}


def separating() -> dict[str, float]:
    """HT-Demucs of the released shape through our separator: one window, on one core."""
    return in_fresh_process(measure_separating)


def measure_separating() -> dict[str, float]:
    """Seconds of music a second of one core, and matrix FLOPs for each second of music."""
    from fractions import Fraction

    import torch
    from demucs.apply import BagOfModels
    from demucs.htdemucs import HTDemucs

    from benchmarks.flops import counted_flops
    from musicgen_train.conditioning.stem_stream import OVERLAP
    from musicgen_train.conditioning.stems import separate

    one_thread()
    sources = ["drums", "bass", "other", "vocals"]
    window: Any = Fraction(39, 5)  # seconds
    model = HTDemucs(sources, bottom_channels=512, dconv_mode=3, segment=window).eval()
    bag = BagOfModels([model]).eval()
    # A window begins after each such stretch, so that this much music takes one window.
    duration = float(model.segment) * (1 - OVERLAP)
    wav = torch.randn(2, int(duration * model.samplerate)) / 10
    flops = counted_flops(lambda: separate(bag, wav), bag)  # counting slows it, and warms it up
    spent = device_seconds(lambda: separate(bag, wav), "cpu")
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "times_real_time_of_a_core": duration / spent,
        "flops_per_second_of_music": flops / duration,
    }
