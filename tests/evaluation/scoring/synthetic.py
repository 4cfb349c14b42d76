"""Sets of clips that were never heard: what an embedder would have heard in them is made up."""

from pathlib import Path

import torch

from musicgen_train.evaluation.clips import ClipFile
from musicgen_train.evaluation.comparison import Comparison, Prompt, System
from musicgen_train.evaluation.embedders.identity import sha256_of
from musicgen_train.evaluation.heard_cache import HeardCache
from musicgen_train.evaluation.heard_set import FACTS, HeardSet
from tests.evaluation.counting_embedder import CountingEmbedder

FACT = torch.tensor([[10.0, 32000.0, 1.0, 0.1, 0.5, -20.0]], dtype=torch.float64)


class NamedEmbedder(CountingEmbedder):
    """Of any name; it hears nothing itself."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def made_up(
    folder: Path,
    title: str,
    embedder: NamedEmbedder,
    arrays: dict[str, dict[str, torch.Tensor]],
    tracks: dict[str, str] | None = None,
) -> HeardSet:
    """A set whose clips have these arrays, by name, and are of these tracks."""
    cache, files = HeardCache(folder / "heard"), []
    for name, heard in arrays.items():
        path = folder / title / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{title} {name}")
        cache.write(FACTS, sha256_of(path), {"facts": FACT})
        cache.write(embedder, sha256_of(path), heard)  # type: ignore[arg-type]
        files.append(ClipFile(name, path, (tracks or {}).get(name, "")))
    return HeardSet(title, files, cache)


def compared(
    generated: HeardSet, reference: HeardSet, prompts: dict[str, Prompt] | None = None
) -> Comparison:
    """As a folder is compared with another."""
    return Comparison(
        [System("", "generated", generated)], reference, reference, prompts=prompts or {}
    )


def clips_of(vectors: torch.Tensor) -> dict[str, dict[str, torch.Tensor]]:
    """Vectors [n, W, D] as clips 000, 001, …"""
    return {f"{i:03d}": {"vectors": windows} for i, windows in enumerate(vectors)}
