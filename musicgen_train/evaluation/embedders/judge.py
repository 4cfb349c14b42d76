"""The judge: a small tagger that hears lead instrument, genre, key and tempo, and embeds clips.

It is trained on the demo corpus by recipes/train_judge.py and is no published embedder: its
numbers carry the name "judge" wherever they are shown and compare only with each other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from musicgen_train.errors import UserError
from musicgen_train.evaluation.embedders.identity import weights_digest
from musicgen_train.evaluation.embedders.judge_features import JudgeFeatures, normalise, windows
from musicgen_train.evaluation.metrics.kl import clip_log_probabilities
from musicgen_train.formats.files import read_json, read_tensors
from musicgen_train.whole_files import replacing

PITCH_CLASSES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
KEYS = tuple(f"{tonic} {mode}" for mode in ("major", "minor") for tonic in PITCH_CLASSES)
SHIPPED = Path(__file__).parents[2] / "assets" / "judge"


def key_label(name: str) -> str:
    """The judge's name of a key: sharps only, "Bb minor" -> "A# minor"."""
    tonic, _, mode = name.partition(" ")
    if tonic.endswith("b"):
        tonic = PITCH_CLASSES[PITCH_CLASSES.index(tonic[:-1]) - 1]
    return f"{tonic} {mode}"


class Hearing(NamedTuple):
    """What the judge makes of one clip, window by window."""

    embeddings: Tensor  # [W, D]
    logits: dict[str, Tensor]  # head -> [W, labels]

    def log_probabilities(self) -> dict[str, Tensor]:
        """Label distribution of the whole clip per head, [labels], natural log."""
        return {head: clip_log_probabilities(logits) for head, logits in self.logits.items()}


class TimbreBranch(nn.Module):
    """Log-mel [B, 64, T] -> [B, out_dim]: which sounds there are, wherever in the window."""

    def __init__(self, widths: Sequence[int] = (16, 32, 64, 96)) -> None:
        super().__init__()
        # 31 frames a second suffice for timbre; the beat branch sees all 62.
        layers: list[nn.Module] = [nn.AvgPool2d((1, 2))]
        for inputs, outputs in zip((1, *widths), widths, strict=False):
            conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
            layers += [conv, nn.GroupNorm(8, outputs), nn.ReLU(), nn.MaxPool2d(2)]
        self.layers = nn.Sequential(*layers)
        self.out_dim = widths[-1] * 4 * 2

    def forward(self, mel: Tensor) -> Tensor:
        features = self.layers(mel[:, None]).flatten(1, 2)
        return torch.cat([features.mean(-1), features.amax(-1)], dim=1)


class BeatBranch(nn.Module):
    """Log-mel [B, 64, T] -> [B, out_dim]: autocorrelation of the onsets in eight bands."""

    def __init__(self, bands: int = 8, max_lag: int = 128, out_dim: int = 64) -> None:
        super().__init__()
        self.bands, self.max_lag, self.out_dim = bands, max_lag, out_dim
        self.project = nn.Sequential(nn.Linear(bands * max_lag, out_dim), nn.ReLU())

    def forward(self, mel: Tensor) -> Tensor:
        onsets = mel.diff(dim=-1).clamp(min=0).unflatten(1, (self.bands, -1)).mean(2)
        onsets = onsets - onsets.mean(-1, keepdim=True)
        # Padding to twice the length keeps the circular correlation of the FFT linear.
        spectrum = torch.fft.rfft(onsets, n=2 * onsets.shape[-1])
        correlation = torch.fft.irfft(spectrum.abs().square())[..., : self.max_lag + 1]
        correlation = correlation[..., 1:] / correlation[..., :1].clamp(min=1e-6)
        return self.project(correlation.flatten(1))


class PitchBranch(nn.Module):
    """Log-semitones [B, 72, F] -> pitch-class features [B, width, 12], tonic unknown.

    Convolutions along pitch treat every tonic alike, and octaves are folded under three wide
    bells (bass, middle, treble), so a piece transposed by a semitone gives nearly the same
    features one step further round the circle, yet the bass keeps its special say.
    """

    registers: Tensor

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, (5, 3), padding=(2, 1), bias=False),
            nn.GroupNorm(4, 16),
            nn.ReLU(),
            nn.Conv2d(16, 32, (5, 3), padding=(2, 1), bias=False),
            nn.GroupNorm(4, 32),
            nn.ReLU(),
        )
        distance = torch.arange(72.0) - torch.tensor([10.0, 34.0, 58.0])[:, None]
        self.register_buffer("registers", torch.exp(-((distance / 16) ** 2)), persistent=False)
        self.fold = nn.Sequential(nn.Conv1d(32 * 3, width, 1), nn.ReLU())

    def forward(self, semitones: Tensor) -> Tensor:
        features = self.layers(semitones[:, None]).mean(-1)[:, :, None] * self.registers
        return self.fold(features.unflatten(-1, (-1, 12)).sum(-2).flatten(1, 2))


