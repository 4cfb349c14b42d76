"""Estimated memory of trainings beside what they then take, each in a process of its own.

python -m benchmarks.memory_estimate [--steps 4] [--only lm]

Codes and audio are made up: memory does not depend on what they say. Estimated is what train.py
prints before it starts; measured is the most that its process ever had in use (VmHWM): until the
last step, and until its end, when the model has been written.
"""

import argparse
import csv
import re
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

from benchmarks.memory import status_mib

ROOT = Path(__file__).parents[1]
LM_SHAPES = {
    "lm dim 256, 4 layers, 8 x 8 s": ["model=demo", "data.batch_size=8"],
    "lm dim 512, 8 layers, 4 x 8 s": ["model=base", "data.batch_size=4"],
    "lm dim 768, 12 layers, 2 x 8 s": [
        "model=base", "model.dim=768", "model.num_heads=12", "model.num_layers=12",
        "data.batch_size=2",
    ],
}  # fmt: skip
LM_VARIANTS = {
    "": ["task.ema_decay=null"],
    ", recomputed": ["task.ema_decay=null", "task.recompute=true"],
    ", averaged": ["task.ema_decay=0.99", "task.ema_every=1"],
}
CODEC_SHAPES = {
    "codec 16 kHz, tiny, 8 x 1 s": ["experiment=codec_tiny", "data.batch_size=8"],
    "codec 32 kHz, 16 filters, 4 x 1 s": [
        "experiment=codec_32khz", "trainer=cpu", "codec.n_filters=16", "codec.dimension=64",
        "data.batch_size=4", "data.num_workers=0", "task.adversary.discriminator.filters=8",
    ],
}  # fmt: skip


def make_datasets(folder: Path) -> dict[int, dict[str, Path]]:
    """Two minutes of noise at 16 and 32 kHz as audio, and codes of the former; by sample rate."""
    import numpy as np
    import soundfile

    from data_prep.prepare import prepare
    from data_prep.tokenize import tokenize
    from musicgen_train.formats import load_codec

    rng = np.random.default_rng(0)
    for artist in ("ada", "bo", "cy", "dee"):
        (folder / "library" / artist).mkdir(parents=True)
        wav = rng.standard_normal(32000 * 34) / 20
        soundfile.write(folder / "library" / artist / "song.wav", wav, 32000)
    made: dict[int, dict[str, Path]] = {}
    for rate in (16000, 32000):
        made[rate] = {"audio": folder / f"audio_{rate}"}
        prepare(
            folder / "library", made[rate]["audio"], sample_rate=rate, segment_duration=8.0,
            chroma_window=8192, chroma_hop=4096, num_workers=0, duplicates="none",
        )  # fmt: skip
    made[16000]["codes"] = folder / "codes"
    codec = load_codec("codec_tiny")
    tokenize(made[16000]["audio"], folder / "codes", codec)
    return made


def measure(name: str, overrides: list[str], folder: Path) -> tuple[float, float, float]:
    """GB that train.py said, and GB that it took until the last step and until the end."""
    command = [
        sys.executable, str(ROOT / "train.py"), *overrides, f"name={name}", "num_threads=2",
        "callbacks.samples=null", "trainer.limit_val_batches=1", "trainer.log_every_n_steps=1",
        "schedule=constant",
    ]  # fmt: skip
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    peak, done = [0.0], threading.Event()
    watcher = threading.Thread(target=watch, args=(process.pid, peak, done))
    watcher.start()
    output, _ = process.communicate()
    done.set()
    watcher.join()
    found = re.search(r"; ([\d.]+) GB", output)
    if process.returncode or not found:
        raise SystemExit(f"{' '.join(command)}\n{output[-3000:]}")
    with (folder / "runs" / name / "logs" / "version_0" / "metrics.csv").open() as rows:
        logged = [row.get("memory/process_peak_gb") for row in csv.DictReader(rows)]
    return float(found[1]), max(float(value) for value in logged if value), peak[0]


def watch(pid: int, peak: list[float], done: threading.Event) -> None:
    """Keep the most memory of a process in GB: also if it sets its own record back."""
    while not done.wait(0.02):
        with suppress(OSError, ValueError):  # the process has ended
            peak[0] = max(peak[0], status_mib("VmHWM", pid) * 2**20 / 1e9)


def runs(made: dict[int, dict[str, Path]], steps: int) -> dict[str, list[str]]:
    """Every training of the table, with its overrides."""
    table = {}
    for shape, size in LM_SHAPES.items():
        for variant, settings in LM_VARIANTS.items():
            table[shape + variant] = [
                "codec_path=codec_tiny", f"data.path={made[16000]['codes']}",
                "task.max_duration=8.0", f"max_steps={steps}", *size, *settings,
            ]  # fmt: skip
    for shape, size in CODEC_SHAPES.items():
        rate = 32000 if "32 kHz" in shape else 16000
        table[shape] = [
            *size, f"data.path={made[rate]['audio']}", "data.segment_duration=1.0",
            "task.warmup_steps=0", "task.kmeans_batches=2", "task.adversary.start_step=0",
            f"max_steps={steps}",
        ]  # fmt: skip
    return table


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Estimated memory of trainings, and measured.")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--only", default="", help="runs whose name begins so")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = make_datasets(folder)
        print("| training | estimated GB | in its steps | to its end | off by |")
        print("|---|---|---|---|---|", flush=True)
        for i, (run, overrides) in enumerate(runs(made, arguments.steps).items()):
            if run.startswith(arguments.only):
                said, steps, whole = measure(f"run_{i}", overrides, folder)
                off = f"{100 * (said / whole - 1):+.0f} %"
                print(f"| {run} | {said:.2f} | {steps:.2f} | {whole:.2f} | {off} |", flush=True)


if __name__ == "__main__":
    main()
