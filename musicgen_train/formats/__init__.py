"""Checkpoints: native folders, and those that audiocraft and transformers read and write."""

from musicgen_train.formats.audiocraft_codec import save_audiocraft_codec, save_audiocraft_pointer
from musicgen_train.formats.audiocraft_lm import save_audiocraft_musicgen
from musicgen_train.formats.codecs import load_codec, load_encodec
from musicgen_train.formats.melody_folding import without_melody
from musicgen_train.formats.models import load_lm, load_musicgen
from musicgen_train.formats.native import save_codec, save_musicgen
from musicgen_train.formats.transformers_codec import save_transformers_codec
from musicgen_train.formats.transformers_lm import save_transformers_musicgen

__all__ = [
    "load_codec",
    "load_encodec",
    "load_lm",
    "load_musicgen",
    "save_audiocraft_codec",
    "save_audiocraft_musicgen",
    "save_audiocraft_pointer",
    "save_codec",
    "save_musicgen",
    "save_transformers_codec",
    "save_transformers_musicgen",
    "without_melody",
]
