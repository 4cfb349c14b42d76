"""Read a dataset over http(s), s3 or anything else that fsspec speaks, through a local cache."""

import hashlib
import json
import logging
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from musicgen_train.data.index import INFO_NAME
from musicgen_train.data.page_cache import PageCache
from musicgen_train.errors import UserError

T = TypeVar("T")

_TRIES = 6
_FIRST_WAIT = 0.2  # seconds, doubled each time: 6 s in all
_END = 4096  # bytes of dataset.json in which its fingerprint lies: behind the list of shards
_LOG = logging.getLogger(__name__)


class RemoteShards:
    """Reads stretches of shards under a URL, in pages that a cache on this machine keeps.

    Holds no connection, so that it may be forked and pickled: fsspec keeps one per process.
    """

    def __init__(self, url: str, fingerprint: str, sizes: dict[str, int], cache: PageCache) -> None:
        """sizes: bytes of each shard, by its name. Other contents are another fingerprint."""
        self.url = url
        self.fingerprint = fingerprint
        self.sizes = sizes
        self.cache = cache
        self._prefix = hashlib.sha256(f"{url} {fingerprint}".encode()).hexdigest()[:16]
        self._checked: set[str] = set()  # shards that are known to be as large as they should be
        self._end: tuple[int, bytes] | None = None  # dataset.json's size and last bytes

    def read(self, name: str, offset: int, size: int) -> bytes:
        page = self.cache.page_bytes
        first, last = offset // page, (offset + size - 1) // page
        parts = []
        for number in range(first, last + 1):
            begin = max(offset - number * page, 0)
            end = min(offset + size - number * page, page)
            parts.append(self._page(name, number, begin, end))
        return b"".join(parts)

    def _page(self, name: str, number: int, begin: int, end: int) -> bytes:
        start = number * self.cache.page_bytes
        length = min(self.cache.page_bytes, self.sizes[name] - start)
        key = f"{self._prefix}-{Path(name).stem}-{number}"
        return self.cache.read(
            key, length, begin, end, lambda: self._download(name, start, start + length)
        )

    def _download(self, name: str, start: int, end: int) -> bytes:
        url = f"{self.url}/{name}"
        if not self._checked:  # a server that ignores ranges had better show it on a small file
            fetch(f"{self.url}/{INFO_NAME}", 0, 1)
        if name not in self._checked:
            size = retrying(url, lambda: filesystem(url).size(url))
            if size is not None and size != self.sizes[name]:
                raise _changed(url, f"has {size} bytes, the index says {self.sizes[name]}")
            self._checked.add(name)
        page = fetch(url, start, end)
        self._refuse_changes()
        return page

    def _refuse_changes(self) -> None:
        """Look after each page, before it is kept: other contents may be as long as these.

        All of dataset.json is read once, and then its end: it lists the shards, so that reading all
        of it for each of their pages would grow with the square of the dataset.
        """
        url = f"{self.url}/{INFO_NAME}"
        if self._end_is_as_before(url):
            return
        text = fetch(url)
        try:
            found = json.loads(text)["fingerprint"]
        except (ValueError, KeyError, TypeError):
            found = "damaged"
        if found != self.fingerprint:
            raise _changed(url, f"its fingerprint is {found}, not {self.fingerprint}")
        end = text[-_END:]
        self._end = (len(text), end) if f'"{found}"'.encode() in end else None

    def _end_is_as_before(self, url: str) -> bool:
        if self._end is None:
            return False
        size, end = self._end
        try:
            return fetch(url, size - len(end), size) == end
        except UserError:  # it is shorter now; or not to be read, which reading all of it tells
            return False


def _changed(url: str, how: str) -> UserError:
    return UserError(
        f"{url}: {how}; the dataset was changed or is still being copied: start again when it is "
        "whole"
    )


def filesystem(url: str) -> Any:
    """fsspec's file system for a URL; it keeps one per process, also after a fork."""
    import fsspec

    try:
        return fsspec.core.url_to_fs(url)[0]
    except ImportError as error:
        raise UserError(f"{url}: {str(error).rstrip('.')}") from None
    except ValueError as error:
        raise UserError(f"{url}: {error}; use a folder, or a URL that fsspec knows") from None


def fetch(url: str, start: int | None = None, end: int | None = None) -> bytes:
    """Bytes [start, end) of a file, or all of them; network errors are tried again."""

    def attempt() -> bytes:
        data = filesystem(url).cat_file(url, start=start, end=end)
        if start is None or end is None:
            return data
        if len(data) > end - start:
            raise UserError(
                f"{url}: its server ignores range requests; use one that answers them, such as "
                "nginx, or copy the dataset to a folder"
            )
        if len(data) < end - start:
            raise OSError(f"{len(data)} of {end - start} bytes came")
        return data

    return retrying(url, attempt)


def retrying(url: str, attempt: Callable[[], T]) -> T:
    """The result of a call that reads from a network, made again after growing pauses."""
    for number in range(_TRIES):
        try:
            return attempt()
        except UserError:
            raise
        except (FileNotFoundError, PermissionError) as error:
            reason = "no such file" if isinstance(error, FileNotFoundError) else "no permission"
            raise UserError(f"{url}: {reason}; mend the address, or the rights") from None
        except ValueError as error:  # the address is none, such as aiohttp's InvalidURL
            reason = " ".join(str(error).split())
            raise UserError(f"{url}: cannot be read ({reason}); mend the address") from None
        except Exception as error:  # each protocol has exceptions of its own
            reason = " ".join((str(error) or type(error).__name__).split())
            if number == _TRIES - 1:
                raise UserError(
                    f"{url}: cannot be read, tried {_TRIES} times ({reason}); mend the connection"
                ) from None
            _LOG.info("%s: %s; trying again", url, reason)
            # At random, so that many workers do not come back all at once.
            time.sleep(_FIRST_WAIT * 2**number * random.uniform(0.5, 1.0))
    raise AssertionError
