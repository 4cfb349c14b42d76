"""Clips as a page shows them: sound copied beside it, spectrograms drawn."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import torch

from musicgen_train.data.audio import encode_flac, read_audio, to_channels
from musicgen_train.data.audio_file import AudioError
from musicgen_train.evaluation.report.plots import brightest, display_mel, plot_spectrogram
from musicgen_train.whole_files import replacing

VERSION_TITLES = {
    "reference": "Reference",
    "reconstruction": "Through the codec",
    "text": "From the text",
    "melody_source": "Melody as the model gets it",
    "melody": "From text and melody",
    "untrained": "Untrained model, same text",
    "generated": "Generated",
}
PLAYABLE = {".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac"}  # by browsers
PICTURED = 60.0  # seconds of a clip that its spectrogram shows at most
MAX_CLIPS, MAX_BYTES = 200, 100_000_000  # that `audio_if_room` copies


class Gallery:
    """Copies sound below `audio` and draws below `plots` of a page's folder, each once.

    `folder` inside these is where the clips of one of several evaluations go.
    """

    def __init__(self, evaluation_dir: Path, page_dir: Path, folder: str = "") -> None:
        self.evaluation_dir, self.page_dir, self.folder = evaluation_dir, page_dir, folder
        self.faults: dict[tuple[str, str], str] = {}
        self._urls: dict[tuple[str, str], str] = {}
        self._pictures: dict[tuple[str, str], str] = {}
        self._bytes = 0

    def audio(self, clip: Mapping[str, Any], kind: str) -> str:
        """Where the page finds a clip's sound; "" if it cannot be read, which `faults` explains."""
        place = (kind, clip["key"])
        if place not in self._urls:
            try:
                self._urls[place] = self._copy(clip, kind)
            except OSError as error:
                self._urls[place] = ""
                self.faults[place] = f"cannot be opened ({error.strerror})"
            except AudioError as error:
                self._urls[place] = ""
                self.faults[place] = error.reason
        return self._urls[place]

    def audio_if_room(self, clip: Mapping[str, Any], kinds: Iterable[str]) -> dict[str, str]:
        """Sound of some kinds that can be played, where there is room or it is there already."""
        room = self._has_room(clip["key"])
        found = {}
        for kind in kinds:
            place = (kind, clip["key"])
            if kind in clip["audio"] and (room or place in self._urls):
                found[kind] = self.audio(clip, kind)
        return {k: url for k, url in found.items() if url and (k, clip["key"]) not in self.faults}

    def versions(
        self,
        clip: Mapping[str, Any],
        kinds: Sequence[str],
        notes: Mapping[str, str],
        one_scale: bool = False,
        pictured: float = PICTURED,
    ) -> list[dict[str, str]]:
        """Title, note, sound and spectrogram of some kinds.

        one_scale: equally bright. pictured: seconds that the spectrogram shows at most.
        """
        self._draw(clip, kinds, one_scale, pictured)
        return [
            {
                "title": VERSION_TITLES.get(kind, kind),
                "note": self.faults.get((kind, clip["key"])) or notes.get(kind, ""),
                "audio": "" if (kind, clip["key"]) in self.faults else self.audio(clip, kind),
                "picture": self._pictures.get((kind, clip["key"]), ""),
            }
            for kind in kinds
        ]

    def place(self, what: str, kind: str, name: str) -> Path:
        """A file of the page; a clip's name leads nowhere outside."""
        parts = [part for part in f"{kind}/{name}".split("/") if part not in ("", ".", "..")]
        return Path(self.page_dir, what, self.folder, *parts)

    def url(self, path: Path) -> str:
        """How the page names one of its files."""
        return quote(path.relative_to(self.page_dir).as_posix())

    def _has_room(self, key: str) -> bool:
        clips = {name for _, name in self._urls}
        return self._bytes < MAX_BYTES and (key in clips or len(clips) < MAX_CLIPS)

    def _source(self, clip: Mapping[str, Any], kind: str) -> Path:
        return self.evaluation_dir / clip["audio"][kind]  # an absolute path stays what it is

    def _copy(self, clip: Mapping[str, Any], kind: str) -> str:
        source = self._source(clip, kind)
        plays = source.suffix.lower() in PLAYABLE
        suffix = source.suffix if plays else ".flac"
        target = self.place("audio", kind, f"{clip['key']}{suffix}")
        target.parent.mkdir(parents=True, exist_ok=True)
        if plays:
            shutil.copyfile(source, target)
        else:
            wav, rate = read_audio(source)
            wav = torch.nan_to_num(to_channels(wav, min(2, len(wav)))).clamp(-1, 1)
            with replacing(target) as partial:
                partial.write_bytes(encode_flac(wav, rate))
        self._bytes += target.stat().st_size
        return self.url(target)

    def _draw(
        self, clip: Mapping[str, Any], kinds: Sequence[str], one_scale: bool, pictured: float
    ) -> None:
        """Spectrograms that are not there yet; a sound that cannot be decoded is a fault."""
        mels = {}
        for kind in kinds:
            place = (kind, clip["key"])
            if place in self._pictures or not self.audio(clip, kind):
                continue
            try:
                mels[kind] = display_mel(*read_audio(self._source(clip, kind), duration=pictured))
            except AudioError as error:
                self.faults[place] = error.reason
        tops = {kind: brightest(mel) for kind, mel in mels.items()}
        for kind, mel in mels.items():
            picture = self.place("plots", kind, f"{clip['key']}.png")
            plot_spectrogram(mel, max(tops.values()) if one_scale else tops[kind], picture)
            self._pictures[kind, clip["key"]] = self.url(picture)
