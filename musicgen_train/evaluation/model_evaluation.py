"""Evaluation of a model: generate for held-out prompts, listen, measure, write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from musicgen_train.conditioning.chroma import ChromaExtractor
from musicgen_train.errors import UserError
from musicgen_train.evaluation.clip_files import write_clips
from musicgen_train.evaluation.clips import Clip, clip_faults
from musicgen_train.evaluation.embedders.judge import Judge
from musicgen_train.evaluation.held_out import HeldOut, Segment, check_sound
from musicgen_train.evaluation.judged import Judged, judge_clips, judge_protocol
from musicgen_train.evaluation.measurement import Measurement
from musicgen_train.evaluation.metrics.codec_metrics import code_counts
from musicgen_train.evaluation.metrics_file import write_metrics
from musicgen_train.evaluation.sampling import (
    Parts,
    Sampling,
    generate_wavs,
    held_out_cross_entropy,
    round_trip,
    untrained_like,
    untrained_parts,
)
from musicgen_train.evaluation.scoring import (
    JudgedSets,
    RoundTrip,
    chroma_measurements,
    codebook_measurements,
    fad_measurements,
    fidelity_measurements,
    kl_measurements,
    lm_measurement,
    text_measurements,
)
from musicgen_train.evaluation.stages import Stages

UNTRAINED_SEED = 1
JUDGED_KINDS = ("reference", "reconstruction", "text", "untrained", "melody")


@dataclass
class Made:
    """Everything that was computed for the prompts, clip i of each belonging to prompt i."""

    wavs: dict[str, Tensor] = field(default_factory=dict)  # kind -> [n, C, N]
    codes: dict[str, Tensor] = field(default_factory=dict)  # kind -> [n, K, T]
    chroma: dict[str, list[Tensor]] = field(default_factory=dict)  # kind -> n times [F, 12]


def check_fit(parts: Parts, held_out: HeldOut, dataset: Path | str) -> None:
    """Refuse held-out music that the codec or the chroma condition cannot take."""
    clip = held_out.prompts[0].clip
    check_sound(parts.codec, clip.wav.shape[0], clip.sample_rate, dataset)
    if (
        parts.chroma is None
        or held_out.chroma is None
        or not follows_melody(parts, held_out.prompts)
    ):
        return
    for name, found in held_out.chroma.items():
        if found != parts.chroma.config[name]:
            raise UserError(
                f"{dataset} holds chroma with {name}={found}, the model takes "
                f"{name}={parts.chroma.config[name]}; prepare the songs again with "
                f"chroma_{name}={parts.chroma.config[name]}"
            )


def follows_melody(parts: Parts, segments: Sequence[Segment]) -> bool:
    """Whether the model takes chroma and every prompt has some."""
    return bool(parts.lm.config["chroma_dim"]) and all(s.chroma is not None for s in segments)


def make_clips(
    parts: Parts, held_out: HeldOut, duration: float, sampling: Sampling, stages: Stages
) -> Made:
    """Round trips through the codec, then clips of the model and of an untrained one."""
    prompts, made = held_out.prompts, Made()
    made.wavs["reference"] = torch.stack([segment.clip.wav for segment in prompts])
    other_wavs = torch.stack([segment.clip.wav for segment in held_out.others])
    n_samples = made.wavs["reference"].shape[-1]
    with stages.stage("Codec round trip") as progress:
        made.codes["reference"], made.wavs["reconstruction"] = round_trip(
            parts.codec, made.wavs["reference"]
        )
        progress(0.4)
        made.codes["untrained_codec"], made.wavs["untrained_codec"] = round_trip(
            untrained_like(parts.codec, UNTRAINED_SEED), made.wavs["reference"]
        )
        progress(0.8)
        made.codes["others"] = torch.cat([parts.codec.encode(w) for w in other_wavs.split(8)])
    systems = [("text", "Generating from text", parts, False)]
    if follows_melody(parts, prompts):
        systems.append(("melody", "Generating from text and melody", parts, True))
    untrained = untrained_parts(parts, UNTRAINED_SEED)
    systems.append(("untrained", "Generating, untrained model", untrained, False))
    for kind, title, model, with_melody in systems:
        with stages.stage(title) as progress:
            wavs = generate_wavs(model, prompts, duration, sampling, with_melody, progress)
            made.wavs[kind] = wavs[..., :n_samples]
    return made


def cross_entropies(parts: Parts, held_out: HeldOut, made: Made, stages: Stages) -> Measurement:
    """Held-out cross entropy of the model beside an untrained one, over both sets of segments."""
    segments = [*held_out.prompts, *held_out.others]
    shortest = min(made.codes["reference"].shape[-1], made.codes["others"].shape[-1])
    codes = torch.cat([made.codes[kind][..., :shortest] for kind in ("reference", "others")])
    with_melody = follows_melody(parts, segments)
    with stages.stage("Cross entropy") as progress:
        trained = held_out_cross_entropy(parts, codes, segments, with_melody)
        progress(0.5)
        fresh = untrained_parts(parts, UNTRAINED_SEED)
        untrained = held_out_cross_entropy(fresh, codes, segments, with_melody)
    return lm_measurement(trained, untrained, codes, parts.codec.card, with_melody)


def judge_everything(
    judge: Judge, held_out: HeldOut, made: Made, stages: Stages
) -> dict[str, Judged]:
    """Let the judge listen to every kind of clip, and to the other real music."""
    rate = held_out.prompts[0].clip.sample_rate
    kinds = [kind for kind in JUDGED_KINDS if kind in made.wavs]
    with stages.stage("Listening") as progress:
        judged = {}
        for done, kind in enumerate(kinds, 1):
            judged[kind] = judge_clips(judge, [Clip(kind, wav, rate) for wav in made.wavs[kind]])
            progress(done / (len(kinds) + 1))
        judged["others"] = judge_clips(judge, [segment.clip for segment in held_out.others])
    return judged


def measure(
    parts: Parts,
    judge: Judge,
    held_out: HeldOut,
    made: Made,
    judged: dict[str, Judged],
    stages: Stages,
) -> list[Measurement]:
    """Every measurement of what was made and heard."""
    codec, prompts, protocol = parts.codec, held_out.prompts, judge_protocol(judge)
    trained = RoundTrip(made.codes["reference"], made.wavs["reconstruction"])
    untrained = RoundTrip(made.codes["untrained_codec"], made.wavs["untrained_codec"])
    rows = fidelity_measurements(made.wavs["reference"], trained, untrained, codec.sample_rate)
    counts, fresh = (code_counts(made.codes, codec.card) for made in (trained, untrained))
    rows += codebook_measurements(codec, counts, fresh, len(held_out.prompts))
    rows.append(cross_entropies(parts, held_out, made, stages))
    sets = JudgedSets(**judged)
    rows += fad_measurements(sets, protocol)
    rows += kl_measurements(sets, prompts, protocol)
    rows += text_measurements(sets, prompts, protocol)
    if "melody" in made.wavs:
        extractor = parts.chroma or ChromaExtractor(sample_rate=codec.sample_rate)
        for kind in ("melody", "text", "reference"):
            made.chroma[kind] = [extractor(wav[None])[0] for wav in made.wavs[kind]]
        rows += chroma_measurements(prompts, made.chroma, dict(extractor.config))
    return rows


def evaluate_model(
    parts: Parts,
    judge: Judge,
    held_out: HeldOut,
    output_dir: Path,
    duration: float,
    sampling: Sampling,
    settings: dict[str, Any],
    stages: Stages,
) -> list[Measurement]:
    """Generate, measure, and write clips, chroma.npz and, last, metrics.json to `output_dir`."""
    prompts, rate = held_out.prompts, parts.codec.sample_rate
    made = make_clips(parts, held_out, duration, sampling, stages)
    judged = judge_everything(judge, held_out, made, stages)
    rows = measure(parts, judge, held_out, made, judged, stages)
    with stages.stage("Writing clips"):
        judged.pop("others")
        clips = write_clips(output_dir, prompts, made.wavs, judged, made.chroma.get("melody"))
    faults = {
        kind: clip_faults(Clip(kind, wav, rate) for wav in made.wavs[kind])
        for kind in judged
        if kind != "reconstruction"
    }
    subtitle = (
        f"{len(prompts)} prompts of {duration:g} s from the {' and '.join(held_out.splits)} split, "
        f"measured against {len(held_out.others)} other held-out segments"
    )
    write_metrics(output_dir, subtitle, rows, clips, faults, settings, stages.seconds)
    return rows
