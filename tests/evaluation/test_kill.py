"""An evaluation that is killed goes on where it was, and ends as if it had not been."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from musicgen_train.evaluation.held_out import read_held_out
from musicgen_train.evaluation.model_evaluation import evaluate_model
from musicgen_train.evaluation.sampling import Sampling, generate_wavs
from tests.evaluation.small_evaluation import (
    SECONDS,
    small_evaluation,
    small_parts,
    write_dataset,
)
from tests.evaluation.test_evaluate import ROOT, model, of_model  # noqa: F401


def results(folder: Path) -> dict[str, bytes]:
    """metrics.json and everything that was made, by name."""
    kept = [folder / "metrics.json", folder / "chroma.npz", *folder.rglob("audio/**/*.flac")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in kept}


def test_an_evaluation_that_breaks_off_makes_only_what_is_missing(tmp_path, monkeypatch):
    held_out = read_held_out(write_dataset(tmp_path / "data", 8), 4, SECONDS)

    def evaluate(name: str) -> None:
        evaluation = small_evaluation(tmp_path / name / "out")
        sampling = Sampling(batch_size=2)
        evaluate_model(small_parts(), held_out, SECONDS, sampling, evaluation)

    made = []

    def breaks_off(*args, **kwargs):
        made.append(args[4])  # the place of the batch's first prompt
        if len(made) == 4:
            raise KeyboardInterrupt
        return generate_wavs(*args, **kwargs)

    evaluate("straight")
    monkeypatch.setattr("musicgen_train.evaluation.making.generate_wavs", breaks_off)
    with pytest.raises(KeyboardInterrupt):
        evaluate("broken")
    assert not (tmp_path / "broken" / "out" / "metrics.json").exists()
    evaluate("broken")
    # text 0 and 2, melody 0, melody 2 (broken off), melody 2, untrained 0 and 2
    assert made == [0, 2, 0, 2, 2, 0, 2]
    straight, broken = (results(tmp_path / name / "out") for name in ("straight", "broken"))
    assert straight == broken


@pytest.mark.slow
def test_an_evaluation_that_is_killed_ten_times_has_the_metrics_of_a_straight_run(
    model,  # noqa: F811
    tmp_path,
):
    def start(name: str) -> subprocess.Popen:
        arguments = of_model(model, tmp_path / name / "out", "report=false")
        return subprocess.Popen(
            [sys.executable, "evaluate.py", *arguments], cwd=ROOT, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    began = time.monotonic()
    assert start("straight").wait() == 0
    duration = time.monotonic() - began
    rng, killed = random.Random(0), 0
    for _ in range(10):
        process = start("killed")
        try:
            process.wait(rng.uniform(0.4, 1.0) * duration)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1
    assert killed >= 5
    assert start("killed").wait() == 0
    straight, after = (results(tmp_path / name / "out") for name in ("straight", "killed"))
    assert straight == after
    assert not list((tmp_path / "killed" / "out").rglob(".*"))
