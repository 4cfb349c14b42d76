"""Train the judge on a demo corpus: python -m recipes.train_judge corpus=CORPUS.

Writes config.json, model.safetensors and a model card to output_dir and prints how well the
judge hears pieces by artists it was not trained on.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra

from musicgen_train.errors import UserError, exit_on_user_error

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from musicgen_train.evaluation.embedders.judge_training import LabelledTrack

MODEL_CARD = """# The judge

A small tagger (log-mel convolutions, onset autocorrelation and a transposition-equivariant
semitone branch; {n_parameters:,} parameters, 16 kHz mono, windows of {window:.0f} s) that hears
lead instrument, genre, key and tempo class, and whose {dim}-d layer before the heads serves as
an embedding for FAD[judge].

It was trained by `python -m recipes.train_judge` on {n_train} vocal-free procedurally composed
pieces rendered with General MIDI instruments by the demo corpus generator (corpus seed
{corpus_seed}, {steps} steps of {batch_size} windows, seed {seed}, {minutes:.1f} minutes on CPU).
The demo composes its pieces with another seed, so the judge has not heard them.

Accuracy on {n_clips} clips of 8 s, openings and endings included, of {n_test} pieces by artists
it was not trained on:

| head | labels | accuracy | on worn copies | chance | always the most frequent label |
|---|---|---|---|---|---|
{rows}

Chance is one over the number of labels. Worn copies have their tone, bandwidth, spectral
sharpness and phase disturbed and noise added by random amounts, as most training windows had.

The judge knows nothing but General MIDI renderings of such pieces: on recorded music its labels
mean little, and its numbers compare with no published FAD or KL, only with each other, between
the two ends of the scale given beside them.
"""


@hydra.main(version_base="1.3", config_path="../conf", config_name="train_judge")
@exit_on_user_error
def main(cfg: DictConfig) -> None:
    import torch

    from musicgen_train.evaluation.embedders.judge import Judge, save_judge
    from musicgen_train.evaluation.embedders.judge_training import (
        corpus_labels,
        held_out_accuracy,
        split_by_artist,
    )

    tracks, seeds = read_corpus(Path(cfg.corpus))
    train, test = split_by_artist(tracks, cfg.held_out)
    labels, edges = corpus_labels(train)
    print(f"{len(train)} tracks to train on, {len(test)} by other artists to test on")
    torch.manual_seed(cfg.seed)
    judge = Judge(labels, edges)
    started = time.monotonic()
    train_with_progress(judge, train, cfg)
    minutes = (time.monotonic() - started) / 60
    accuracy = held_out_accuracy(judge, test)
    figures = {
        "corpus_seeds": seeds,
        "n_train": len(train),
        "n_test": len(test),
        "steps": cfg.steps,
        "batch_size": cfg.batch_size,
        "lr": cfg.lr,
        "seed": cfg.seed,
        "minutes": round(minutes, 2),
        "held_out": accuracy,
    }
    save_judge(judge, Path(cfg.output_dir), figures)
    write_model_card(judge, Path(cfg.output_dir), figures)
    print_accuracies(accuracy)
    print(f"judge written to {cfg.output_dir}")


def read_corpus(folder: Path) -> tuple[list[LabelledTrack], list[int]]:
    """Every track of the corpus in memory, and the corpus seeds named in its sidecars."""
    import json

    from rich.progress import track as progress

    from musicgen_train.evaluation.embedders.judge_training import find_sidecars, read_track

    if not folder.is_dir():
        raise UserError(
            f"no such corpus folder: {folder}; write one with `python -m data_prep.demo`"
        )
    sidecars = find_sidecars(folder)
    seeds = {json.loads(path.read_text())["seed"] for path in sidecars}
    tracks = [read_track(path) for path in progress(sidecars, "Reading the corpus")]
    return tracks, sorted(seeds)


def train_with_progress(judge: Any, tracks: list[LabelledTrack], cfg: DictConfig) -> None:
    """Train with a bar that shows the loss and the time that is left."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from musicgen_train.evaluation.embedders.judge_training import train_judge

    loss_column = TextColumn("loss {task.fields[loss]:.2f}")
    columns = ("Training the judge", BarColumn(), MofNCompleteColumn(), loss_column)
    with Progress(*columns, TimeRemainingColumn()) as progress:
        task = progress.add_task("train", total=cfg.steps, loss=float("nan"))

        def advance(step: int, loss: float) -> None:
            progress.update(task, completed=step, loss=loss)

        train_judge(judge, tracks, cfg.steps, cfg.batch_size, cfg.lr, cfg.seed, advance)


def print_accuracies(accuracy: dict[str, dict[str, float]]) -> None:
    """A table of held-out accuracies beside chance."""
    from rich.console import Console
    from rich.table import Table

    table = Table(
        "head", "accuracy", "worn copies", "chance", "most frequent label", title="Judge, held out"
    )
    for head, row in accuracy.items():
        table.add_row(
            head, *(f"{row[key]:.3f}" for key in ("accuracy", "worn", "chance", "majority"))
        )
    Console().print(table)


def write_model_card(judge: Any, folder: Path, figures: dict[str, Any]) -> None:
    """README.md beside the weights: what it is, how it was made, how well it hears."""
    from musicgen_train.evaluation.embedders.judge_features import WINDOW_DURATION
    from musicgen_train.whole_files import replacing

    rows = [
        f"| {head} | {len(judge.labels[head])} | {row['accuracy']:.3f} | {row['worn']:.3f} "
        f"| {row['chance']:.3f} | {row['majority']:.3f} |"
        for head, row in figures["held_out"].items()
    ]
    card = MODEL_CARD.format(
        n_parameters=sum(p.numel() for p in judge.parameters()),
        window=WINDOW_DURATION,
        dim=judge.config["embedding_dim"],
        corpus_seed=", ".join(map(str, figures["corpus_seeds"])) or "unknown",
        rows="\n".join(rows),
        n_clips=figures["held_out"]["genre"]["n_clips"],
        **{k: v for k, v in figures.items() if k not in ("held_out", "corpus_seeds")},
    )
    with replacing(folder / "README.md") as partial:
        partial.write_text(card)


if __name__ == "__main__":
    main()
