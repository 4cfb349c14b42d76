"""VGGish, the embedder of the Fréchet audio distance (Hershey et al. 2017, Kilgour et al. 2019)."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from torch import Tensor, nn

from musicgen_train.evaluation.embedders.identity import sha256_of
from musicgen_train.evaluation.embedders.levels import MAX_GAIN, TARGET_RMS, level_google, level_rms
from musicgen_train.evaluation.embedders.mono import (
    COMPAT_PROTOCOL,
    MONO_PROTOCOL,
    finite,
    resample_as_audiocraft,
    to_mono,
)
from musicgen_train.evaluation.embedders.precision import full_float32
from musicgen_train.evaluation.embedders.strict_weights import fill, weights_by_name
from musicgen_train.evaluation.embedders.vggish_features import (
    N_MELS,
    PATCH,
    SAMPLE_RATE,
    WINDOW,
    WINDOW_HOP,
    LogMel,
    count_windows,
)
from musicgen_train.evaluation.embedders.weights import PublishedWeights, find_weights
from musicgen_train.evaluation.embedders.windows import repeat_to_fill
from musicgen_train.formats.files import read_pickle, read_tensors

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
        if self.compat:
            channels = resample_as_audiocraft(finite(wav), sample_rate, SAMPLE_RATE)
            return level_google(channels.mean(0))
        return repeat_to_fill(level_rms(to_mono(wav, sample_rate, SAMPLE_RATE)), WINDOW)

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
                **COMPAT_PROTOCOL,
                "normalisation": "as audiocraft and Google: peak -1 dBFS, 16 bit, divided by the "
                "highest sample or 0.1; silence stays silence",
                "short_clips": "under 1 s no vector",
            }
        else:
            way = {
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
            **MONO_PROTOCOL,
            **way,
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
    content = read_tensors(found) if found.suffix == ".safetensors" else read_pickle(found)
    remedy = f"get {PUBLISHED.address}, or give {OPTION}=PATH"
    with torch.device("meta"):
        network = Vggish().requires_grad_(False)
    fill(network, weights_by_name(content, found, remedy), found, remedy)
    return VggishEmbedder(network, sha256_of(found), compat, device, found.name)
