"""Evaluation of a model: generate for held-out prompts, listen, measure, write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from musicgen_train.errors import UserError
from musicgen_train.evaluation.asked_tempo import tempo_phrase
from musicgen_train.evaluation.clip_folder import ClipFolder
from musicgen_train.evaluation.clips import ClipFile
from musicgen_train.evaluation.comparison import Comparison, Prompt, System
from musicgen_train.evaluation.heard_set import HeardSet
from musicgen_train.evaluation.held_out import HeldOut, Segment, check_sound
from musicgen_train.evaluation.long_pieces import LongForm, long_pieces
from musicgen_train.evaluation.making import (
    UNTRAINED_SEED,
    Kind,
    batches,
    generated,
    make_clips,
    real,
    round_trips,
)
from musicgen_train.evaluation.measurement import Measurement
from musicgen_train.evaluation.measuring import Evaluation, hear_sets, write_results
from musicgen_train.evaluation.sampling import Parts, Sampling, untrained_parts
from musicgen_train.evaluation.scoring.codec import (
    codebook_measurements,
    fidelity_measurements,
    lm_measurement,
    summed,
)
from musicgen_train.evaluation.scoring.long_form import LongFormScorer


def check_fit(parts: Parts, held_out: HeldOut, dataset: Path | str) -> None:
    """Refuse held-out music that the codec or the chroma condition cannot take."""
    check_sound(parts.codec, held_out.channels, held_out.sample_rate, dataset)
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


def evaluate_model(
    parts: Parts,
    held_out: HeldOut,
    duration: float,
    sampling: Sampling,
    evaluation: Evaluation,
    long_form: LongForm | None = None,
) -> list[Measurement]:
    """Generate, measure, and write clips and, last, metrics.json; only rank 0 has measurements.

    long_form: pieces beyond the model's window are made and measured too.
    """
    ranks, stages = evaluation.ranks, evaluation.stages
    folder = ClipFolder(evaluation.output_dir)
    held_out = _numbered(held_out)
    folder.open(_request(parts, held_out, duration, sampling), ranks)
    identities = {"model_identity": parts.identity, "dataset_fingerprint": held_out.fingerprint}
    evaluation.settings.update(identities)
    kinds = _kinds(parts, held_out, duration, sampling)
    long = [long_pieces(parts, held_out.prompts, long_form, sampling)] if long_form else []
    make_clips([*kinds, *long], folder, parts.codec.sample_rate, sampling.batch_size, ranks, stages)
    heard = hear_sets(_files(kinds, folder), evaluation)
    stretched = _hear_long(_files(long, folder), evaluation)
    if heard is None:
        return []
    for kind in kinds:
        broken = folder.non_finite(kind.name, batches(kind, sampling.batch_size))
        heard[kind.name].faults.non_finite.extend(broken)
    comparison = _comparison(heard, held_out, evaluation.listeners.protocol.compat)
    rows = _codec_rows(parts, comparison, folder, kinds, sampling.batch_size)
    subtitle = (
        f"{len(held_out.prompts)} prompts of {duration:g} s from the "
        f"{' and '.join(held_out.splits)} split, measured against {len(held_out.others)} other "
        "held-out segments"
    )
    unreadable = {"dataset": held_out.bad} if held_out.bad else {}
    judge, scorer = evaluation.listeners.long_judge, None
    if long_form is not None and stretched is not None and judge is not None:
        scorer = LongFormScorer(comparison, stretched, judge, long_form)
    return write_results(comparison, evaluation, rows, subtitle, unreadable, scorer)


def _files(kinds: Sequence[Kind], folder: ClipFolder) -> dict[str, list[ClipFile]]:
    """The clips of every kind."""
    return {
        kind.name: [
            ClipFile(s.name, folder.place(kind.name, s.name), s.track) for s in kind.segments
        ]
        for kind in kinds
    }


def _hear_long(files: Mapping[str, Sequence[ClipFile]], evaluation: Evaluation) -> HeardSet | None:
    """Long pieces, which the judge alone hears; None on other ranks, or if there are none."""
    judge = evaluation.listeners.long_judge
    if judge is None or not files:
        return None
    heard = hear_sets(files, evaluation, [judge], "Listening to long pieces")
    return None if heard is None else next(iter(heard.values()))


def _numbered(held_out: HeldOut) -> HeldOut:
    """Segments under the names of their clips: 000, 001, … in each set."""

    def numbered(segments: Sequence[Segment]) -> list[Segment]:
        return [
            segment._replace(name=f"{i:03d}", metadata={**segment.metadata, "key": segment.name})
            for i, segment in enumerate(segments)
        ]

    return held_out._replace(prompts=numbered(held_out.prompts), others=numbered(held_out.others))


def _request(
    parts: Parts, held_out: HeldOut, duration: float, sampling: Sampling
) -> dict[str, object]:
    """All that decides how the clips sound."""
    return {
        "model": parts.identity,
        "dataset": held_out.fingerprint,
        "prompts": len(held_out.prompts),
        "others": len(held_out.others),
        "splits": held_out.splits,
        "duration": duration,
        "untrained_seed": UNTRAINED_SEED,
        **vars(sampling),
    }


def _kinds(parts: Parts, held_out: HeldOut, duration: float, sampling: Sampling) -> list[Kind]:
    """Every sort of clips, in the order in which they are made."""
    prompts, others = held_out.prompts, held_out.others
    melodic = follows_melody(parts, [*prompts, *others])

    def made(name: str, title: str, model: Parts, with_melody: bool) -> Kind:
        return generated(name, title, model, prompts, duration, sampling, with_melody)

    kinds = [
        real("reference", "Real music of the prompts", parts, prompts, melodic),
        real("others", "Other real music", parts, others, melodic),
        round_trips("reconstruction", "Codec round trip", parts, prompts),
        made("text", "Generating from text", parts, False),
    ]
    if follows_melody(parts, prompts):
        kinds.append(made("melody", "Generating from text and melody", parts, True))
    untrained = untrained_parts(parts, UNTRAINED_SEED).to(parts.device).prepare()
    return [*kinds, made("untrained", "Generating, untrained model", untrained, False)]


def _comparison(heard: dict, held_out: HeldOut, compat: bool) -> Comparison:
    """compat: distances are to the real clips of the prompts, as audiocraft has them, which a model
    that copied its prompts' clips would bring to zero; else to other real music."""
    systems = [System("text", "generated from text", heard["text"])]
    if "melody" in heard:
        title = "generated from text and melody"
        systems.append(System("melody", title, heard["melody"], with_melody=True))
    trip = System("round_trip", "real music through the codec", heard["reconstruction"])
    prompts = {
        segment.name: Prompt(
            segment.description,
            segment.track,
            segment.chroma if "melody" in heard else None,
            {
                **{field: segment.label(field) for field in ("instrument", "genre")},
                "tempo": tempo_phrase(segment.description),
            },
            str(segment.metadata["key"]),
        )
        for segment in held_out.prompts
    }
    return Comparison(
        [*systems, trip],
        reference=heard["reference" if compat else "others"],
        pairs=heard["reference"],
        floor=heard["others" if compat else "reference"],
        ceiling=heard["untrained"],
        prompts=prompts,
        round_trip=heard["reconstruction"],
    )


def _codec_rows(
    parts: Parts, comparison: Comparison, folder: ClipFolder, kinds: Sequence[Kind], size: int
) -> list[Measurement]:
    """Measurements of the codec and of the language model's predictions, from kept figures."""
    figures = {
        kind.name: [folder.figures(kind.name, names) for names in batches(kind, size)]
        for kind in kinds
    }
    by_name = {kind.name: kind for kind in kinds}
    names = [segment.name for segment in by_name["reconstruction"].segments]
    trips = figures["reconstruction"]
    rows = fidelity_measurements(comparison, names, trips, parts.codec.sample_rate)
    counts, fresh = summed(trips, "counts"), summed(trips, "untrained_counts")
    rows += codebook_measurements(parts.codec, counts, fresh, len(names))
    real_codes = [*figures["reference"], *figures["others"]]
    segments = [*by_name["reference"].segments, *by_name["others"].segments]
    melodic = follows_melody(parts, segments)
    return [*rows, lm_measurement(real_codes, len(segments), parts.codec.card, melodic)]
