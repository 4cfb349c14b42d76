"""Find tracks that are in the library twice: as copies, in other encodings, or as excerpts."""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from data_prep.fingerprint import WORDS_PER_SECOND

_ALIKE = 0.75  # share of equal bits. Music of one tempo and key can reach 0.6 by its beats alone
_COVERED = 0.8  # share of the shorter track that must lie within the longer one
_SHORTEST = round(3 * WORDS_PER_SECOND)  # words that must overlap
_NEIGHBOURS = 8  # tracks with the same word that each track is compared with
_VOTES = 2  # words that two tracks share at one alignment before it is looked at
_ALIGNMENTS = 3  # that are looked at, most votes first
_AT_ONCE = 2**20  # words whose pairs are in memory; each has up to _NEIGHBOURS
_MOST_INDEXED = 2**26  # words, at 44 bytes; of larger libraries, an even part of all words


class Candidate(NamedTuple):
    """What tells whether two tracks are the same."""

    name: str
    audio_hash: str  # equal if every sample is
    fingerprint: np.ndarray  # uint32; empty: only exact copies are found
    duration: float  # seconds


def find_duplicates(tracks: Sequence[Candidate]) -> dict[str, tuple[str, float]]:
    """Name of each track to leave out -> the track that stays, and how alike the two are.

    Of copies the longest stays, then the first by name. What resembles a track that is left out
    goes to where that one goes. Likeness is the share of equal bits of the fingerprints (0.5 in
    unrelated music; the lowest on the way, if there are several steps); only equal samples have 1.
    """
    ordered = sorted(tracks, key=lambda track: (-round(track.duration, 1), track.name))
    first: dict[str, int] = {}
    better: dict[int, tuple[int, float]] = {}  # rank -> a rank before it, likeness
    for rank, track in enumerate(ordered):
        if (same := first.setdefault(track.audio_hash, rank)) != rank:
            better[rank] = same, 1.0
    unique = list(first.values())
    prints = [ordered[rank].fingerprint for rank in unique]
    for long, short, alignments in _candidates(prints):
        if unique[short] in better:
            continue  # it is out already
        likeness = max(_likeness(prints[long], prints[short], start) for start in alignments)
        if likeness >= _ALIKE:
            better[unique[short]] = unique[long], min(likeness, 0.9999)
    found = {}
    for rank in better:
        winner, likeness = _follow(rank, better)
        found[ordered[rank].name] = ordered[winner].name, likeness
    return found


def _follow(rank: int, better: dict[int, tuple[int, float]]) -> tuple[int, float]:
    likeness = 1.0
    while rank in better:
        rank, step = better[rank]
        likeness = min(likeness, step)
    return rank, likeness


def _likeness(long: np.ndarray, short: np.ndarray, start: int) -> float:
    """Share of equal bits where the two sound together, word 0 of `short` at `start` of `long`.

    0.0 if that is not most of the shorter one.
    """
    a = long[max(start, 0) : max(len(short) + start, 0)]
    b = short[max(-start, 0) : max(len(long) - start, 0)]
    sounding = (a != 0) | (b != 0)
    enough = max(_SHORTEST, _COVERED * min(np.count_nonzero(long), np.count_nonzero(short)))
    if np.count_nonzero(sounding) < enough:
        return 0.0
    return 1 - np.bitwise_count(a ^ b)[sounding].sum() / (32 * np.count_nonzero(sounding))


def _candidates(prints: Sequence[np.ndarray]) -> Iterator[tuple[int, int, list[int]]]:
    """Pairs (a before b, in order) that share words, and where b may start in a.

    Linear in the number of words: each is compared with a few others that are equal.
    """
    words, numbers, places = _index(prints)
    n, longest = len(prints), max(map(len, prints), default=0)
    span = 2 * longest + 1  # of starts
    for first, last in _blocks(prints, 2**62 // max(1, n * span)):
        (mine,) = np.nonzero((numbers >= first) & (numbers < last))
        found = []
        for step in range(1, _NEIGHBOURS + 1):
            at = mine[: np.searchsorted(mine, len(words) - step)]
            at = at[words[at] == words[at + step]]
            start = places[at].astype(np.int64) - places[at + step] + longest
            found.append(((numbers[at] - first) * np.int64(n) + numbers[at + step]) * span + start)
        keys, votes = np.unique(np.concatenate(found), return_counts=True)
        keys, votes = keys[votes >= _VOTES], votes[votes >= _VOTES]
        pairs, starts = np.divmod(keys, span)
        order = np.lexsort((starts, -votes, pairs))
        order = order[np.arange(len(pairs)) - np.searchsorted(pairs, pairs) < _ALIGNMENTS]
        rows = zip(pairs[order].tolist(), (starts[order] - longest).tolist(), strict=True)
        for pair, group in itertools.groupby(rows, key=lambda row: row[0]):
            yield first + pair // n, pair % n, [start for _, start in group]


def _blocks(prints: Sequence[np.ndarray], most_tracks: int) -> Iterator[tuple[int, int]]:
    """Ranges of tracks with _AT_ONCE words or little more, so that their pairs fit in memory."""
    first = n_words = 0
    for number, print_ in enumerate(prints, 1):
        n_words += len(print_)
        if n_words >= _AT_ONCE or number - first == most_tracks or number == len(prints):
            yield first, number
            first, n_words = number, 0


def _index(prints: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every word of every track once: the word, the track's number, its first place there.

    Sorted by word, then by number. In large libraries the same part of all words in each track.
    """
    part = min(1.0, _MOST_INDEXED / max(1, sum(map(len, prints))))
    columns = []
    for number, print_ in enumerate(prints):
        words, places = np.unique(print_, return_index=True)
        scattered = words * np.uint32(2654435761)  # Knuth's multiplicative hash
        keep = (words != 0) & (scattered <= np.uint32(part * (2**32 - 1)))
        columns.append(
            (words[keep], np.full(keep.sum(), number, np.int32), places[keep].astype(np.int32))
        )
    if not columns:
        return np.zeros(0, np.uint32), np.zeros(0, np.int32), np.zeros(0, np.int32)
    words, numbers, places = (np.concatenate(column) for column in zip(*columns, strict=True))
    order = np.argsort(words, kind="stable")
    return words[order], numbers[order], places[order]
