"""Training the judge on a corpus whose labels are known because it was composed from them."""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from musicgen_train.data.audio import read_audio, resample
from musicgen_train.errors import UserError
from musicgen_train.evaluation.embedders.judge import KEYS, Judge, key_label
from musicgen_train.evaluation.embedders.judge_degradation import degrade
from musicgen_train.evaluation.embedders.judge_features import (
    SAMPLE_RATE,
    WINDOW_DURATION,
    normalise,
)

CROP_DURATION = 8.0  # seconds over which a training crop's loudness is normalised
WORN_SHARE = 0.6  # of the training windows pass through `degrade`


@dataclass
class LabelledTrack:
    """A vocal-free piece in memory with the labels it was composed from."""

    name: str
    artist: str
    wav: Tensor  # [N] int16 at the judge's rate: half the memory of float
    labels: dict[str, str]  # instrument, genre, key
    bpm: float


def read_track(sidecar: Path) -> LabelledTrack:
    """Mix without its vocal stem, beside the labels of its sidecar."""
    fields = json.loads(sidecar.read_text())
    mix, sample_rate = read_audio(sidecar.with_suffix(".flac"))
    if "vocals" in fields["stems"]:
        vocals, _ = read_audio(sidecar.parent / fields["stems"]["vocals"])
        mix = mix - vocals
    mono = resample(mix.mean(0, keepdim=True), sample_rate, SAMPLE_RATE)[0]
    return LabelledTrack(
        name=sidecar.stem,
        artist=fields["artist"],
        wav=(mono.clamp(-1, 1) * 32767).round().to(torch.int16),
        labels={
            "instrument": fields["instrument"],
            "genre": fields["genre"],
            "key": key_label(fields["key"]),
        },
        bpm=float(fields["bpm"]),
    )


def find_sidecars(folder: Path) -> list[Path]:
    """Sidecar files of a demo corpus, sorted."""
    sidecars = sorted(p for p in folder.rglob("*.json") if p.with_suffix(".flac").is_file())
    if not sidecars:
        raise UserError(
            f"no tracks with sidecar JSON in {folder}; "
            f"write a corpus with `python -m data_prep.demo output_dir={folder}`"
        )
    return sidecars


def split_by_artist(
    tracks: Sequence[LabelledTrack], held_out: float
) -> tuple[list[LabelledTrack], list[LabelledTrack]]:
    """Training and held-out tracks without a common artist, decided by a hash of the name."""

    def share(artist: str) -> float:
        return int(hashlib.sha256(artist.encode()).hexdigest()[:8], 16) / 2**32

    train = [track for track in tracks if share(track.artist) >= held_out]
    rest = [track for track in tracks if share(track.artist) < held_out]
    if not train or not rest:
        raise UserError(
            f"{len({t.artist for t in tracks})} artists cannot be split into training and "
            "held-out tracks; use a larger corpus"
        )
    return train, rest


def corpus_labels(
    tracks: Sequence[LabelledTrack], n_tempo_classes: int = 4
) -> tuple[dict[str, list[str]], list[float]]:
    """Label names per head as found in the corpus, and bpm edges that part it into equal shares."""
    bpms = torch.tensor([track.bpm for track in tracks]).double()
    cuts = torch.linspace(0, 1, n_tempo_classes + 1, dtype=torch.float64)[1:-1]
    edges = sorted({round(float(edge)) for edge in bpms.quantile(cuts)})
    names = [f"below {edges[0]} bpm"]
    names += [f"{low} to {high} bpm" for low, high in pairwise(edges)]
    labels = {
        "instrument": sorted({track.labels["instrument"] for track in tracks}),
        "genre": sorted({track.labels["genre"] for track in tracks}),
        "key": list(KEYS),
        "tempo": [*names, f"{edges[-1]} bpm and above"],
    }
    return labels, [float(edge) for edge in edges]


def track_targets(judge: Judge, track: LabelledTrack) -> dict[str, int]:
    """Label indices of a track; -100, which the loss ignores, for a label outside the judge's."""
    targets = {"tempo": bisect_right(judge.tempo_edges, track.bpm)}
    for head, label in track.labels.items():
        names = judge.labels[head]
        targets[head] = names.index(label) if label in names else -100
    return targets