class Judge(nn.Module):
    """Tagger with one softmax per head and an embedding before the heads.

    `labels` maps each head (instrument, genre, key, tempo) to its label names; `tempo_edges`
    are the bpm that separate the tempo classes.
    """

    def __init__(
        self,
        labels: Mapping[str, Sequence[str]],
        tempo_edges: Sequence[float],
        embedding_dim: int = 64,
    ) -> None:
        super().__init__()
        if tuple(labels["key"]) != KEYS:
            raise ValueError(f"the key head has the 24 labels {KEYS[0]} ... {KEYS[-1]}")
        if len(labels["tempo"]) != len(tempo_edges) + 1:
            raise ValueError(f"{len(labels['tempo'])} tempo classes, {len(tempo_edges)} edges")
        self.labels = {head: list(names) for head, names in labels.items()}
        self.tempo_edges = list(tempo_edges)
        self.config = {
            "labels": self.labels,
            "tempo_edges": self.tempo_edges,
            "embedding_dim": embedding_dim,
        }
        self.features = JudgeFeatures()
        self.timbre, self.beat, self.pitch = TimbreBranch(), BeatBranch(), PitchBranch()
        width = self.timbre.out_dim + self.beat.out_dim + 2 * 48
        self.dropout = nn.Dropout(0.3)
        self.embedding = nn.Linear(width, embedding_dim)
        self.heads = nn.ModuleDict(
            {h: nn.Linear(embedding_dim, len(n)) for h, n in labels.items() if h != "key"}
        )
        # One circular template per mode, tried at all twelve tonics.
        self.key_templates = nn.Conv1d(48, 2, 12)

    def forward(self, wav: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Normalised windows [B, N] -> embeddings [B, D], logits {head: [B, labels]}."""
        mel, semitones = self.features(wav)
        pitch = self.pitch(semitones)
        summary = [self.timbre(mel), self.beat(mel), pitch.mean(-1), pitch.amax(-1)]
        embedding = self.embedding(self.dropout(torch.cat(summary, dim=1)))
        logits = {head: layer(embedding.relu()) for head, layer in self.heads.items()}
        around = torch.cat([pitch, pitch[..., :11]], dim=-1)
        logits["key"] = self.key_templates(around).flatten(1)
        return embedding, logits

    @torch.inference_mode()
    def listen(self, wav: Tensor, sample_rate: int) -> Hearing:
        """Hear a clip [C, N] in windows of 4 s, 1 s apart."""
        assert not self.training, "call judge.eval() before listening"
        device = self.key_templates.weight.device
        embeddings, logits = self(windows(normalise(wav, sample_rate)).to(device))
        return Hearing(embeddings.cpu(), {head: values.cpu() for head, values in logits.items()})

    def embed(self, wav: Tensor, sample_rate: int) -> Tensor:
        """Embeddings [W, D] of a clip [C, N]."""
        return self.listen(wav, sample_rate).embeddings

    def probabilities(self, wav: Tensor, sample_rate: int) -> dict[str, Tensor]:
        """Label distribution of a clip [C, N] per head, [labels]."""
        heard = self.listen(wav, sample_rate).log_probabilities()
        return {head: values.exp() for head, values in heard.items()}


def save_judge(judge: Judge, folder: Path, training: Mapping[str, object]) -> None:
    """Write config.json (model, front end, training figures) and model.safetensors."""
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.contiguous() for name, value in judge.state_dict().items()}
    with replacing(folder / "model.safetensors") as partial:
        partial.write_bytes(save(state))
    config = {"format": 1, "judge": judge.config, "training": dict(training)}
    with replacing(folder / "config.json") as partial:
        partial.write_text(json.dumps(config, indent=1) + "\n")


def load_judge(folder: Path | str | None = None) -> Judge:
    """The shipped judge, or the one in a folder, ready to listen."""
    folder = Path(folder) if folder else SHIPPED
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise UserError(
                f"no judge in {folder}: {name} is missing; "
                "train one with `python -m recipes.train_judge`"
            )
    try:
        judge = Judge(**read_json(folder / "config.json")["judge"])
        judge.load_state_dict(read_tensors(folder / "model.safetensors"))
    except UserError:
        raise
    except (KeyError, TypeError, ValueError, RuntimeError):
        raise UserError(
            f"{folder} holds no judge but another model: name the folder of a judge"
        ) from None
    return judge.eval()


def judge_training_record(folder: Path | str | None = None) -> dict:
    """How the judge was trained and how well it hears, as written beside its weights."""
    folder = Path(folder) if folder else SHIPPED
    return read_json(folder / "config.json").get("training", {})


def judge_identity(judge: Judge) -> str:
    """First 16 hex digits of the SHA-256 of the judge's weights, for protocol records."""
    return weights_digest(judge)[:16]
