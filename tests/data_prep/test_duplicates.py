import tracemalloc

import numpy as np
import pytest
import soxr
import torch

from data_prep import duplicates
from data_prep.duplicates import Candidate, find_duplicates
from data_prep.fingerprint import fingerprint
from tests.data_prep.random_songs import song

RATE = 16000


def words(seed, n):
    return np.random.default_rng(seed).integers(1, 2**32, n, dtype=np.uint32)


def flipped(print_, share, seed=0):
    """The words with a share of their bits flipped."""
    bits = np.unpackbits(print_.view(np.uint8))
    bits ^= np.random.default_rng(seed).random(len(bits)) < share
    return np.packbits(bits).view(np.uint32)


def track(name, print_, audio_hash=None):
    return Candidate(name, audio_hash or name, print_, len(print_) / 20)


def heard(name, wav, rate=RATE):
    words = fingerprint([torch.from_numpy(np.ascontiguousarray(wav))], rate)
    return Candidate(name, name, words, wav.shape[1] / rate)


def test_equal_samples_are_one_track_even_without_fingerprints():
    none = np.zeros(0, np.uint32)
    tracks = [Candidate(name, content, none, 3.0) for name, content in ("cx", "ax", "bx", "dy")]
    assert find_duplicates(tracks) == {"c": ("a", 1.0), "b": ("a", 1.0)}
    assert find_duplicates([]) == {}


def test_the_longest_of_near_copies_stays_and_then_the_first_name():
    print_ = words(0, 400)
    tracks = [track("b", print_), track("a", flipped(print_, 0.05)), track("c", words(1, 400))]
    assert find_duplicates(tracks) == {"b": ("a", pytest.approx(0.95, abs=0.01))}
    tracks[0] = track("b", np.append(print_, words(2, 9)))
    assert find_duplicates(tracks) == {"a": ("b", pytest.approx(0.95, abs=0.01))}


def test_the_order_of_tracks_changes_nothing():
    tracks = [track(f"{n}{m}", flipped(words(n, 400), 0.04, m)) for n in range(8) for m in range(4)]
    found = find_duplicates(tracks)
    assert set(found) == {f"{n}{m}" for n in range(8) for m in (1, 2, 3)}
    assert {winner for winner, _ in found.values()} == {f"{n}0" for n in range(8)}
    assert find_duplicates(tracks[::-1]) == found


def test_an_excerpt_goes_and_a_common_part_stays():
    whole, other = words(0, 2000), words(1, 1900)
    excerpt = track("excerpt", flipped(whole[700:1000], 0.05))
    shared = track("shared", np.concatenate([other, whole[:300]]))
    found = find_duplicates([track("whole", whole), shared, excerpt])
    assert {name: winner for name, (winner, _) in found.items()} == {"excerpt": "whole"}
    mixes = [np.concatenate([words(5, 3000), whole]), np.concatenate([whole, words(6, 3001)])]
    mixes = [track("mix1", mixes[0]), track("mix2", mixes[1]), track("song", whole)]
    assert set(find_duplicates(mixes)) == {"song"}


def test_what_resembles_a_loser_goes_to_its_winner():
    first = words(0, 1000)
    second = np.concatenate([first[300:], words(1, 100)])
    third = np.concatenate([second[240:], words(2, 120)])
    tracks = [track("1", first), track("2", second), track("3", third), track("4", third, "3")]
    found = find_duplicates(tracks)
    assert {name: winner for name, (winner, _) in found.items()} == dict.fromkeys("234", "1")
    assert all(likeness < 1 for _, likeness in found.values())


def test_silence_alone_makes_no_two_tracks_alike():
    def mostly_silent(seed):
        return np.concatenate([np.zeros(900, np.uint32), words(seed, 100)])

    assert find_duplicates([track(str(seed), mostly_silent(seed)) for seed in range(5)]) == {}
    silent = [track(str(seed), np.zeros(900, np.uint32)) for seed in range(5)]
    assert find_duplicates(silent) == {}


def test_real_copies_are_found_and_songs_of_one_kind_are_not_confused():
    songs = [song(seed, 20.0) for seed in range(12)]
    tracks = [heard(f"song{n}", wav) for n, wav in enumerate(songs)]
    assert find_duplicates(tracks) == {}
    slow = soxr.resample(songs[0].T, RATE, 11025).T
    copies = [
        heard("quiet", 0.1 * songs[3]),
        heard("slow", slow[:, 20000:], 11025),
        heard("trimmed", songs[7][:, 83333:]),
        heard("mono", songs[9][:1, :200000]),
    ]
    found = {name: winner for name, (winner, _) in find_duplicates(tracks + copies).items()}
    assert found == {
        "slow": "song0", "song3": "quiet", "trimmed": "song7", "mono": "song9",
    }  # fmt: skip


def test_each_track_is_compared_with_a_few_even_if_all_are_copies(monkeypatch):
    original, compared = duplicates._likeness, []
    monkeypatch.setattr(
        duplicates, "_likeness", lambda *pair: compared.append(1) or original(*pair)
    )
    tracks = [track(f"{n:03}", flipped(words(0, 400), 0.02, n)) for n in range(200)]
    found = find_duplicates(tracks)
    assert len(found) == 199 and {winner for winner, _ in found.values()} == {"000"}
    assert len(compared) < 10 * 200  # not 200 * 199 / 2


def test_unlike_tracks_are_not_compared_at_all(monkeypatch):
    monkeypatch.setattr(duplicates, "_likeness", None)
    assert find_duplicates([track(str(n), words(n, 400)) for n in range(500)]) == {}


def test_a_large_library_is_found_by_a_part_of_its_words(monkeypatch):
    monkeypatch.setattr(duplicates, "_MOST_INDEXED", 4000)
    tracks = [track(f"{n}{m}", flipped(words(n, 1000), 0.02, m)) for n in range(10) for m in (1, 2)]
    assert set(find_duplicates(tracks)) == {f"{n}2" for n in range(10)}


def test_the_size_of_the_blocks_of_tracks_changes_nothing(monkeypatch):
    tracks = [track(f"{n}{m}", flipped(words(n, 400), 0.04, m)) for n in range(8) for m in range(4)]
    prints = [each.fingerprint for each in tracks]
    whole = list(duplicates._candidates(prints))
    assert [pair[:2] for pair in whole] == sorted(pair[:2] for pair in whole) and whole
    for at_once in (1, 900):
        monkeypatch.setattr(duplicates, "_AT_ONCE", at_once)
        assert list(duplicates._candidates(prints)) == whole


def test_pairs_of_tracks_made_of_loops_take_bounded_memory(monkeypatch):
    monkeypatch.setattr(duplicates, "_AT_ONCE", 4096)
    rng = np.random.default_rng(0)
    loops = [words(seed, 80) for seed in range(10)]
    prints = [np.concatenate([loops[n] for n in rng.permutation(10)[:6]]) for _ in range(600)]
    index = duplicates._index(prints)
    monkeypatch.setattr(duplicates, "_index", lambda prints: index)
    tracemalloc.start()
    assert sum(1 for _ in duplicates._candidates(prints)) > 600
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * len(index[0])  # the pairs alone are 64 bytes a word