def random_window(wav: Tensor, generator: torch.Generator) -> Tensor:
    """One training window [N]: its loudness set over a longer crop, as for a clip."""

    def crop(source: Tensor, duration: float) -> Tensor:
        size = min(int(duration * SAMPLE_RATE), len(source))
        start = torch.randint(len(source) - size + 1, (), generator=generator)
        return source[int(start) : int(start) + size]

    around = crop(wav, CROP_DURATION).float() / 32767
    window = crop(normalise(around[None], SAMPLE_RATE), WINDOW_DURATION)
    # Faint noise, 20 to 60 dB down, so that digital silence between notes is not a cue.
    level = 0.1 * 10 ** -(1 + 2 * torch.rand((), generator=generator))
    window = window + level * torch.randn(window.shape, generator=generator)
    if torch.rand((), generator=generator) < WORN_SHARE:
        window = degrade(window, generator)
    return F.pad(window, (0, int(WINDOW_DURATION * SAMPLE_RATE) - len(window)))


def training_batches(
    judge: Judge, tracks: Sequence[LabelledTrack], batch_size: int, seed: int
) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """Endless batches of windows [B, N] and targets, each track once per pass."""
    generator = torch.Generator().manual_seed(seed)
    targets = [track_targets(judge, track) for track in tracks]
    order: list[int] = []
    while True:
        while len(order) < batch_size:
            order += torch.randperm(len(tracks), generator=generator).tolist()
        chosen, order = order[:batch_size], order[batch_size:]
        wav = torch.stack([random_window(tracks[i].wav, generator) for i in chosen])
        yield wav, {head: torch.tensor([targets[i][head] for i in chosen]) for head in judge.labels}


def train_judge(
    judge: Judge,
    tracks: Sequence[LabelledTrack],
    steps: int,
    batch_size: int = 48,
    lr: float = 2e-3,
    seed: int = 0,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
) -> Judge:
    """Minimise the sum of the heads' cross entropies with AdamW and a one-cycle rate."""
    optimizer = torch.optim.AdamW(judge.parameters(), lr=lr, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
    judge.train()
    batches = training_batches(judge, tracks, batch_size, seed)
    for step in range(steps):
        wav, targets = next(batches)
        _, logits = judge(wav)
        loss = torch.stack(
            [F.cross_entropy(logits[head], targets[head], label_smoothing=0.05) for head in logits]
        ).sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(judge.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        on_step(step + 1, float(loss.detach()))
    return judge.eval()


def held_out_accuracy(
    judge: Judge, tracks: Sequence[LabelledTrack], duration: float = CROP_DURATION
) -> dict[str, dict[str, float]]:
    """Accuracy per head on consecutive clips of unseen tracks, openings and endings included.

    `worn` is the accuracy on degraded copies of the clips. `chance` guesses among the labels
    evenly, `majority` always says the most frequent label.
    """
    generator = torch.Generator().manual_seed(0)
    hits: Counter[str] = Counter()
    worn: Counter[str] = Counter()
    seen: dict[str, Counter[int]] = {head: Counter() for head in judge.labels}
    for track in tracks:
        targets = {h: t for h, t in track_targets(judge, track).items() if t >= 0}
        for clip in consecutive_clips(track.wav, duration):
            heard = judge.probabilities(clip[None], SAMPLE_RATE)
            heard_worn = judge.probabilities(degrade(clip, generator)[None], SAMPLE_RATE)
            for head, target in targets.items():
                seen[head][target] += 1
                hits[head] += int(heard[head].argmax()) == target
                worn[head] += int(heard_worn[head].argmax()) == target
    return {
        head: {
            "accuracy": hits[head] / max(1, counts.total()),
            "worn": worn[head] / max(1, counts.total()),
            "chance": 1 / len(judge.labels[head]),
            "majority": max(counts.values(), default=0) / max(1, counts.total()),
            "n_clips": counts.total(),
        }
        for head, counts in seen.items()
    }


def consecutive_clips(wav: Tensor, duration: float) -> list[Tensor]:
    """Cut int16 audio [N] into float clips of `duration` seconds; a shorter rest is left out."""
    size = int(duration * SAMPLE_RATE)
    return [clip.float() / 32767 for clip in wav.split(size) if len(clip) == size]
