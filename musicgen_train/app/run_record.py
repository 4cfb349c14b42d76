"""What the page itself keeps in a run: the songs, whose they are, and how it was started."""

import json
import os
from contextlib import suppress
from pathlib import Path

from musicgen_train.app.finetune_options import FinetuneOptions, read_options
from musicgen_train.app.untrusted_files import as_whole, read_object, regular_file
from musicgen_train.errors import UserError

RECORD = "app.json"
OWNER = "finetune.json"  # by which the recipe knows its runs, and whose songs they are of
SONGS = "songs"


class RunRecord:
    """app.json in a run that a page has begun: its options, and the number of its process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def songs(self) -> Path:
        """Where the copies of the songs lie."""
        return self.folder / SONGS

    @property
    def ours(self) -> bool:
        """Whether a page has begun it, so that a page may go on with it."""
        record = regular_file(self.folder, RECORD)
        return record is not None and self.songs.is_dir() and not self.songs.is_symlink()

    def options(self) -> FinetuneOptions | None:
        """What it was last started with; None if it never was, or that is damaged."""
        return read_options(read_object(self.folder, RECORD).get("options"))

    def pid(self) -> int | None:
        """The process that was last started; it may have ended, and its number be another's."""
        return as_whole(read_object(self.folder, RECORD).get("pid"), 2, 2**31)

    def claim(self) -> None:
        """Tell the recipe that this run is of these songs."""
        _write(self.folder / OWNER, {"input_dir": str(self.songs.resolve())})

    def write(self, options: FinetuneOptions | None = None, pid: int | None = None) -> None:
        """Keep what it is started with."""
        given = None if options is None else options.as_settings()
        _write(self.folder / RECORD, {"options": given, "pid": pid})


def is_run(folder: Path) -> bool:
    """Whether a folder of the runs is a fine-tuning."""
    return any(regular_file(folder, name) is not None for name in (OWNER, RECORD))


def _write(path: Path, content: dict[str, object]) -> None:
    """Replace the file when all is written; a link there is replaced itself."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.app")
    try:
        partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        raise UserError(
            f"{path.parent.name}: cannot be written ({error.strerror or error}); tell who runs the "
            "server"
        ) from None
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
