"""The clips of an evaluation on disk, and what metrics.json says of each prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from musicgen_train.data.audio import replacing
from musicgen_train.evaluation.clips import Clip, write_clip
from musicgen_train.evaluation.held_out import Segment
from musicgen_train.evaluation.judged import Judged
from musicgen_train.evaluation.metrics.chroma_agreement import chroma_agreement
from musicgen_train.evaluation.report.sonify import sonify_chroma

ORDER = ("reference", "reconstruction", "text", "untrained", "melody_source", "melody")


def write_clips(
    output_dir: Path,
    prompts: Sequence[Segment],
    wavs: Mapping[str, Tensor],
    judged: Mapping[str, Judged],
    melody_chroma: Sequence[Tensor] | None,
) -> list[dict[str, Any]]:
    """Write clips [n, C, N] of every kind and chroma.npz; return one entry per prompt."""
    entries, arrays = [], {}
    for i, segment in enumerate(prompts):
        name = f"{i:03d}"
        shown = {kind: wavs[kind][i] for kind in judged}
        entry: dict[str, Any] = {
            "key": name,
            "segment": segment.clip.name,
            "description": segment.description,
            "wanted": {field: segment.label(field) for field in ("instrument", "genre")},
            "heard": {kind: heard.top_labels(i) for kind, heard in judged.items()},
        }
        if melody_chroma is not None and segment.chroma is not None:
            shown["melody_source"] = _sonified(segment)
            arrays[f"{name}.asked"] = segment.chroma.half().numpy()
            arrays[f"{name}.heard"] = melody_chroma[i].half().numpy()
            agreement = chroma_agreement(segment.chroma, melody_chroma[i])
            entry["chroma_agreement"] = agreement.argmax if agreement.voiced else None
        entry["audio"] = {kind: f"{kind}/{name}.flac" for kind in ORDER if kind in shown}
        for kind, relative in entry["audio"].items():
            clip = Clip(name, shown[kind], segment.clip.sample_rate)
            write_clip(output_dir / "audio" / relative, clip)
        entries.append(entry)
    with replacing(output_dir / "chroma.npz") as partial, partial.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    return entries


def _sonified(segment: Segment) -> Tensor:
    assert segment.chroma is not None
    clip = segment.clip
    duration = clip.wav.shape[-1] / clip.sample_rate
    return sonify_chroma(segment.chroma, duration, clip.sample_rate)
