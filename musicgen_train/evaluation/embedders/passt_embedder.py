"""The PaSST tagger as an embedder: AudioSet logits of each window of a clip, for divergences."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from torch import Tensor

from musicgen_train.errors import UserError
from musicgen_train.evaluation.embedders.identity import sha256_of, weights_digest
from musicgen_train.evaluation.embedders.mono import (
    COMPAT_PROTOCOL,
    MONO_PROTOCOL,
    finite,
    resample_as_audiocraft,
    to_mono,
)
from musicgen_train.evaluation.embedders.passt import Passt, patches_in
from musicgen_train.evaluation.embedders.passt_features import (
    SAMPLE_RATE,
    PasstFeatures,
    frames_in,
)
from musicgen_train.evaluation.embedders.precision import full_float32
from musicgen_train.evaluation.embedders.strict_weights import fill, weights_by_name
from musicgen_train.evaluation.embedders.weights import PublishedWeights, find_weights
from musicgen_train.evaluation.embedders.windows import repeat_to_fill
from musicgen_train.formats.files import read_pickle

OPTION = "weights.passt"
TOO_SHORT = 4800  # samples (0.15 s): of so many or fewer there is no whole patch
FRONT_END = 2  # goes up with every change to what is heard
RELEASES = "https://github.com/kkoutini/PaSST/releases/download"
# The 10 s file's hash: several public projects state the same. None states the others'.
PUBLISHED = {
    10.0: PublishedWeights(
        "passt-s-f128-p16-s10-ap.476-swa.pt",
        f"{RELEASES}/v0.0.1-audioset/passt-s-f128-p16-s10-ap.476-swa.pt",
        "302903fa8c4aee817b11dc982da0b29aaf8d11a3e722420476d0a12c9db70c2c",
    ),
    20.0: PublishedWeights(
        "passt-s-f128-20sec-p16-s10-ap.474-swa.pt",
        f"{RELEASES}/v0.0.5/passt-s-f128-20sec-p16-s10-ap.474-swa.pt",
        "",
    ),
    30.0: PublishedWeights(
        "passt-s-f128-30sec-p16-s10-ap.473-swa.pt",
        f"{RELEASES}/v0.0.5/passt-s-f128-30sec-p16-s10-ap.473-swa.pt",
        "",
    ),
}
TIME_PATCHES = {10.0: 99, 20.0: 200, 30.0: 300}


class PasstEmbedder:
    """Hears windows of `window_duration` side by side, the last as short as it is.

    Nothing is padded (zeros after a 10 s clip lower the divergence by about a tenth), and a rest of
    0.15 s or less is dropped, as audiocraft does. compat: audiocraft's resampler too, and no window
    for a clip of 0.15 s or less, which is repeated otherwise.
    """

    name = "passt"
    sample_rate = SAMPLE_RATE

    def __init__(
        self,
        network: Passt,
        window_duration: float = 20.0,
        compat: bool = False,
        weights: str = "random",
        weights_sha256: str = "",
        device: str | torch.device = "cpu",
    ) -> None:
        self.window = int(window_duration * SAMPLE_RATE)
        assert self.window > TOO_SHORT, f"windows of {window_duration} s"
        patches = patches_in(frames_in(self.window))
        assert patches <= network.time_patches, (
            f"windows of {window_duration} s are {patches} patches for "
            f"{network.time_patches} positions"
        )
        self.compat, self.device = compat, torch.device(device)
        self.weights, self.weights_sha256 = weights, weights_sha256
        self.network = network.eval().requires_grad_(False).to(self.device)
        self.features = PasstFeatures().to(self.device)
        heard = [FRONT_END, self.window, self.compat, weights_digest(network)]
        self._identity = hashlib.sha256(json.dumps(heard).encode()).hexdigest()

    def prepare(self, wav: Tensor, sample_rate: int) -> Tensor:
        """A clip [C, N] as mono [N'] at 32 kHz; samples that are no finite numbers count as 0."""
        if self.compat:
            return resample_as_audiocraft(finite(wav), sample_rate, SAMPLE_RATE).mean(0)
        # One patch must be whole.
        return repeat_to_fill(to_mono(wav, sample_rate, SAMPLE_RATE), TOO_SHORT + 1)

    def hear(self, prepared: Tensor) -> dict[str, Tensor]:
        """Samples [N] -> "logits" [W, classes], "vectors" [W, dim], "weights" [W]: their lengths.

        W is 0 if all is too short.
        """
        logits = [torch.zeros(0, self.network.classes)]
        vectors, weights = [torch.zeros(0, self.network.dim)], list[float]()
        for window in prepared.split(self.window):  # one at a time, so that memory is bounded
            if window.shape[0] <= TOO_SHORT:
                continue
            with torch.no_grad(), full_float32(self.device):
                heard = self.network(self.features(window[None].to(self.device)))
            logits.append(heard[0].cpu())
            vectors.append(heard[1].cpu())
            weights.append(window.shape[0] / self.window)
        return {
            "logits": torch.cat(logits),
            "vectors": torch.cat(vectors),
            "weights": torch.tensor(weights),
        }

    def identity(self) -> str:
        """SHA-256 of the weights, the windows, the resampler and the front end's version."""
        return self._identity

    def protocol(self) -> dict[str, object]:
        """Weights, rate, windows, level, as a record tells them."""
        return {
            "embedder": self.name,
            "weights": self.weights,
            "weights_sha256": self.weights_sha256,
            "sample_rate": SAMPLE_RATE,
            **MONO_PROTOCOL,
            **(COMPAT_PROTOCOL if self.compat else {}),
            "normalisation": "none",
            "window_duration": self.window / SAMPLE_RATE,
            "hop_duration": self.window / SAMPLE_RATE,
            "padding": "none; a rest of 0.15 s or less is dropped",
            "short_clips": f"0.15 s or less {'no window' if self.compat else 'repeated'}",
            "layer": "mean of both tokens after the last norm, and the head's logits of it",
            "dtype": "float32",
        }


def load_passt(
    path: Path | str | None = None,
    check: bool = True,
    window_duration: float = 20.0,
    compat: bool = False,
    device: str | torch.device = "cpu",
) -> PasstEmbedder:
    """The published network for windows of 10, 20 or 30 s, from `path` or downloaded.

    check=False takes a file at `path` with other numbers in the same layout.
    """
    if window_duration not in PUBLISHED:
        raise UserError(
            f"passt.window_duration={window_duration:g}: PaSST is published for 10, 20 and 30 s "
            "(MusicGen's protocol has 20)"
        )
    wanted = PUBLISHED[window_duration]
    found = find_weights(wanted, path, OPTION, check)
    with torch.device("meta"):  # nothing to initialise: every number comes from the file
        network = Passt(time_patches=TIME_PATCHES[window_duration])
    remedy = f"get {wanted.address}, or give {OPTION}=PATH"
    fill(network, weights_by_name(read_pickle(found), found, remedy), found, remedy)
    return PasstEmbedder(network, window_duration, compat, found.name, sha256_of(found), device)
