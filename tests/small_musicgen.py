"""A tiny random MusicGen for tests of the API: a step takes a millisecond."""

import torch

from musicgen_train import MusicGen
from musicgen_train.codec.encodec import Encodec
from musicgen_train.codec.stereo import StereoCodec
from musicgen_train.conditioning.chroma import ChromaExtractor
from musicgen_train.conditioning.text import WordTextEncoder
from musicgen_train.lm import LanguageModel

RATE, FRAMES = 1600, 50  # samples and frames per second
WINDOW = 1.0  # seconds the model was made for
CODEC = {
    "sample_rate": RATE, "channels": 1, "n_q": 2, "card": 16, "ratios": [4, 8], "n_filters": 4,
    "dimension": 8, "lstm": 1,
}  # fmt: skip


def tiny(melody: bool = True, text: bool = True, stereo: bool = False, **codec) -> MusicGen:
    """1.6 kHz, 50 frames/s, a window of 1 s; `codec` overrides options of the codec."""
    torch.manual_seed(0)
    mono = Encodec(**{**CODEC, **codec})
    for layer in mono.quantizer.layers:
        layer.codebook.embed.mul_(5)  # an untrained decoder is all but silent
    parts = StereoCodec(mono) if stereo else mono
    lm = LanguageModel(
        n_q=parts.n_q,
        card=16,
        dim=16,
        num_heads=2,
        num_layers=1,
        delays=[0, 0, 1, 1] if stereo else None,
        text_dim=8 if text else None,
        chroma_dim=12 if melody else None,
        chroma_length=7,
    )
    for proj in (lm.fuser.text_proj, lm.fuser.chroma_proj):
        if proj is not None:
            torch.nn.init.normal_(proj.weight, std=3.0)  # conditions that matter
    encoder = WordTextEncoder(8) if text else None
    chroma = ChromaExtractor(RATE, window=1024, hop=256) if melody else None
    return MusicGen("tiny", parts, lm, encoder, chroma, max_duration=WINDOW)


def tone(seconds: float, hertz: float = 200.0, rate: int = RATE) -> torch.Tensor:
    """[1, N] of a sine."""
    return 0.5 * torch.sin(2 * torch.pi * hertz * torch.arange(int(seconds * rate)) / rate)[None]
