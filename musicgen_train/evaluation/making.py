"""The clips of an evaluation, made in fixed batches that ranks share and kills interrupt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from musicgen_train.data.loudness import normalize_audio
from musicgen_train.evaluation.clip_folder import ClipFolder
from musicgen_train.evaluation.clips import SILENCE_RMS
from musicgen_train.evaluation.held_out import Segment
from musicgen_train.evaluation.metrics.codec_metrics import code_counts, si_sdr
from musicgen_train.evaluation.metrics.spectral_distance import mel_distance
from musicgen_train.evaluation.ranks import Ranks
from musicgen_train.evaluation.sampling import (
    Parts,
    Sampling,
    code_nats,
    generate_wavs,
    round_trip,
    untrained_like,
    untrained_parts,
)
from musicgen_train.evaluation.stages import Stages

UNTRAINED_SEED = 1
Progress = Callable[[float], None]
Figures = dict[str, np.ndarray]


@dataclass(frozen=True)
class Kind:
    """One sort of clips: how a batch of segments becomes wavs [n, C, N] and figures."""

    name: str
    title: str
    segments: Sequence[Segment]
    make: Callable[[Sequence[Segment], int, Progress], tuple[Tensor, Figures]]


def make_clips(
    kinds: Sequence[Kind],
    folder: ClipFolder,
    sample_rate: int,
    batch_size: int,
    ranks: Ranks,
    stages: Stages,
) -> None:
    """Make what is not there yet.

    The batches are the same on any number of ranks, so every clip is, bit for bit.
    """
    for kind in kinds:
        starts = ranks.mine(range(0, len(kind.segments), batch_size))
        with stages.stage(kind.title) as progress:
            for done, first in enumerate(starts):
                batch = kind.segments[first : first + batch_size]
                names = [segment.name for segment in batch]

                def share(within: float, done: int = done, n: int = len(starts)) -> None:
                    progress((done + within) / n)

                if not folder.has(kind.name, names):
                    wavs, figures = kind.make(batch, first, share)
                    folder.write(kind.name, names, wavs, sample_rate, figures)
                share(1.0)
    ranks.wait()


def batches(kind: Kind, batch_size: int) -> list[list[str]]:
    """The names of each batch, in order."""
    names = [segment.name for segment in kind.segments]
    return [names[first : first + batch_size] for first in range(0, len(names), batch_size)]


def generated(
    name: str,
    title: str,
    parts: Parts,
    segments: Sequence[Segment],
    duration: float,
    sampling: Sampling,
    with_melody: bool,
) -> Kind:
    """Clips of a model, brought to `sampling.loudness` LUFS if that is a number."""
    n_samples = round(duration * parts.codec.sample_rate)

    def make(batch: Sequence[Segment], first: int, progress: Progress) -> tuple[Tensor, Figures]:
        wavs = generate_wavs(parts, batch, duration, sampling, first, with_melody, progress)
        return level(wavs[..., :n_samples], parts.codec.sample_rate, sampling.loudness), {}

    return Kind(name, title, segments, make)


def level(wavs: Tensor, sample_rate: int, loudness: float | None) -> Tensor:
    """Bring wavs [n, C, N] to a loudness in LUFS, cut at full scale; None leaves them alone."""
    if loudness is None:
        return wavs
    settings: dict[str, Any] = {"strategy": "loudness", "loudness_headroom_db": -loudness}
    return torch.stack([normalize_audio(wav, sample_rate, **settings) for wav in wavs])


def real(
    name: str, title: str, parts: Parts, segments: Sequence[Segment], with_melody: bool
) -> Kind:
    """The real clips themselves, and how well the model predicts their codes.

    Figures: counts of codes [K, card], nats of the model and of an untrained one and the number
    of codes [K].
    """
    untrained = untrained_parts(parts, UNTRAINED_SEED)
    untrained.lm.to(parts.device)

    def make(batch: Sequence[Segment], first: int, progress: Progress) -> tuple[Tensor, Figures]:
        wavs = torch.stack([segment.read() for segment in batch])
        codes = parts.codec.encode(wavs.to(parts.device))
        progress(0.4)
        nats, n_codes = code_nats(parts, codes, batch, with_melody)
        progress(0.7)
        untrained_nats, _ = code_nats(untrained, codes, batch, with_melody)
        found = {"nats": nats, "n_codes": n_codes, "untrained_nats": untrained_nats}
        found["counts"] = code_counts(codes.cpu(), parts.codec.card)
        return wavs, {key: value.numpy() for key, value in found.items()}

    return Kind(name, title, segments, torch.inference_mode()(make))


def round_trips(name: str, title: str, parts: Parts, segments: Sequence[Segment]) -> Kind:
    """Real clips through the codec.

    Figures: mel distance and SI-SDR of each clip [n] and counts of codes [K, card], and the same of
    an untrained codec.
    """
    untrained = untrained_like(parts.codec, UNTRAINED_SEED).to(parts.device)
    codec = parts.codec

    def make(batch: Sequence[Segment], first: int, progress: Progress) -> tuple[Tensor, Figures]:
        wavs = torch.stack([segment.read() for segment in batch])
        copies, found = wavs, dict[str, Tensor]()
        # Of silence there is no ratio, and an offset is no sound.
        sounding = wavs.double().std(-1, correction=0) >= SILENCE_RMS
        nan = torch.tensor(torch.nan, dtype=torch.float64)
        for prefix, model in (("untrained_", untrained), ("", codec)):
            codes, copies = round_trip(model, wavs.to(parts.device))
            copies = copies.cpu()
            found[f"{prefix}mel_distance"] = mel_distance(copies, wavs, codec.sample_rate)
            found[f"{prefix}si_sdr"] = si_sdr(copies, wavs).where(sounding, nan).nanmean(-1)
            found[f"{prefix}counts"] = code_counts(codes.cpu(), codec.card)
            progress(0.5 if prefix else 1.0)
        return copies, {key: value.numpy() for key, value in found.items()}

    return Kind(name, title, segments, make)
