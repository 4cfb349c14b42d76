"""Train, fine-tune, evaluate and use MusicGen-style music models."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from musicgen_train.data.audio import audio_write
    from musicgen_train.musicgen import MusicGen

__all__ = ["MusicGen", "audio_write"]
__version__ = "0.1.0"

_HOMES = {"MusicGen": "musicgen_train.musicgen", "audio_write": "musicgen_train.data.audio"}


def __getattr__(name: str) -> object:
    # Imported on first use: torch alone takes seconds, and `--help` must not wait for it.
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'musicgen_train' has no attribute {name!r}")
