"""A melody to follow: what the user gives, and its chroma in any window of the music."""

from collections.abc import Sequence
from math import ceil
from typing import Any

import torch
from torch import Tensor

from musicgen_train.arguments import listed
from musicgen_train.conditioning.chroma import ChromaExtractor, fit_length, one_hot
from musicgen_train.conditioning.stems import find_separator, melodic_stems
from musicgen_train.data.audio import to_channels
from musicgen_train.errors import UserError
from musicgen_train.user_audio import at_rate, batched, check_audio, check_sample_rate


class Melodies:
    """The melodies of a batch, mono at the extractor's rate; None has none.

    A melody shorter than the music is repeated; a longer one is cut.
    """

    def __init__(
        self,
        wavs: Sequence[Tensor | None],
        extractor: ChromaExtractor,
        n_frames: int,
        duration: float,
    ) -> None:
        self.wavs = wavs
        self.extractor = extractor
        self.n_frames = n_frames  # chroma frames that the language model takes
        self.n_samples = round(duration * extractor.sample_rate)

    def window(self, rows: Sequence[int], start: float) -> Tensor | None:
        """One-hot chroma [B, F, 12] of some rows in the window that begins at `start` seconds."""
        wavs = [self.wavs[row] for row in rows]
        if all(wav is None for wav in wavs):
            return None
        first = round(start * self.extractor.sample_rate)
        positions = torch.arange(first, first + self.n_samples, device="cpu")
        silence = torch.zeros(1, 1, dtype=torch.float32, device="cpu")
        # has the null chroma, so it also stands for "no melody"
        wavs = [silence if wav is None else wav for wav in wavs]
        heard = torch.stack([wav[:, positions % wav.shape[1]] for wav in wavs])
        chroma = self.extractor(heard.to(self.extractor.hann.device))
        return one_hot(fit_length(chroma, self.n_frames))


def prepare_melodies(
    melody_wavs: Tensor | Sequence[Tensor | None],
    sample_rate: float | None,
    heard: Sequence[float],
    target_rate: int,
    separator: str | None = None,
    device: str | torch.device = "cpu",
) -> list[Tensor | None]:
    """Check [B, C, N], [C, N] or a list of [C, N] and None: -> [1, N] each at `target_rate`.

    heard: seconds of each melody that the model will hear. With a `separator` (see
    `find_separator`), drums and bass are taken out of that much of it.
    """
    rate = check_sample_rate("melody", sample_rate)
    if isinstance(melody_wavs, Tensor):
        melody_wavs = batched("melody", melody_wavs)
    given = listed("melody_wavs", melody_wavs, "give a list with one or None for each description")
    if len(given) != len(heard):
        raise UserError(
            f"{len(heard)} descriptions but {len(given)} melodies: give one melody each"
        )
    wavs = {i: check_audio(f"melody {i}", wav) for i, wav in enumerate(given) if wav is not None}
    if separator is not None:
        model = find_separator(separator)
        made: dict[tuple[int, float], Tensor] = {}  # many clips may follow one melody
        for i, wav in wavs.items():
            melody = (id(given[i]), heard[i])
            if melody not in made:
                # A second more, since a separator is not sure of itself at a cut.
                wav = wav[:, : ceil((heard[i] + 1.0) * rate)]
                made[melody] = _separated(f"melody {i}", wav, rate, model, device)
            wavs[i] = made[melody]
        rate = model.samplerate
    mono = {i: wav.mean(0, keepdim=True) for i, wav in wavs.items()}
    resampled = {i: at_rate(f"melody {i}", wav, rate, target_rate) for i, wav in mono.items()}
    return [resampled.get(i) for i in range(len(heard))]


def _separated(name: str, wav: Tensor, rate: int, model: Any, device: str | torch.device) -> Tensor:
    """A melody [C, N] without drums and bass, at the separator's rate and channels."""
    wav = to_channels(at_rate(name, wav, rate, model.samplerate), model.audio_channels)
    return melodic_stems(model, wav, device)
