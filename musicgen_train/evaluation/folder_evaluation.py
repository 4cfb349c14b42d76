"""Evaluation of a folder of audio against a folder of real music."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from musicgen_train.errors import UserError
from musicgen_train.evaluation.clips import Clip, clip_faults, read_clips
from musicgen_train.evaluation.embedders.judge import Judge
from musicgen_train.evaluation.judged import (
    STYLE_HEADS,
    Judged,
    judge_clips,
    judge_protocol,
    judged_fad,
    judged_kl,
)
from musicgen_train.evaluation.measurement import Measurement
from musicgen_train.evaluation.metrics_file import write_metrics
from musicgen_train.evaluation.scoring import REAL_TO_REAL
from musicgen_train.evaluation.stages import Stages


def evaluate_folders(
    judge: Judge,
    generated: Path,
    reference: Path,
    output_dir: Path,
    settings: dict[str, Any],
    stages: Stages,
) -> list[Measurement]:
    """FAD[judge] and, for files of the same name, KL[judge]; faults are counted by folder."""
    with stages.stage("Reading clips"):
        (ours, broken), (real, real_broken) = read_clips(generated), read_clips(reference)
    if len(real) < 4:
        raise UserError(
            f"{reference} has {len(real)} readable clips; give at least 4 of real music"
        )
    with stages.stage("Listening") as progress:
        judged = judge_clips(judge, ours)
        progress(0.5)
        halves = [judge_clips(judge, real[side::2]) for side in (0, 1)]
    protocol = judge_protocol(judge)
    rows = [_fad(judged, halves, protocol)]
    kl = _paired_kl(judge, ours, real, protocol)
    rows += [kl] if kl else []
    faults = {"generated": clip_faults(ours, broken), "reference": clip_faults(real, real_broken)}
    subtitle = f"{len(ours)} clips of {generated} against {len(real)} of {reference}"
    write_metrics(output_dir, subtitle, rows, [], faults, settings, stages.seconds)
    return rows


def _fad(judged: Judged, halves: Sequence[Judged], protocol: dict[str, object]) -> Measurement:
    """Distance to the whole reference; the floor is that of its two halves to each other."""
    whole = halves[0].statistics.merge(halves[1].statistics)
    reference = Judged(whole, judged.log_probabilities, judged.labels)
    return Measurement(
        "fad.judge",
        "FAD[judge]",
        judged_fad(reference, judged),
        "lower",
        n_clips=judged.n_clips,
        n_vectors=judged.n_vectors,
        good_end=judged_fad(*halves),
        good_end_is=f"{REAL_TO_REAL} (halves of the reference)",
        settings={**protocol, "reference_vectors": whole.n},
    )


def _paired_kl(
    judge: Judge, ours: Sequence[Clip], real: Sequence[Clip], protocol: dict[str, object]
) -> Measurement | None:
    """KL over clips whose files have the same name apart from the suffix, if there are any."""
    by_name = {Path(clip.name).with_suffix("").as_posix(): clip for clip in real}
    pairs = [
        (clip, by_name[name])
        for clip in ours
        if (name := Path(clip.name).with_suffix("").as_posix()) in by_name
    ]
    if not pairs:
        return None
    generated = judge_clips(judge, [pair[0] for pair in pairs])
    reference = judge_clips(judge, [pair[1] for pair in pairs])
    n = len(pairs)
    shuffled = [(i, j) for i in range(n) for j in range(n) if i != j]
    value = judged_kl(reference, generated)
    return Measurement(
        "kl.judge",
        "KL[judge], files of the same name",
        value,
        "lower",
        n_clips=n,
        unit="nats",
        good_end=0.0,
        good_end_is="the same clip",
        bad_end=judged_kl(reference, generated, shuffled) if shuffled else math.nan,
        bad_end_is="files of other names",
        settings={**protocol, "direction": "KL(ref||gen)", "heads": list(STYLE_HEADS)},
    )
