"""The files of a take: music with its settings embedded, and a picture of it."""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musicgen_train.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

FORMATS = ("wav", "flac", "mp3")
_PROGRAM = "musicgen_train"  # says whose settings a comment holds
_BANDS = 80  # of the picture
_TICKS = (200, 500, 1000, 2000, 5000, 10_000)  # Hz


def file_name(text: str, seed: int) -> str:
    """A short name without a suffix: the words of the text, in any script, and the seed."""
    words = "-".join(re.findall(r"[^\W_]+", text.lower()))[:40].strip("-")
    return f"{words or 'music'}_{seed}"


def write_music(path: Path, wav: "Tensor", sample_rate: int, settings: Mapping[str, Any]) -> Path:
    """Write a WAV of 16 bits from wav [C, N], as loud as the command line makes it."""
    from musicgen_train.data.audio import write_with_comment
    from musicgen_train.data.loudness import normalize_audio

    level: dict[str, Any] = {"strategy": "loudness", "loudness_compressor": True}
    wav = normalize_audio(wav.detach().float().cpu(), sample_rate, **level)
    return write_with_comment(path, wav, sample_rate, "wav", _comment(settings, "wav"))


def convert(music: Path, format: str, settings: Mapping[str, Any]) -> Path:
    """Write the same samples in another format, beside the first; return its path."""
    from musicgen_train.data.audio import read_audio, write_with_comment

    wav, sample_rate = read_audio(music)
    path = music.with_suffix(f".{format}")
    return write_with_comment(path, wav, sample_rate, format, _comment(settings, format))


def read_settings(path: str | Path) -> dict[str, Any]:
    """The settings that a downloaded take carries, not to be trusted; `UserError` if none."""
    # Not by libsndfile, which reads no comment of more than 2046 bytes in a WAV file.
    import av
    from av.error import FFmpegError

    only = {"format_whitelist": "wav,flac,mp3"}  # no playlists, which name other files
    try:
        with Path(path).open("rb") as data, av.open(data, options=only) as file:
            tags = {**file.metadata, **file.streams.audio[0].metadata}
        content = json.loads({name.lower(): tags[name] for name in tags}["comment"])
        settings = content[_PROGRAM]
    except (
        FFmpegError, OSError, ValueError, KeyError, TypeError, IndexError, RecursionError
    ):  # fmt: skip
        settings = None
    if not isinstance(settings, dict):
        raise UserError("this file holds no settings: choose a wav, flac or mp3 of this page")
    return settings


def _comment(settings: Mapping[str, Any], format: str) -> str:
    """The settings as one line; in ASCII where a file's comment has another encoding."""
    content = {_PROGRAM: dict(settings)}
    return json.dumps(content, ensure_ascii=format == "mp3", separators=(",", ":"))


def draw_spectrogram(path: Path, wav: "Tensor", sample_rate: int) -> None:
    """A PNG of the log-mel spectrogram of wav [C, N] over seconds and Hz."""
    from musicgen_train.evaluation.report import plots
    from musicgen_train.whole_files import replacing

    mel = plots.display_mel(wav, sample_rate)
    duration, top = wav.shape[1] / sample_rate, plots.brightest(mel)
    figure = plots.new_figure(7.0, 2.2)
    axes = figure.subplots()
    axes.imshow(
        mel.numpy(), origin="lower", aspect="auto", cmap="magma", vmin=top - plots.DRAWN_RANGE,
        vmax=top, extent=(0.0, duration, -0.5, _BANDS - 0.5),
    )  # fmt: skip
    ticks = [hertz for hertz in _TICKS if hertz < sample_rate / 2]
    axes.set_yticks([_band(hertz, sample_rate) for hertz in ticks], [f"{h:g}" for h in ticks])
    axes.set_ylim(-0.5, _BANDS - 0.5)
    axes.set_xlabel("seconds", fontsize=7, color=plots.GREY)
    axes.set_ylabel("Hz", fontsize=7, color=plots.GREY)
    plots.soften(axes)
    figure.tight_layout(pad=0.3)
    with replacing(path) as temporary:
        figure.savefig(temporary, transparent=True, format="png")


def _band(hertz: float, sample_rate: int) -> float:
    """Where a frequency lies among the mel bands, which are equally wide on the HTK scale."""

    def mel(hertz: float) -> float:
        return math.log10(1.0 + hertz / 700.0)

    return mel(hertz) / mel(sample_rate / 2) * (_BANDS + 1) - 1.0
