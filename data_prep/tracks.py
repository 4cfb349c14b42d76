"""The work on one track: from a file of the library to its part, or to the reason why not."""

import functools
import hashlib
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import gettempdir
from typing import Any, NamedTuple

from data_prep.folders import DISK_FULL
from data_prep.library import Library, Track, inside
from data_prep.metadata import merge, read_embedded, read_sidecar
from data_prep.parts import part_path, read_report, scratch_folder, writing_part
from data_prep.segmenting import SegmentSettings, segment_track
from data_prep.tag_filter import vocal_tag
from musicgen_train.data.audio_file import AudioError
from musicgen_train.errors import UserError


class Job(NamedTuple):
    """A track to work on, and what is known of it."""

    track: Track
    metadata: dict[str, Any]  # of the table of the whole library
    digest: str | None  # of its content, if the file is as it was when that was computed


class TrackReport(NamedTuple):
    """What became of one track."""

    track: Track
    status: str  # "kept", "filtered" or "failed"
    reason: str = ""
    digest: str = ""  # sha256 of its content
    part: str = ""  # key of the part with its segments
    metadata: dict[str, Any] = {}  # noqa: RUF012 (never changed)
    duration: float = 0.0  # seconds of the whole file
    n_silent: int = 0
    n_short: int = 0


@dataclass(frozen=True)
class TrackWork:
    """The function from a job to its report, with all it needs, to be sent to workers."""

    library: Library
    folder: Path  # of the parts
    settings: SegmentSettings
    exclude_tags: tuple[str, ...]
    device: str

    def __call__(self, job: Job) -> TrackReport:
        """Write the track's part unless it exists; a bad track is reported, never raised."""
        try:
            return self._prepare(job)
        except AudioError as error:
            return TrackReport(job.track, "failed", error.reason)
        except UserError as error:
            return TrackReport(job.track, "failed", str(error))
        except OSError as error:
            ours = str(error.filename or "").startswith(str(self.folder))
            if ours or error.errno in DISK_FULL:
                raise UserError(
                    f"{self.folder}, or {gettempdir()}, which holds the track at work: "
                    f"{error.strerror}; make room (TMPDIR names another place for the latter) and "
                    "run this again: what is finished is kept"
                ) from None
            return TrackReport(job.track, "failed", f"cannot be opened ({error.strerror})")
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            return TrackReport(job.track, "failed", f"cannot be prepared ({reason})")

    def _prepare(self, job: Job) -> TrackReport:
        track = job.track
        stamps = {track.name: (track.size, track.stamp)}
        with ExitStack() as stack:
            path = stack.enter_context(self._local(track.name))
            sidecar = {}
            if track.sidecar is not None:
                sidecar = read_sidecar(stack.enter_context(self._local(track.sidecar)))
            metadata = merge(sidecar, job.metadata, read_embedded(path))
            digest = job.digest or _digest_file(path)
            report = TrackReport(track, "filtered", digest=digest, metadata=metadata)
            if tag := vocal_tag(metadata, self.exclude_tags):
                return report._replace(reason=f"is tagged with vocals ({tag})")
            stems = {}
            for name, file in self._stems(track, sidecar).items():
                stems[name] = stack.enter_context(self._local(file))
                if not stems[name].is_file():
                    raise UserError(f"a stem cannot be used ({name}: {file} is no file)")
                stamps[file] = self.library.stamp(file)
            key = part_key(digest, {n: _digest_file(p) for n, p in stems.items()}, self.settings)
            facts = self._segment(key, path, stems, stamps)
        report = report._replace(
            part=key, **{name: facts[name] for name in ("duration", "n_silent", "n_short")}
        )
        if facts["n_segments"] == 0:
            left = f"{facts['n_silent']} silent, {facts['n_short']} short"
            return report._replace(reason=f"no segment is long and loud enough ({left})")
        return report._replace(status="kept")

    def _local(self, name: str) -> AbstractContextManager[Path]:
        return self.library.local(name, scratch_folder(self.folder))

    def _stems(self, track: Track, sidecar: Mapping[str, Any]) -> dict[str, str]:
        """Name in the library of each stem, where stems are asked for."""
        if self.settings.separator != "stems":
            return {}
        stems = sidecar.get("stems")
        if not isinstance(stems, dict) or not all(isinstance(file, str) for file in stems.values()):
            raise UserError("its sidecar lists no stems; use separator=none or separator=demucs")
        return {str(name): inside(track.name, file) for name, file in sorted(stems.items())}

    def _segment(
        self, key: str, path: Path, stems: Mapping[str, Path], stamps: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The report of the track's part, which is written unless it exists.

        stamps: of the files it is made from. If one has changed, the key would be a lie.
        """
        target = part_path(self.folder, key)
        if (known := read_report(target)) is not None:
            return known[0]
        with writing_part(target) as part:
            facts = segment_track(path, stems, self.settings, self.device, part.add)
            for name, stamp in stamps.items():
                if self.library.stamp(name) != stamp:
                    raise AudioError(path, "changed while it was prepared", "run this again")
            report = facts._asdict()
            fingerprint = report.pop("fingerprint")
            part.finish(report, fingerprint=fingerprint)
        return report


def part_key(digest: str, stems: Mapping[str, str], settings: SegmentSettings) -> str:
    """32 hex characters that change with the content and with every setting of the audio."""
    recipe = audio_recipe(settings)
    text = json.dumps([digest, dict(stems), recipe], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def audio_recipe(settings: SegmentSettings) -> dict[str, Any]:
    """What the settings make of a track: models by what they are, not by where they lie."""
    recipe = asdict(settings)
    del recipe["demucs_repo"]
    if settings.separator == "demucs":
        recipe["demucs_model"] = _separator_identity(settings.demucs_model, settings.demucs_repo)
    if settings.clap_vocabulary is not None:
        recipe["clap_vocabulary"] = _digest_file(Path(settings.clap_vocabulary))
    return recipe


@functools.lru_cache(maxsize=1)
def _separator_identity(name: str, repo: str | None) -> str:
    """The separator's name and a hash of its weights."""
    from musicgen_train.conditioning.stems import load_demucs

    digest = hashlib.sha256()
    for key, tensor in sorted(load_demucs(name, repo).state_dict().items()):
        digest.update(key.encode() + b"\0" + tensor.cpu().contiguous().numpy().tobytes())
    return f"{name} {digest.hexdigest()[:16]}"


def _digest_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
