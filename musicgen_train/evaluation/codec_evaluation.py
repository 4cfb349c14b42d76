"""Evaluation of a codec: every clip through it and back, measured, some kept to listen to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from musicgen_train.codec.encodec import Encodec
from musicgen_train.data.audio import AudioError
from musicgen_train.errors import UserError
from musicgen_train.evaluation.clip_folder import ClipFolder
from musicgen_train.evaluation.clips import Clip, ClipFaults, write_clip
from musicgen_train.evaluation.codec_inputs import CodecInput, CodecInputs
from musicgen_train.evaluation.codec_round_trip import (
    RoundTripResult,
    decode_clip,
    encode_clip,
    measure_round_trip,
)
from musicgen_train.evaluation.codec_summary import (
    ClipRow,
    codebook_table,
    codec_measurements,
    rate_distortion,
    worst_first,
)
from musicgen_train.evaluation.embedders.facts import ClipFacts
from musicgen_train.evaluation.measurement import Measurement
from musicgen_train.evaluation.metrics.codec_metrics import entropy_bitrate, perplexity, usage
from musicgen_train.evaluation.metrics.fidelity import undefined_because
from musicgen_train.evaluation.metrics_file import write_metrics
from musicgen_train.evaluation.ranks import Ranks
from musicgen_train.evaluation.sampling import untrained_like
from musicgen_train.evaluation.stages import Stages
from musicgen_train.whole_files import replacing

UNTRAINED_SEED = 1
EXCERPT_DURATION = 30.0  # seconds of a clip to listen to


class Collected:
    """What the clips gave, one after another."""

    def __init__(self, codec: Encodec) -> None:
        self.codec = codec
        self.rows: list[ClipRow] = []
        self.counts = torch.zeros(codec.n_q, codec.card, dtype=torch.long)
        self.untrained_counts = torch.zeros_like(self.counts)
        self.faults = {"original": ClipFaults(), "through the codec": ClipFaults()}

    def add(self, clip: CodecInput, wav: Tensor, result: RoundTripResult) -> None:
        """Keep the figures of one clip [C, N], not its sound."""
        rate = self.codec.sample_rate
        self.counts += result.counts
        self.untrained_counts += result.untrained_counts
        for side, sound in zip(self.faults.values(), (wav, result.wav), strict=True):
            side.add(clip.name, ClipFacts.of(sound, rate))
        found = result.by_n_q[self.codec.n_q]
        self.rows.append(
            ClipRow(
                clip.name,
                clip.track,
                wav.shape[-1] / rate,
                result.by_n_q,
                result.untrained,
                usage(result.counts).tolist(),
                perplexity(result.counts).tolist(),
                entropy_bitrate(result.counts, self.codec.frame_rate),
                undefined_because(found, wav, rate),
            )
        )


def evaluate_codec(
    codec: Encodec,
    inputs: CodecInputs,
    output_dir: Path,
    settings: dict[str, Any],
    stages: Stages,
    n_cards: int = 6,
) -> list[Measurement]:
    """Measure, and write excerpts, code_counts.npz and, last, metrics.json to `output_dir`."""
    told = {"codec": codec.identity(), "of": inputs.origin}
    ClipFolder(output_dir).check(told)
    with stages.stage("Codec round trips") as progress:
        collected = collect(codec, inputs.clips, progress)
    ClipFolder(output_dir).open(told, Ranks())
    rows, counts = worst_first(collected.rows), collected.counts
    found = codec_measurements(codec, rows, counts, collected.untrained_counts)
    with stages.stage("Writing clips"):
        output_dir.mkdir(parents=True, exist_ok=True)
        clips = write_excerpts(codec, inputs.clips, rows, output_dir, n_cards)
        with replacing(output_dir / "code_counts.npz") as partial, partial.open("wb") as file:
            np.savez_compressed(file, counts=counts.numpy(), allow_pickle=False)
    seconds = sum(row.duration for row in rows)
    subtitle = f"{len(rows)} {inputs.origin}, {seconds / 60:.1f} minutes"
    tables = {
        "files": [row.to_json() for row in rows],
        "rate_distortion": rate_distortion(codec, rows, counts),
        "codebooks": codebook_table(counts),
    }
    settings = {**settings, "codec": codec.config, "codec_identity": codec.identity()}
    write_metrics(
        output_dir, subtitle, found, clips, collected.faults, settings, stages.seconds, tables
    )
    return found


def collect(
    codec: Encodec, clips: Sequence[CodecInput], on_progress: Callable[[float], None]
) -> Collected:
    """Send every clip through the codec; unreadable ones are named and left out."""
    collected, untrained = Collected(codec), untrained_like(codec, UNTRAINED_SEED)
    unreadable = collected.faults["original"].unreadable
    for done, clip in enumerate(clips, 1):
        try:
            wav = clip.read()
        except AudioError as error:
            unreadable[clip.name] = error.reason
            continue
        collected.add(clip, wav, measure_round_trip(codec, untrained, wav))
        on_progress(done / len(clips))
    if not collected.rows:
        raise UserError(f"none of the {len(clips)} audio files can be read; replace them")
    return collected


def write_excerpts(
    codec: Encodec,
    clips: Sequence[CodecInput],
    rows: Sequence[ClipRow],
    output_dir: Path,
    n_cards: int,
) -> list[dict[str, Any]]:
    """Write some of the clips, at even steps of their order, and what the codec makes of them."""
    by_name = {clip.name: clip for clip in clips}
    entries = []
    for number, row in enumerate(evenly(rows, n_cards)):
        wav = by_name[row.name].read()[:, : round(EXCERPT_DURATION * codec.sample_rate)]
        copy = decode_clip(codec, encode_clip(codec, wav), wav.shape[-1])
        audio = {}
        for kind, sound in (("reference", wav), ("reconstruction", copy)):
            audio[kind] = f"audio/{kind}/{number:03d}.flac"
            write_clip(output_dir / audio[kind], Clip(row.name, sound, codec.sample_rate))
        entries.append(
            {
                "key": f"{number:03d}",
                "segment": row.name,
                "description": row.name,
                "duration": row.duration,
                "fidelity": row.fidelity.to_json(),
                "audio": audio,
            }
        )
    return entries


def evenly(rows: Sequence[ClipRow], n: int) -> list[ClipRow]:
    """At most `n` rows at even steps of their order, both ends included."""
    n = min(n, len(rows))
    places = [round(i * (len(rows) - 1) / max(1, n - 1)) for i in range(n)]
    return [rows[place] for place in places]
