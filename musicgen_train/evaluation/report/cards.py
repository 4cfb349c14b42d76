"""Cards of the report: one prompt with every version of its clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from musicgen_train.evaluation.report.codec_report import fidelity_note
from musicgen_train.evaluation.report.gallery import Gallery
from musicgen_train.evaluation.report.plots import plot_chroma


def make_cards(clips: Sequence[Mapping[str, Any]], gallery: Gallery) -> list[dict[str, Any]]:
    """One card per prompt, its audio copied and its pictures drawn."""
    chroma_file = gallery.evaluation_dir / "chroma.npz"
    chroma = dict(np.load(chroma_file, allow_pickle=False)) if chroma_file.is_file() else {}
    return [_card(clip, chroma, gallery) for clip in clips]


def _card(
    clip: Mapping[str, Any], chroma: Mapping[str, np.ndarray], gallery: Gallery
) -> dict[str, Any]:
    copied = "fidelity" in clip  # a copy is compared with its original: on one scale
    notes = {kind: _note(clip, kind) for kind in clip["audio"]}
    card = {
        "description": clip["description"],
        "key": clip["key"],
        "wanted": [value for value in clip.get("wanted", {}).values() if value],
        "versions": gallery.versions(clip, list(clip["audio"]), notes, one_scale=copied),
        "chroma": "",
        "chroma_note": "",
    }
    asked, heard = (chroma.get(f"{clip['key']}.{side}") for side in ("asked", "heard"))
    if asked is not None and heard is not None:
        picture = gallery.place("plots", "chroma", f"{clip['key']}.png")
        plot_chroma(torch.from_numpy(asked), torch.from_numpy(heard), Path(picture))
        card["chroma"] = gallery.url(picture)
        agreement = clip.get("scores", {}).get("chroma.argmax")
        if agreement is not None:
            card["chroma_note"] = f"same dominant pitch class in {agreement:.0%} of the frames"
    return card


def _note(clip: Mapping[str, Any], kind: str) -> str:
    """What was measured or heard in one version of a clip."""
    if "fidelity" in clip:
        copied = kind == "reconstruction"
        return fidelity_note(clip["fidelity"]) if copied else f"{clip['duration']:.1f} s"
    labels = clip.get("heard", {}).get(kind)
    return f"judge hears: {', '.join(labels.values())}" if labels else ""
