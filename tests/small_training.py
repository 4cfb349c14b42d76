"""Every experiment of conf/ at a size that steps in milliseconds."""

import csv
from pathlib import Path

from hydra import compose, initialize_config_dir

import train

ROOT = Path(__file__).parents[1]
TINY = [
    "codec.sample_rate=2000", "codec.frame_rate=100.0", "codec.card=16", "codec.ratios=[4,5]",
    "codec.n_filters=4", "codec.dimension=8", "num_threads=1", "schedule.warmup_steps=0",
    "trainer.val_check_interval=2", "trainer.log_every_n_steps=1",
    "callbacks.checkpoint.every_n_train_steps=2", "callbacks.checkpoint.save_top_k=-1",
]  # fmt: skip
TINY_LM = [
    "model.dim=16", "model.num_heads=2", "model.num_layers=1", "data.batch_size=3",
    "conditioning.chroma_length=8", "conditioning.chroma.window=1024",
    "conditioning.chroma.hop=256", "conditioning.chroma_rate=0.078125", "conditioning.text_dim=8",
]  # fmt: skip


def arguments(experiment, datasets, *overrides):
    """What train.py is given for an experiment at this size; task and data stay its own."""
    if experiment.startswith("codec"):
        size = [f"data.path={datasets['audio']}", "data.segment_duration=0.5", "data.batch_size=2"]
        size += ["task.warmup_steps=0", "task.kmeans_batches=4"]
        if experiment != "codec_demo":  # which has no adversary
            size += ["task.adversary.discriminator.filters=4", "task.adversary.start_step=1"]
            size += ["task.adversary.discriminator.n_ffts=[256,128]"]
        size.append(f"init_from={datasets['codec']}" if experiment == "codec_demo" else "seed=1")
        size += ["trainer=cpu"] if experiment == "codec_32khz" else []
    else:
        size = [*TINY_LM, f"data.path={datasets['codes']}", f"codec_path={datasets['codec']}"]
    return [f"experiment={experiment}", *TINY, *size, *overrides]


def config(experiment, datasets, *overrides):
    """The experiment at a size that steps in milliseconds."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("train", arguments(experiment, datasets, *overrides))


def fit(cfg):
    train.run(cfg)
    return Path("runs") / cfg.name


def link_repository(folder):
    """Let recipes and train.py run in an empty folder, where runs/ is then."""
    for name in ("train.py", "conf", "recipes"):
        (folder / name).symlink_to(ROOT / name)


def losses(run_dir):
    """(step, training loss) in order, over all the logs of a run."""
    rows = {}
    for log in sorted(run_dir.glob("logs/version_*/metrics.csv")):
        for row in csv.DictReader(log.open()):
            value = row.get("train/ce") or row.get("train/l1")
            if value:
                rows[int(row["step"])] = float(value)
    return sorted(rows.items())
