"""One track from its file to its segments: without vocals, at one rate, level and length."""

import functools
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from data_prep.parts import npy_bytes
from data_prep.separation import (
    Separated,
    keep_mix,
    separate_with_demucs,
    sum_stems,
)
from data_prep.silence import frame_length, frame_levels, sounding
from data_prep.spool import Spool
from musicgen_train.conditioning.chroma import ChromaExtractor
from musicgen_train.data.audio import encode_flac, to_channels
from musicgen_train.data.audio_blocks import resample_blocks
from musicgen_train.data.audio_file import AudioError
from musicgen_train.data.loudness_meter import LoudnessMeter, measure_loudness


@dataclass(frozen=True)
class SegmentSettings:
    """Everything that changes a track's segments."""

    sample_rate: int = 32000
    channels: int = 1
    segment_duration: float = 30.0  # seconds
    min_duration: float = 4.0  # seconds; a shorter rest of a track is dropped
    loudness: float | None = None  # LUFS of each track, never above full scale; None leaves it
    silence_db: float = -60.0  # RMS in dB of full scale; a quieter segment is dropped
    max_silence: float | None = 2.0  # seconds; longer silence is cut out; None keeps it
    separator: str = "none"
    demucs_model: str = "htdemucs"
    demucs_repo: str | None = None
    # Windows that go through the separator at once, 0.5 GB each; None: 4 on a GPU, 1 on a CPU,
    # which more do not make faster.
    demucs_batch: int | None = None
    chroma_window: int = 16384  # samples
    chroma_hop: int = 4096  # samples
    estimates: bool = False  # of bpm and key
    clap_model: str | None = None  # for tags of the vocabulary
    clap_vocabulary: str | None = None

    def __post_init__(self) -> None:
        names = ("segment_duration", "min_duration", "silence_db", "loudness", "max_silence")
        for name in names:
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, float(value))  # 10 and 10.0: one hash


class TrackFacts(NamedTuple):
    """What the audio of a track alone tells."""

    duration: float  # seconds of what was decoded
    sample_rate: int  # of what was decoded
    channels: int
    n_segments: int
    n_silent: int  # segments, and long silences between them
    n_short: int  # rests
    audio_hash: str  # sha256 of what was decoded
    fingerprint: np.ndarray  # uint32; empty without segments
    estimates: dict[str, Any]  # bpm, key, genre, moods, instrument: those that were found


def segment_track(
    path: Path,
    stems: Mapping[str, Path],
    settings: SegmentSettings,
    device: str,
    write: Callable[[dict[str, bytes]], None],
) -> TrackFacts:
    """Write a track's segments, each as {"flac", "json", "chroma.npy"}, in constant memory.

    stems: the track's own stems by name, for `separator="stems"`. device: where HT-Demucs and CLAP
    run. Raises AudioError if the audio cannot be used.
    """
    found = _separated(path, stems, settings, device)
    with Spool() as spool:
        for block in _at_target(found, settings):
            spool.append(block)
        pcm = found.pcm
        if not pcm.n_samples:
            raise AudioError(path, "holds no audio samples")
        gain = _gain(spool, settings)
        stretches, n_silent = _stretches(spool, gain, settings)
        n_segments = n_short = 0
        for start, stop in _cuts(stretches, settings):
            audio = spool.read(start, stop)
            target = audio[0] * gain
            if stop - start < _shortest(settings):
                n_short += 1
            elif _level(target) < settings.silence_db:
                n_silent += 1
            else:
                n_segments += 1
                write(_encoded(target, audio[-1], start, settings))
        return TrackFacts(
            pcm.n_samples / pcm.sample_rate, pcm.sample_rate, pcm.channels,
            n_segments, n_silent, n_short, pcm.hash,
            *_described(spool, n_segments, settings, device),
        )  # fmt: skip


def _separated(
    path: Path, stems: Mapping[str, Path], settings: SegmentSettings, device: str
) -> Separated:
    if settings.separator == "stems":
        return sum_stems(path, stems)
    if settings.separator == "demucs":
        model, repo = settings.demucs_model, settings.demucs_repo
        batch_size = settings.demucs_batch or (4 if device.startswith("cuda") else 1)
        return separate_with_demucs(path, model, repo, batch_size, device)
    return keep_mix(path)


