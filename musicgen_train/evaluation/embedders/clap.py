"""CLAP (Wu et al. 2023) as an embedder: clips and texts as unit vectors in one space."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from musicgen_train.evaluation.embedders import clap_features
from musicgen_train.evaluation.embedders.clap_features import WINDOW, WINDOW_DURATION, log_mel
from musicgen_train.evaluation.embedders.clap_files import (
    fetch_folder,
    load_folder,
    load_tokenizer,
)
from musicgen_train.evaluation.embedders.clap_laion import load_laion
from musicgen_train.evaluation.embedders.identity import folder_sha256, sha256_of
from musicgen_train.evaluation.embedders.mono import (
    MONO_PROTOCOL,
    finite,
    resample_as_audiocraft,
    to_mono,
)
from musicgen_train.evaluation.embedders.precision import full_float32
from musicgen_train.evaluation.embedders.weights import PublishedWeights, find_weights

if TYPE_CHECKING:
    from transformers import ClapModel

# HTSAT-base without fusion, which audiocraft's config/solver/musicgen/default.yaml names.
CLAP_MUSIC = PublishedWeights(
    file="music_audioset_epoch_15_esc_90.14.pt",
    address="https://huggingface.co/lukewys/laion_clap/resolve/main/"
    "music_audioset_epoch_15_esc_90.14.pt",
    sha256="fae3e9c087f2909c28a09dc31c8dfcdacbc42ba44c70e972b58c1bd1caf6dedd",
)
OPTION = "weights.clap"
HOP_DURATION = 5.0  # seconds between windows
TOKENS = 77  # per text, padding included
BATCH = 16  # windows
TEXT_BATCH = 64
FRONT_END = 1  # counts changes of what is heard of the same clip


class Source(NamedTuple):
    """Where a model's weights came from, for records."""

    file: str
    sha256: str
    config: str = ""  # SHA-256 of config.json, where the weights do not tell all


class ClapEmbedder:
    """{"vectors": [W, D]}, one unit vector per window of 10 s; and `text_vectors`.

    compat: as audiocraft's CLAPTextConsistencyMetric: julius resamples, and of a clip longer than
    10 s one random window is heard. Theirs differs each time; ours is drawn by the clip's content.
    """

    name = "clap"
    sample_rate = clap_features.SAMPLE_RATE

    def __init__(
        self,
        model: ClapModel,
        tokenizer: Any,
        source: Source,
        compat: bool = False,
        device: str | torch.device = "cpu",
    ) -> None:
        network: Any = model
        self.model = network.to(device).eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.source = source
        self.compat = compat
        self.device = torch.device(device)

    def prepare(self, wav: Tensor, sample_rate: int) -> Tensor:
        """A clip [C, N] as the mean of its channels at 48 kHz: [N']; bad samples count as 0."""
        if not self.compat:
            return to_mono(wav, sample_rate, self.sample_rate)
        return resample_as_audiocraft(finite(wav).mean(0), sample_rate, self.sample_rate)

    @torch.inference_mode()
    def hear(self, prepared: Tensor) -> dict[str, Tensor]:
        """Windows 5 s apart, the last one at the end of the clip; compat hears one window."""
        vectors = []
        for batch in self._windows(prepared).split(BATCH):
            with full_float32(self.device):
                heard = self.model.get_audio_features(input_features=log_mel(batch.to(self.device)))
            vectors.append(F.normalize(heard.pooler_output.float(), dim=-1).cpu())
        return {"vectors": torch.cat(vectors)}

    @torch.inference_mode()
    def text_vectors(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors of texts, [n, D] float32 on the CPU; a text is cut after 77 tokens."""
        assert self.tokenizer is not None, "load_clap(text=False) has no tokenizer"
        vectors = [torch.zeros(0, self.model.config.projection_dim)]
        for start in range(0, len(texts), TEXT_BATCH):
            # Always 77 long, so that no text depends on the lengths of its neighbours.
            tokens = self.tokenizer(
                list(texts[start : start + TEXT_BATCH]),
                padding="max_length",
                truncation=True,
                max_length=TOKENS,
                return_tensors="pt",
            ).to(self.device)
            with full_float32(self.device):
                said = self.model.get_text_features(
                    input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
                )
            vectors.append(F.normalize(said.pooler_output.float(), dim=-1).cpu())
        return torch.cat(vectors)

    def identity(self) -> str:
        """Changes with the weights, the front end and the windows."""
        heard = [self.source.sha256, self.source.config, FRONT_END, HOP_DURATION, self.compat]
        return hashlib.sha256(json.dumps(heard).encode()).hexdigest()

    def protocol(self) -> dict[str, object]:
        """The record of every number that CLAP takes part in."""
        once = "one per clip, drawn by its content if it is longer"
        return {
            "embedder": "clap",
            "weights": self.source.file,
            "weights_sha256": self.source.sha256,
            "sample_rate": self.sample_rate,
            "window_duration": WINDOW_DURATION,
            "hop_duration": once if self.compat else HOP_DURATION,
            "short_clips": "repeatpad",
            **MONO_PROTOCOL,
            **({"resampler": "julius 24/0.945"} if self.compat else {}),
            "normalisation": "none",
            "tokenizer_length": TOKENS,
            "dtype": "float32, log-mel float64",
        }

    def _windows(self, prepared: Tensor) -> Tensor:
        if self.compat and len(prepared) > WINDOW:
            digest = hashlib.sha256(prepared.numpy().tobytes()).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
            latest = len(prepared) - WINDOW
            start = int(torch.randint(latest + 1, (), generator=generator))
            prepared = prepared[start : start + WINDOW]
        return clap_features.windows(prepared, int(HOP_DURATION * self.sample_rate))


def load_clap(
    path: Path | str | None = None,
    check: bool = True,
    tokenizer: Path | str | None = None,
    compat: bool = False,
    device: str | torch.device = "cpu",
    text: bool = True,
) -> ClapEmbedder:
    """CLAP from LAION's .pt, a folder of transformers, or a name of the hub.

    path: without one, the published file, downloaded if it is not here. check=False takes any .pt.
    tokenizer: a folder with that of roberta-base, else the model's own, else the hub's. text=False
    needs none. UserError says what is wrong, MissingWeights which file to get.
    """
    folder = _folder(path)
    if folder is not None:
        # A folder by its own name, whatever is above it; a repository of the hub by its whole name.
        name = folder.resolve().name if folder == Path(str(path)) else str(path)
        model = load_folder(folder)
        source = Source(name, folder_sha256(folder), sha256_of(folder / "config.json"))
    else:
        file = find_weights(CLAP_MUSIC, path, OPTION, check)
        source = Source(file.name, sha256_of(file))
        model = load_laion(file)
    known = len(model.text_model.embeddings.word_embeddings.weight)
    words = load_tokenizer(tokenizer, folder, known) if text else None
    return ClapEmbedder(model, words, source, compat, device)


def _folder(path: Path | str | None) -> Path | None:
    """The folder of transformers that is meant, if one is."""
    if path is None or Path(path).is_file():
        return None
    if Path(path).is_dir():
        return Path(path)
    named = str(path).count("/") == 1 and not str(path).startswith(("/", ".", "~"))
    return fetch_folder(str(path)) if named and Path(path).suffix != ".pt" else None
