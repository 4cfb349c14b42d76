"""VGGish, the embedder of the Fréchet audio distance (Hershey et al. 2017, Kilgour et al. 2019)."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from musicgen_train.data.audio import resample
from musicgen_train.errors import UserError
from musicgen_train.evaluation.embedders.levels import MAX_GAIN, TARGET_RMS, level_google, level_rms
from musicgen_train.evaluation.embedders.precision import full_float32
from musicgen_train.evaluation.embedders.vggish_features import (
    N_MELS,
    PATCH,
    SAMPLE_RATE,
    WINDOW,
    WINDOW_HOP,
    LogMel,
    count_windows,
    fill_window,
)
from musicgen_train.evaluation.embedders.weights import PublishedWeights, find_weights, sha256_of
from musicgen_train.formats.files import brief, read_pickle, read_tensors

PUBLISHED = PublishedWeights(
    file="vggish-10086976.pth",
    address="https://github.com/harritaylor/torchvggish/releases/download/v0.1/vggish-10086976.pth",
    # The first 8 digits are in the name; the D3M primitives state all of them.
    sha256="10086976245803799d9194e9a73d9b6c1549c71d1b80106f5cade5608a561f4b",
)
OPTION = "weights.vggish"
WIDTH = 128  # of an embedding
BATCH = 64  # windows at a time, however long the clip is
FRONT_END = 1  # to be raised when `prepare` or `LogMel` gives other numbers


class Vggish(nn.Module):
    """Log-mel patches [W, 1, 96, 64] -> embeddings [W, 128], before the ReLU and without PCA.

    The names and shapes of the parameters are those of torchvggish, whose weights are Google's.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 1
        for stage in ((64,), (128,), (256, 256), (512, 512)):
            for outputs in stage:
                layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
                inputs = outputs
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        flat = inputs * (PATCH // 16) * (N_MELS // 16)
        self.embeddings = nn.Sequential(
            nn.Linear(flat, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(),
            nn.Linear(4096, WIDTH),
        )  # fmt: skip

    def forward(self, patches: Tensor) -> Tensor:
        assert patches.shape[1:] == (1, PATCH, N_MELS), tuple(patches.shape)
        # The first linear layer comes from TensorFlow, where channels vary fastest.
        return self.embeddings(self.features(patches).permute(0, 2, 3, 1).flatten(1))


class VggishEmbedder:
    """{"vectors": [W, 128]}, one a window of 1 s, 0.5 s apart.

    compat: level, rate and short clips exactly as audiocraft's FAD has them, faults included.
    """

    name = "vggish"
    sample_rate = SAMPLE_RATE

    def __init__(
        self,
        network: Vggish,
        weights_sha256: str,
        compat: bool = False,
        device: str | torch.device = "cpu",
        weights_file: str = PUBLISHED.file,
    ) -> None:
        self.device = torch.device(device)
        self.network = network.to(self.device).eval()
        self.log_mel = LogMel().to(self.device)
        self.weights_sha256, self.weights_file = weights_sha256, weights_file
        self.compat = compat

    def prepare(self, wav: Tensor, sample_rate: int) -> Tensor:
        """A clip [C, N] as mono at 16 kHz and one level: [N']; samples not finite count as 0."""
        assert wav.ndim == 2, f"a clip is [C, N], got {tuple(wav.shape)}"
        wav = torch.nan_to_num(wav.detach().cpu().float(), nan=0.0, posinf=0.0, neginf=0.0)
        if wav.shape[1] == 0:  # nothing can be resampled: a silent sample comes to the same
            wav = wav.new_zeros(len(wav), 1)
        if self.compat:
            return level_google(_resample_as_audiocraft(wav, sample_rate).mean(0))
        mono = resample(wav.mean(0, keepdim=True), sample_rate, SAMPLE_RATE)[0]
        return fill_window(level_rms(mono))

    @torch.inference_mode()
    def hear(self, prepared: Tensor) -> dict[str, Tensor]:
        """Embeddings of the windows that fit into a clip [N']."""
        prepared = prepared.to(self.device)
        n_windows = count_windows(len(prepared))
        vectors = [torch.zeros(0, WIDTH)]
        for first in range(0, n_windows, BATCH):
            patches = self.log_mel.patches(prepared, first, min(first + BATCH, n_windows))
            with full_float32(self.device):
                vectors.append(self.network(patches[:, None].float()).cpu())
        return {"vectors": torch.cat(vectors)}

    def identity(self) -> str:
        """64 hex digits of the weights and of all that comes before them."""
        heard = {**self.protocol(), "weights": "", "front_end": FRONT_END}
        return hashlib.sha256(json.dumps(heard, sort_keys=True).encode()).hexdigest()

    def protocol(self) -> dict[str, object]:
        """The record of every number that rests on these vectors."""
        if self.compat:
            way = {
                "channels": "mean, after the rate is changed",
                "resampler": "julius 24/0.945",
                "normalisation": "as audiocraft and Google: peak -1 dBFS, 16 bit, divided by the "
                "highest sample or 0.1; silence stays silence",
                "short_clips": "under 1 s no vector",
            }
        else:
            way = {
                "channels": "mean, before the rate is changed",
                "resampler": "soxr HQ",
                "normalisation": f"RMS {TARGET_RMS} over the clip, gain at most {MAX_GAIN}",
                "short_clips": "under 1 s repeated to 1 s",
            }
        return {
            "embedder": self.name,
            "weights": self.weights_file,
            "weights_sha256": self.weights_sha256,
            "sample_rate": SAMPLE_RATE,
            "window_duration": WINDOW / SAMPLE_RATE,
            "hop_duration": WINDOW_HOP / SAMPLE_RATE,
            **way,
            "not_finite": "samples taken as 0",
            "layer": "128-d, pre-ReLU, no PCA",
            "dtype": "log-mel float64, network float32",
        }


def load_vggish(
    path: Path | str | None = None,
    check: bool = True,
    compat: bool = False,
    device: str | torch.device = "cpu",
) -> VggishEmbedder:
    """The embedder with the weights at `path` (.pth or .safetensors), else the published ones.

    check=False takes weights other than the published ones. UserError if they do not fit.
    """
    found = find_weights(PUBLISHED, path, OPTION, check)
    state = read_tensors(found) if found.suffix == ".safetensors" else read_pickle(found)
    with torch.device("meta"):
        network = Vggish()
    differences = _differences(state, network.state_dict())
    if differences:
        more = f"; and {len(differences) - 3} more" if len(differences) > 3 else ""
        raise UserError(
            f"{found} is not VGGish in torchvggish's layout ({'; '.join(differences[:3])}{more}): "
            f"get {PUBLISHED.address}, or give {OPTION}=PATH"
        )
    plain = {name: value.float().contiguous() for name, value in state.items()}
    network.load_state_dict(plain, assign=True)
    network.requires_grad_(False)
    return VggishEmbedder(network, sha256_of(found), compat, device, found.name)


def _differences(state: Any, expected: dict[str, Tensor]) -> list[str]:
    """What is wrong with the content of a weights file, one phrase each."""
    if not isinstance(state, dict):
        return [f"it holds a {type(state).__name__}, not tensors by name"]
    found = [f"{name} is missing" for name in expected if name not in state]
    found += [f"{brief(name)} is not known" for name in state if name not in expected]
    for name in [name for name in expected if name in state]:
        value, shape = state[name], list(expected[name].shape)
        if not isinstance(value, Tensor) or not value.is_floating_point():
            found.append(f"{name} is not a tensor of floating point numbers")
        elif list(value.shape) != shape:
            found.append(f"{name} is {list(value.shape)}, not {shape}")
    return found


def _resample_as_audiocraft(wav: Tensor, sample_rate: int) -> Tensor:
    """Each channel of a clip [C, N] at 16 kHz, by the resampler of audiocraft's convert_audio."""
    from julius.resample import resample_frac

    return resample_frac(wav, int(sample_rate), SAMPLE_RATE)
