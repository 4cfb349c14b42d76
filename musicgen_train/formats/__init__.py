"""Checkpoints: the native folder, and the names that audiocraft gives the same weights."""

from musicgen_train.formats.native import (
    load_codec,
    load_lm,
    load_musicgen,
    save_codec,
    save_musicgen,
)

__all__ = ["load_codec", "load_lm", "load_musicgen", "save_codec", "save_musicgen"]
