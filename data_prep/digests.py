"""Remember the content hash of files that have not changed since, so that none is read twice."""

import json
from pathlib import Path

from data_prep.library import Track


class DigestJournal:
    """A file of lines, one a track; what a kill cut off is ignored."""

    def __init__(self, path: Path, library: str) -> None:
        """library: whose files these are; others may have files of the same names."""
        self._library = library
        self._known: dict[tuple[str, int, str], str] = {}
        if path.exists():
            for line in path.read_bytes().splitlines():
                try:
                    of, name, size, stamp, digest = json.loads(line)
                except ValueError:
                    continue
                if of == library:
                    self._known[name, size, stamp] = digest
        self._file = path.open("ab", buffering=0)
        self._file.write(b"\n")  # ends a line that was cut off

    def digest(self, track: Track) -> str | None:
        return self._known.get((track.name, track.size, track.stamp))

    def note(self, track: Track, digest: str) -> None:
        if digest and track.stamp and self.digest(track) is None:
            self._known[track.name, track.size, track.stamp] = digest
            line = json.dumps([self._library, track.name, track.size, track.stamp, digest])
            self._file.write(line.encode() + b"\n")

    def close(self) -> None:
        self._file.close()
