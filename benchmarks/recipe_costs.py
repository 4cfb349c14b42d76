"""What the recipes of language models cost: parameters, FLOPs, memory of a GPU, GPU hours.

python -m benchmarks.recipe_costs [--gpus 8 --peak 989 --mfu 0.4]

Calculated, not measured: hours are those of GPUs of `peak` 10^12 FLOPs a second that spend `mfu` of
them on the model (the run logs what it reaches). Memory is what weights, gradients, averages and
the optimizer take of a GPU; activations come on top, and train.py says how much before it starts.
"""

import argparse
from pathlib import Path

CONF = Path(__file__).parents[1] / "conf"
EXPERIMENTS = ("pretrain_small", "pretrain_medium", "pretrain_melody", "stereo_small")
TEXT_LENGTH = 16  # tokens of a description
STATE_BYTES = 4 * 5  # float32 weight, gradient, average, and Adam's two averages


def cost(experiment: str, gpus: int, peak: float, mfu: float) -> list[str]:
    """One row of the table."""
    import torch
    from hydra import compose, initialize_config_dir
    from hydra.utils import instantiate

    from musicgen_train.training.monitoring.model_flops import step_flops

    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", [f"experiment={experiment}", "data.path=none"])
    with torch.device("meta"):
        lm = instantiate(cfg.model, _convert_="all")
    n_parameters = sum(p.numel() for p in lm.parameters())
    batch = cfg.data.batch_size * gpus * cfg.trainer.accumulate_grad_batches
    n_frames = round(30 * cfg.codec.frame_rate)
    flops = step_flops(lm.config, batch, n_frames, TEXT_LENGTH, cfg.model.chroma_length)
    hours = cfg.max_steps * flops / (peak * 1e12 * mfu) / 3600
    sharded = "fsdp" in str(cfg.trainer.get("strategy")).lower() or "Sharded" in str(cfg.trainer)
    state = n_parameters * STATE_BYTES / (gpus if sharded else 1) / 1e9
    return [
        experiment, f"{n_parameters / 1e6:.0f} M", str(batch), f"{flops / 1e15:.2f}",
        f"{state:.1f} GB", f"{hours / cfg.max_steps * 3600 / gpus:.2f} s", f"{hours:.0f}",
        f"{hours / gpus / 24:.1f}",
    ]  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--peak", type=float, default=989.4, help="10^12 FLOPs a second of a GPU")
    parser.add_argument("--mfu", type=float, default=0.4, help="share of the peak that is reached")
    args = parser.parse_args()
    head = ["experiment", "parameters", "batch", "10^15 FLOPs a step", "state a GPU", "a step"]
    rows = [[*head, "GPU hours", f"days on {args.gpus} GPUs"]]
    rows += [cost(name, args.gpus, args.peak, args.mfu) for name in EXPERIMENTS]
    for row in rows:
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
