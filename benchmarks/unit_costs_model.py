"""Unit costs of models: FLOPs and bytes, counted; training, checkpoints, separating, measured."""

import statistics
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from benchmarks.memory import in_fresh_process
from benchmarks.recipe_costs import CONF, TEXT_LENGTH

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
    """Steps of benchmarks.train_step's model; on a GPU in bfloat16, whole segments."""
    import torch

    from benchmarks.growth_point import device, one_thread, seconds
    from benchmarks.train_step import batch, our_step
    from musicgen_train.training.monitoring.model_flops import peak_flops, step_flops

    one_thread()
    on = device()
    shape = Namespace(dim=512, layers=8, heads=8, batch=2, frames=250)
    if on == "cuda":
        shape = Namespace(dim=1024, layers=24, heads=16, batch=GPU_BATCH, frames=1500)
    with torch.device(on):
        codes, text = batch(shape)
        step = our_step(shape, codes, text)

    def run() -> None:
        with torch.device(on), torch.autocast("cuda", torch.bfloat16, enabled=on == "cuda"):
            step()

    run()
    spent = statistics.median(seconds(run, on) for _ in range(rounds))
    config = {
        "dim": shape.dim, "num_layers": shape.layers, "ffn_mult": 4, "n_q": codes.shape[1],
        "card": 2048, "text_dim": shape.dim, "chroma_dim": None, "fuse_text": "cross",
        "fuse_chroma": "prepend",
    }  # fmt: skip
    reached = step_flops(config, shape.batch, shape.frames, text.shape[1], 0) / spent
    peak = peak_flops(torch.device(on), "bf16-mixed")
    return {
        "device": on, **vars(shape), "step_seconds": spent,
        "flops_per_second": reached, "mfu": reached / peak if peak else None,
    }  # fmt: skip


def checkpoint_speed(folder: Path, quick: bool) -> dict[str, float]:
    """Bytes a second of a checkpoint that is written, synced and read back, as training does it."""
    import torch

    from musicgen_train.training.surviving.checkpoint_files import write_whole

    n_bytes = (256 if quick else 2048) * 2**20
    content = {"state": torch.rand(n_bytes // 4)}
    found = []
    for _ in range(3):
        began = time.perf_counter()  # the disk's time, and not the processor's
        write_whole(content, folder / "a.ckpt")
        found.append(time.perf_counter() - began)
    spent = statistics.median(found)
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

    from benchmarks.flop_count import counted_flops
    from benchmarks.growth_point import one_thread, seconds
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
    flops: list[int] = []

    def call() -> None:
        flops.append(counted_flops(bag, lambda: separate(bag, wav)))

    spent = seconds(call)
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "times_real_time_of_a_core": duration / spent,
        "flops_per_second_of_music": flops[0] / duration,
    }
