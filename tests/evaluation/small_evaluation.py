"""A tiny model, a tiny dataset and an untrained judge: everything evaluation needs, in seconds."""

import io
import json
import math
from pathlib import Path

import numpy as np
import torch

from musicgen_train.codec.encodec import Encodec
from musicgen_train.conditioning.chroma import ChromaExtractor
from musicgen_train.conditioning.text import WordTextEncoder
from musicgen_train.data.audio import encode_flac
from musicgen_train.data.shards import DatasetWriter
from musicgen_train.evaluation.embedders.judge import KEYS, Judge
from musicgen_train.evaluation.embedders.judge_embedder import JudgeEmbedder
from musicgen_train.evaluation.embedders.melody import ChromaEmbedder
from musicgen_train.evaluation.heard_cache import HeardCache
from musicgen_train.evaluation.listeners import Listeners
from musicgen_train.evaluation.measuring import Evaluation
from musicgen_train.evaluation.protocol import Protocol
from musicgen_train.evaluation.sampling import Parts
from musicgen_train.evaluation.stages import Stages
from musicgen_train.lm.model import LanguageModel

RATE, WINDOW, HOP = 8000, 2048, 1024
SECONDS = 2.0
METRICS = ("fad", "kad", "coverage", "kl", "text", "chroma", "failures")
STYLES = [("piano", "jazz"), ("flute", "folk")]


def tune(i: int, seconds: float = SECONDS) -> torch.Tensor:
    """A held note, another one for every i: [1, N]."""
    time = torch.arange(round(seconds * RATE)) / RATE
    return 0.3 * torch.sin(2 * math.pi * 220 * 2 ** (i / 12) * time)[None]


def write_dataset(folder: Path, n_tracks: int = 6, with_chroma: bool = True) -> Path:
    """One test segment a track, alternately piano jazz and flute folk."""
    folder.mkdir(parents=True)
    members = ["chroma.npy", "flac", "json"] if with_chroma else ["flac", "json"]
    writer = DatasetWriter(folder, members)
    extractor = ChromaExtractor(sample_rate=RATE, window=WINDOW, hop=HOP)
    for i in range(n_tracks):
        wav, (instrument, genre) = tune(i), STYLES[i % 2]
        metadata = {"description": f"{genre} with {instrument}"}
        metadata |= {"instrument": instrument, "genre": genre}
        files = {"flac": encode_flac(wav, RATE), "json": json.dumps(metadata).encode()}
        if with_chroma:
            buffer = io.BytesIO()
            np.save(buffer, extractor(wav[None])[0].half().numpy())
            files["chroma.npy"] = buffer.getvalue()
        writer.write(f"track{i}_0", files, "test", SECONDS)
    chroma = {"n_chroma": 12, "window": WINDOW, "hop": HOP} if with_chroma else None
    writer.close(
        {"sample_rate": RATE, "channels": 1, "segment_duration": SECONDS, "chroma": chroma}
    )
    return folder


def small_parts(sample_rate: int = RATE) -> Parts:
    """A random model with text and melody conditioning at 50 frames/s."""
    torch.manual_seed(0)
    return Parts(
        Encodec(
            sample_rate=sample_rate, channels=1, n_q=2, card=16, ratios=[4, 5, 8], n_filters=4,
            dimension=8, lstm=0,
        ).eval(),
        LanguageModel(
            n_q=2, card=16, dim=16, num_heads=2, num_layers=1, text_dim=8, chroma_dim=12,
            chroma_length=16,
        ).eval(),
        WordTextEncoder(8, 64).eval(),
        ChromaExtractor(sample_rate=sample_rate, window=WINDOW, hop=HOP),
    )  # fmt: skip


def small_judge() -> Judge:
    """An untrained judge that knows the dataset's labels."""
    torch.manual_seed(0)
    labels = {
        "instrument": ["flute", "piano"], "genre": ["folk", "jazz"], "key": KEYS,
        "tempo": ["slow", "fast"],
    }  # fmt: skip
    return Judge(labels, [100.0]).eval()


def small_listeners(
    metrics: tuple[str, ...] = METRICS, judge: Judge | None = None, window: int = WINDOW
) -> Listeners:
    """The judge for everything, and chroma as the small model takes it."""
    protocol = Protocol("judge", metrics, ("judge",), "judge")
    listener = JudgeEmbedder(judge or small_judge())
    chroma = ChromaEmbedder(ChromaExtractor(sample_rate=RATE, window=window, hop=HOP))
    return Listeners(
        protocol,
        metrics,
        embedders=[listener],
        tagger=listener if "kl" in metrics else None,
        text_judge=listener if "text" in metrics else None,
        chroma=chroma if "chroma" in metrics else None,
    )


def small_evaluation(
    output_dir: Path, settings: dict | None = None, metrics: tuple[str, ...] = METRICS
) -> Evaluation:
    """An evaluation by the small judge that keeps what it heard beside its results."""
    cache = HeardCache(output_dir.parent / "heard")
    return Evaluation(
        output_dir, small_listeners(metrics), cache, settings or {}, Stages(shown=False)
    )
