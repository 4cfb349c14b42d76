"""Random segments as cards of the page: a player, a spectrogram, and what is known of them."""

import base64
import io
from typing import Any, NamedTuple

from data_prep.inspection.statistics import number_in
from data_prep.inspection.survey import Sample
from data_prep.inspection.wording import shown
from musicgen_train.data.audio import decode_flac
from musicgen_train.data.index import SPLITS
from musicgen_train.evaluation.report.plots import brightest, display_mel

_TAGS = ("genre", "moods", "instrument", "keywords", "key", "bpm")


class Card(NamedTuple):
    """One segment; audio and picture are data URLs, "" where there are none."""

    title: str
    tags: list[tuple[str, bool]]  # text, whether it was estimated from the audio
    details: list[tuple[str, str]]
    audio: str
    picture: str


def make_card(sample: Sample, sample_rate: int) -> Card:
    """The card of one segment; audio that cannot be decoded has no picture."""
    metadata = sample.metadata
    named = metadata.get("estimated")
    estimated = named if isinstance(named, list) else []
    tags = {}  # moods and keywords often say the same
    for name in _TAGS:
        for value in _values(metadata.get(name)):
            text = shown(value, 60) + (" bpm" if name == "bpm" else "")
            tags.setdefault(text, name in estimated)
    description = metadata.get("description")
    return Card(
        title=shown(description, 400) if description else "",
        tags=list(tags.items()),
        details=_details(sample),
        audio=_data_url("audio/flac", sample.flac),
        picture=_data_url("image/png", _spectrogram(sample.flac, sample_rate)),
    )


def _details(sample: Sample) -> list[tuple[str, str]]:
    metadata = sample.metadata
    found = [
        (name, shown(metadata[name], 120)) for name in ("title", "artist", "file")
        if metadata.get(name)
    ]  # fmt: skip
    place = f"{sample.duration:.1f} s"
    if (offset := number_in(metadata.get("offset"))) is not None:
        place += f" from {offset:.1f} s on"
    found += [("segment", f"{sample.key}, {place}"), ("split", SPLITS[sample.split])]
    if "loudness" in metadata:
        value = number_in(metadata["loudness"])
        text = "silent" if value is None else f"{value:.1f} LUFS"
        found.append(("loudness", text))
    if (silence := number_in(metadata.get("silence"))) is not None:
        found.append(("silence", f"{100 * silence:.0f} %"))
    return found


def _spectrogram(flac: bytes, sample_rate: int) -> bytes:
    """A PNG of the log-mel spectrogram, a pixel a band and frame; b"" without audio."""
    if not flac:
        return b""
    from matplotlib.image import imsave

    try:
        wav = decode_flac(flac)
    except Exception:  # libsndfile's errors are its own; that it is damaged, the checks tell
        return b""
    if wav.shape[-1] < 1024:
        return b""
    mel = display_mel(wav, sample_rate)
    top = brightest(mel)
    mel = mel[:, :: max(1, mel.shape[1] // 800)]
    file = io.BytesIO()
    imsave(file, mel.numpy(), format="png", origin="lower", cmap="magma", vmin=top - 9.2, vmax=top)
    return file.getvalue()


def _values(value: Any) -> list[Any]:
    values = value if isinstance(value, list) else [value]
    return [item for item in values[:20] if isinstance(item, str | int | float) and item != ""]


def _data_url(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}" if data else ""