def _at_target(found: Separated, settings: SegmentSettings) -> Iterator[Tensor]:
    """The track's blocks [K, C, n] at the dataset's rate and channels."""
    channels = settings.channels
    # Averaging channels comes first, since each that is resampled costs time; copying comes last.
    fewer = (to_channels(b, min(b.shape[-2], channels)) for b in found.blocks)
    resampled = resample_blocks(fewer, found.sample_rate, settings.sample_rate)
    return (to_channels(block, channels) for block in resampled)


def _targets(spool: Spool) -> Iterator[Tensor]:
    return (block[0] for block in spool.blocks())


def _gain(spool: Spool, settings: SegmentSettings) -> float:
    """What the target is multiplied by to have its loudness, and to stay within full scale."""
    meter, peak = LoudnessMeter(settings.sample_rate), 0.0
    for block in _targets(spool):
        low, high = block.aminmax()
        peak = max(peak, -low.item(), high.item())
        if settings.loudness is not None:
            meter.add(block)
    loudness = meter.loudness()
    if settings.loudness is None or loudness is None or loudness < settings.silence_db:
        return 1 / max(peak, 1.0)  # raising what is silent would only raise noise
    return min(10 ** ((settings.loudness - loudness) / 20), 1 / peak)


def _stretches(
    spool: Spool, gain: float, settings: SegmentSettings
) -> tuple[list[tuple[int, int]], int]:
    """Samples (first, last + 1) between long silences, and the number of those."""
    frame = frame_length(settings.sample_rate)
    levels = frame_levels(_targets(spool), settings.sample_rate) + 20 * math.log10(gain)
    longest = None
    if settings.max_silence is not None:
        longest = int(settings.max_silence * settings.sample_rate / frame)
    found, n_silent = sounding(levels < settings.silence_db, longest)
    return [(a * frame, min(b * frame, spool.n_samples)) for a, b in found], n_silent


def _cuts(stretches: list[tuple[int, int]], settings: SegmentSettings) -> Iterator[tuple[int, int]]:
    """The stretches in pieces of the segments' length; the rest of each is shorter."""
    length = round(settings.segment_duration * settings.sample_rate)
    for first, last in stretches:
        for start in range(first, last, length):
            yield start, min(start + length, last)


def _shortest(settings: SegmentSettings) -> int:
    """Samples that a segment has at least."""
    duration = min(settings.min_duration, settings.segment_duration)
    return round(duration * settings.sample_rate)


def _level(wav: Tensor) -> float:
    """RMS in dB of full scale."""
    return 20 * math.log10(max(wav.square().mean().sqrt().item(), 1e-10))


def _encoded(
    target: Tensor, melodic: Tensor, start: int, settings: SegmentSettings
) -> dict[str, bytes]:
    """The files of a segment [C, n] that begins at sample `start` of its track."""
    rate = settings.sample_rate
    loudness = measure_loudness(target, rate)
    levels = frame_levels([target], rate)
    facts = {
        "offset": start / rate,
        "duration": target.shape[1] / rate,
        "loudness": None if loudness is None else round(loudness, 2),
        "silence": round(float((levels < settings.silence_db).mean()), 4),
    }
    extract = _chroma_extractor(rate, settings.chroma_window, settings.chroma_hop)
    return {
        "flac": encode_flac(target, rate),
        "json": json.dumps(facts).encode(),
        "chroma.npy": npy_bytes(extract(melodic[None])[0].numpy().astype(np.float16)),
    }


@functools.lru_cache(maxsize=1)
def _chroma_extractor(sample_rate: int, window: int, hop: int) -> ChromaExtractor:
    return ChromaExtractor(sample_rate, window=window, hop=hop)


def _described(
    spool: Spool, n_segments: int, settings: SegmentSettings, device: str
) -> tuple[np.ndarray, dict[str, Any]]:
    """The target's fingerprint, and what is estimated of it."""
    from data_prep.fingerprint import fingerprint

    if not n_segments:
        return np.zeros(0, np.uint32), {}
    rate = settings.sample_rate
    found: dict[str, Any] = {}
    if settings.estimates:
        from data_prep.key import estimate_key
        from data_prep.tempo import estimate_tempo

        bpm = estimate_tempo(_targets(spool), rate)
        found["bpm"] = None if bpm is None else round(bpm)
        found["key"] = estimate_key(_targets(spool), rate)
    if settings.clap_model is not None:
        from data_prep.clap_tags import clap_tags

        assert settings.clap_vocabulary is not None
        model, vocabulary = settings.clap_model, settings.clap_vocabulary
        found |= clap_tags(_targets(spool), rate, model, vocabulary, device)
    estimates = {name: value for name, value in found.items() if value}
    return fingerprint(_targets(spool), rate), estimates
