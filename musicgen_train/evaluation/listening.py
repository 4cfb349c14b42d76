"""Embedders hear files: each file is decoded once for all of them, and heard once and for all."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from musicgen_train.data.audio import AudioError, read_audio
from musicgen_train.evaluation.embedders.embedder import Embedder
from musicgen_train.evaluation.embedders.identity import sha256_of
from musicgen_train.evaluation.heard_cache import HeardCache
from musicgen_train.evaluation.ranks import Ranks

THREADS = 4  # decode and resample while the embedders work
AHEAD = 8  # files; more would only take memory


class _Prepared(NamedTuple):
    digest: str
    inputs: list[tuple[Embedder, Tensor]]  # of the embedders that have not heard these bytes
    unreadable: str


def hear(
    embedders: Sequence[Embedder],
    paths: Sequence[Path],
    cache: HeardCache,
    ranks: Ranks,
    on_progress: Callable[[float], None] = lambda share: None,
) -> None:
    """Let every embedder hear this rank's share of the files, unless it has; then wait for all.

    A file that cannot be read is kept as such with its reason. Each file is heard alone, so
    neither the number of ranks nor the order changes a bit of the result.
    """
    mine = ranks.mine(paths)
    for done, prepared in enumerate(_prepare_ahead(embedders, mine, cache), 1):
        for embedder, samples in prepared.inputs:
            if prepared.unreadable:
                cache.write_unreadable(embedder, prepared.digest, prepared.unreadable)
            else:
                cache.write(embedder, prepared.digest, embedder.hear(samples))
        on_progress(done / len(mine))
    ranks.wait()


def _prepare_ahead(
    embedders: Sequence[Embedder], paths: Sequence[Path], cache: HeardCache
) -> Iterator[_Prepared]:
    """Files in order, some of them prepared in advance."""
    with ThreadPoolExecutor(THREADS) as pool:
        waiting: deque[Future[_Prepared]] = deque()
        try:
            for path in paths:
                waiting.append(pool.submit(_prepare, embedders, path, cache))
                if len(waiting) > AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _prepare(embedders: Sequence[Embedder], path: Path, cache: HeardCache) -> _Prepared:
    try:
        digest = sha256_of(path)
    except OSError:  # such a file has no bytes to be known by; whoever asks for it is told why
        return _Prepared("", [], "")
    # What was unreadable is tried again: the fault may have been this machine's.
    known = {e: cache.read(e, digest) for e in embedders}
    missing = [e for e, heard in known.items() if heard is None or heard.unreadable]
    if not missing:
        return _Prepared(digest, [], "")
    try:
        wav, rate = read_audio(path, finite=False)
    except AudioError as error:
        return _Prepared(digest, [(e, Tensor()) for e in missing], error.reason)
    return _Prepared(digest, [(e, e.prepare(wav, rate)) for e in missing], "")
