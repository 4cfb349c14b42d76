"""Pages of remote files on the local disk, bounded, and shared by the processes of a machine."""

import fcntl
import hashlib
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from musicgen_train.errors import UserError

_N_LOCKS = 64
_CRC = 4  # bytes behind each page


def default_cache_dir() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "musicgen_train" / "shards"


class PageCache:
    """Files `pages/KEY`, of which those used longest ago go first when `cache_gb` is reached.

    Pages appear whole, by renaming. `locks/` keeps two processes from fetching one page twice;
    locks end with their process. `total` counts the bytes, so that the folder is only listed when
    something must go. A CRC-32 stands behind each page, and is checked when a process first reads
    it: every time would take the whole page for a few kB of it.
    """

    def __init__(
        self, folder: Path | None = None, cache_gb: float = 20.0, page_bytes: int = 4 << 20
    ) -> None:
        if not cache_gb > 0:
            raise UserError(f"cache_gb is {cache_gb}; use gigabytes above 0")
        self.folder = Path(folder or default_cache_dir())
        self.limit = int(cache_gb * 1e9)
        self.page_bytes = page_bytes
        self._sound: dict[str, int] = {}  # the inode of each page found sound

    def read(
        self, key: str, length: int, begin: int, end: int, fetch: Callable[[], bytes]
    ) -> bytes:
        """Bytes [begin, end) of page `key` of `length` bytes, which `fetch` gets if need be."""
        path = self.folder / "pages" / key
        try:
            data = self._read_page(path, length, begin, end)
            if data is not None:
                return data
            with self._locked(f"{int(hashlib.sha256(key.encode()).hexdigest(), 16) % _N_LOCKS:02}"):
                # Another process may have been faster.
                data = self._read_page(path, length, begin, end)
                if data is None:
                    page = fetch()
                    assert len(page) == length, (key, len(page), length)
                    self._keep(path, page)
                    data = page[begin:end]
        except OSError as error:
            raise UserError(
                f"{self.folder}: cannot be written ({error.strerror}); name another cache_dir, or "
                "lower cache_gb"
            ) from None
        return data

    def _read_page(self, path: Path, length: int, begin: int, end: int) -> bytes | None:
        """Part of a page, marked as used now; None if it is not there, or not whole and sound."""
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            status = os.fstat(descriptor)
            if status.st_size != length + _CRC:
                return None
            os.utime(descriptor)
            if self._sound.get(path.name) != status.st_ino:
                page = os.pread(descriptor, length, 0)
                crc = os.pread(descriptor, _CRC, length)
                if zlib.crc32(page).to_bytes(_CRC, "little") != crc:
                    return None
                self._sound[path.name] = status.st_ino
            data = os.pread(descriptor, end - begin, begin)
            return data if len(data) == end - begin else None
        finally:
            os.close(descriptor)

    def _keep(self, path: Path, page: bytes) -> None:
        temporary = path.with_name(f"{uuid4().hex}.tmp")
        if not self._reserve(temporary, len(page) + _CRC):
            return
        try:
            with temporary.open("r+b") as file:
                file.write(page)
                file.write(zlib.crc32(page).to_bytes(_CRC, "little"))
            temporary.rename(path)
        except FileNotFoundError:
            pass  # it went, as the oldest, before it was whole
        except OSError:
            temporary.unlink(missing_ok=True)
            raise

    def _reserve(self, temporary: Path, size: int) -> bool:
        """Make room and take it with an empty file of the page's size, or say there is none."""
        total = self.folder / "total"
        with self._locked("total"):
            try:
                used = int(total.read_text())
            except (OSError, ValueError):
                used = self.limit  # unknown: count anew
            if used + size > self.limit:
                used = self._evict(self.limit - size)
            if used + size > self.limit:
                return False
            temporary.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                file.truncate(size)
            total.write_text(str(used + size))
        return True

    def _evict(self, limit: int) -> int:
        """Remove the files used longest ago until a tenth below `limit`; return the bytes left."""
        files = []
        for path in (self.folder / "pages").glob("*"):
            with suppress(FileNotFoundError):
                status = path.stat()
                files.append((status.st_mtime_ns, status.st_size, path))
        used = sum(size for _, size, _ in files)
        if used <= limit:
            return used
        for _, size, path in sorted(files):
            if used <= 0.9 * limit:
                break
            path.unlink(missing_ok=True)
            used -= size
        return used

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        path = self.folder / "locks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
