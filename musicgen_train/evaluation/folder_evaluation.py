"""Evaluation of a folder of audio, or of what a model makes of texts, against real music."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from musicgen_train.conditioning.chroma import fit_length
from musicgen_train.data.audio import read_audio, resample
from musicgen_train.errors import UserError
from musicgen_train.evaluation.clip_folder import ClipFolder
from musicgen_train.evaluation.clips import ClipFile, clip_files
from musicgen_train.evaluation.comparison import Comparison, Prompt, System
from musicgen_train.evaluation.held_out import Segment
from musicgen_train.evaluation.making import batches, generated, make_clips
from musicgen_train.evaluation.measurement import Measurement
from musicgen_train.evaluation.measuring import Evaluation, hear_sets, write_results
from musicgen_train.evaluation.sampling import Parts, Sampling
from musicgen_train.evaluation.texts import AskedText

LONGEST_NAME = 200  # bytes of a part of a path, with room for a suffix and a temporary name


def impossible_metrics(
    names: Sequence[str], reference: Path, texts: Mapping[str, AskedText]
) -> dict[str, str]:
    """Metrics that cannot be had of clips of these names, and why."""
    found = {}
    if not any(any(texts[name].wanted.values()) for name in names if name in texts):
        found["text"] = "no text has a field instrument, genre or bpm, or names a tempo"
    if not set(names) & {file.name for file in clip_files(reference)}:
        found |= dict.fromkeys(("kl", "chroma"), "no clip has the name of a reference")
    if not set(names) & texts.keys():
        why = "no text has the name of a clip" if texts else "give texts=FILE"
        found["clap"] = why
    return found


def evaluate_folders(
    ours: Sequence[ClipFile],
    reference: Path,
    prompts: Mapping[str, Prompt],
    evaluation: Evaluation,
    with_melody: bool = False,
    non_finite: Sequence[str] = (),
) -> list[Measurement]:
    """Compare clips with a folder of real music; clips of one name are compared in pairs.

    non_finite: clips whose samples were not all numbers before they were written.
    """
    real = clip_files(reference)
    heard = hear_sets({"generated": ours, "reference": real}, evaluation)
    if heard is None:
        return []
    heard["generated"].faults.non_finite.extend(non_finite)
    title = "generated from text and melody" if with_melody else "generated"
    comparison = Comparison(
        [System("", title, heard["generated"])],
        reference=heard["reference"],
        pairs=heard["reference"],
        prompts=dict(prompts),
    )
    found, all_real = len(heard["generated"].names), len(heard["reference"].names)
    subtitle = f"{found} clips against {all_real} of {reference}"
    return write_results(comparison, evaluation, [], subtitle, {})


def evaluate_texts(
    parts: Parts,
    texts: Mapping[str, AskedText],
    melodies: Path | None,
    reference: Path,
    duration: float,
    sampling: Sampling,
    evaluation: Evaluation,
) -> list[Measurement]:
    """Generate a clip for every text, to the melody of its name if there are melodies, and compare.

    The clips lie in `output_dir`/audio/generated under the names of their texts.
    """
    prompts = text_prompts(parts, texts, melodies)
    folder, ranks = ClipFolder(evaluation.output_dir), evaluation.ranks
    evaluation.settings["model_identity"] = parts.identity
    request = {
        "model": parts.identity,
        "texts": [[prompt.name, prompt.description] for prompt in prompts],
        "melodies": _digest(prompts),
        "duration": duration,
        **vars(sampling),
    }
    folder.open(request, ranks)
    with_melody = melodies is not None
    kind = generated("generated", "Generating", parts, prompts, duration, sampling, with_melody)
    rate, size = parts.codec.sample_rate, sampling.batch_size
    make_clips([kind], folder, rate, size, ranks, evaluation.stages)
    broken = folder.non_finite("generated", batches(kind, size))
    ours = folder.files("generated", [prompt.name for prompt in prompts])
    asked = {
        p.name: Prompt(p.description, chroma=p.chroma, wanted=texts[p.name].wanted) for p in prompts
    }
    return evaluate_folders(ours, reference, asked, evaluation, with_melody, broken)


def text_prompts(
    parts: Parts, texts: Mapping[str, AskedText], melodies: Path | None
) -> list[Segment]:
    """A prompt for each text; UserError for a name that is no file's, or that lacks a melody."""
    for name in texts:
        pieces = PurePosixPath(name).parts
        long = any(len(piece.encode()) > LONGEST_NAME for piece in pieces)
        if long or ".." in pieces or name.startswith(("/", ".")) or any(c < " " for c in name):
            raise UserError(f"texts: {name!r:.80} cannot be the name of a clip; call it otherwise")
    tunes = {} if melodies is None else {file.name: file.path for file in clip_files(melodies)}
    if melodies is not None and (parts.chroma is None or not parts.lm.config["chroma_dim"]):
        raise UserError("melodies: the model follows none; leave melodies out, or take another")
    absent = [name for name in texts if melodies is not None and name not in tunes]
    if absent:
        raise UserError(
            f"{melodies} has no melody for {len(absent)} of {len(texts)} texts "
            f"({', '.join(absent[:3])} …): add audio of these names, or take the texts out"
        )
    return [
        Segment(name, name, {"description": asked.text}, _melody(parts, tunes.get(name)), _no_clip)
        for name, asked in texts.items()
    ]


def _melody(parts: Parts, path: Path | None) -> Tensor | None:
    """Dense chroma [F, 12] of a melody, as the model takes it."""
    if path is None or parts.chroma is None:
        return None
    wav, rate = read_audio(path)
    wav = resample(wav, rate, parts.chroma.sample_rate).to(parts.device)
    with torch.inference_mode():
        chroma = parts.chroma(wav[None]).cpu()
    return fit_length(chroma, parts.lm.config["chroma_length"])[0]


def _digest(prompts: Sequence[Segment]) -> str | None:
    """Names the melodies by what the model gets of them; None without any."""
    chroma = [prompt.chroma.numpy().tobytes() for prompt in prompts if prompt.chroma is not None]
    return hashlib.sha256(b"".join(chroma)).hexdigest() if chroma else None


def _no_clip() -> Tensor:
    raise AssertionError("a text has no real clip of its own")
