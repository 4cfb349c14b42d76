"""Files of a repository on the hub, as a folder on this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path


def hub_folder(
    names: Sequence[str], kinds: Sequence[Sequence[str]], is_whole: Callable[[Path], bool]
) -> tuple[Path | None, str]:
    """The first folder with all that is wanted, the cache first; else None and why there is none.

    names: of one repository, which may have moved. kinds: patterns of files, the best kind first.
    """
    reason = "it lacks files"
    for offline in (True, False):
        for name in names:
            for files in kinds:
                folder, failure = _snapshot(name, files, offline)
                if folder is not None and is_whole(folder):
                    return folder, ""
                if failure and not offline:
                    reason = failure
    return None, reason


def _snapshot(name: str, files: Sequence[str], offline: bool) -> tuple[Path | None, str]:
    """What there is of a repository, and what went wrong."""
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(name, allow_patterns=list(files), local_files_only=offline)
        return Path(folder), ""
    except (OSError, ValueError) as error:  # what the hub raises derives from these
        # A cache that lacks some file may still hold all that is needed.
        partial = getattr(error, "snapshot_path", None)
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(". ")
        return Path(partial) if partial else None, reason
