"""Embedders hear every clip once and for all, whoever asks and however often it breaks off."""

from pathlib import Path

import numpy as np
import pytest

from musicgen_train.errors import UserError
from musicgen_train.evaluation.clips import Clip, ClipFile, clip_files, write_clip
from musicgen_train.evaluation.embedders.identity import sha256_of
from musicgen_train.evaluation.heard_cache import HeardCache
from musicgen_train.evaluation.heard_set import FACTS, HeardSet
from musicgen_train.evaluation.listening import hear
from musicgen_train.evaluation.ranks import Ranks
from tests.evaluation.counting_embedder import CountingEmbedder
from tests.evaluation.small_evaluation import tune


@pytest.fixture
def clips(tmp_path: Path) -> list[Path]:
    for i in range(5):
        write_clip(tmp_path / "clips" / f"{i}.flac", Clip("", tune(i), 8000))
    return sorted((tmp_path / "clips").glob("*.flac"))


@pytest.fixture
def cache(tmp_path: Path) -> HeardCache:
    return HeardCache(tmp_path / "heard")


def test_what_was_heard_is_not_heard_again(clips, cache):
    embedder, shares = CountingEmbedder(), list[float]()
    hear([embedder], clips, cache, Ranks(), shares.append)
    assert embedder.heard == 5 and shares[-1] == 1.0
    hear([embedder], clips, cache, Ranks())
    assert embedder.heard == 5


def test_a_clip_that_changes_and_an_embedder_that_changes_are_heard_anew(clips, cache):
    hear([CountingEmbedder()], clips, cache, Ranks())
    write_clip(clips[0], Clip("", tune(40), 8000))
    again, other = CountingEmbedder(), CountingEmbedder("b")
    hear([again, other], clips, cache, Ranks())
    assert (again.heard, other.heard) == (1, 5)


def test_a_copy_under_another_name_need_not_be_heard(clips, cache, tmp_path):
    hear([CountingEmbedder()], clips, cache, Ranks())
    (tmp_path / "copy.flac").write_bytes(clips[0].read_bytes())
    again = CountingEmbedder()
    hear([again], [tmp_path / "copy.flac"], cache, Ranks())
    assert again.heard == 0


def test_ranks_share_the_clips_and_none_is_heard_twice(clips, cache):
    embedders, waits = [CountingEmbedder() for _ in range(3)], []
    for index, embedder in enumerate(embedders):
        hear([embedder], clips, cache, Ranks(index, 3, lambda: waits.append(1)))
    assert [embedder.heard for embedder in embedders] == [2, 2, 1] and len(waits) == 3
    assert all(cache.read(embedders[0], sha256_of(path)) for path in clips)


@pytest.mark.parametrize("damage", [b"", b"no safetensors", None])
def test_a_damaged_file_of_the_cache_is_made_again(clips, cache, damage):
    embedder = CountingEmbedder()
    hear([embedder], clips, cache, Ranks())
    place = cache.place(embedder, sha256_of(clips[2]))
    before, whole = cache.read(embedder, sha256_of(clips[2])), place.read_bytes()
    place.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    hear([embedder], clips, cache, Ranks())
    after = cache.read(embedder, sha256_of(clips[2]))
    assert embedder.heard == 6 and before and after
    assert np.array_equal(before.arrays["vectors"], after.arrays["vectors"])


def test_a_hearing_that_breaks_off_keeps_what_it_had(clips, cache):
    class Tires(CountingEmbedder):
        def hear(self, prepared):
            if self.heard == 3:
                raise KeyboardInterrupt
            return super().hear(prepared)

    with pytest.raises(KeyboardInterrupt):
        hear([Tires()], clips, cache, Ranks())
    again = CountingEmbedder()
    hear([again], clips, cache, Ranks())
    assert again.heard == 2


def heard_set(paths: list[ClipFile], cache: HeardCache, embedder: CountingEmbedder) -> HeardSet:
    hear([FACTS, embedder], [file.path for file in paths], cache, Ranks())
    return HeardSet("music", paths, cache)


def test_unreadable_clips_are_named_with_their_reasons(clips, cache, tmp_path):
    folder = tmp_path / "clips"
    (folder / "bad.wav").write_bytes(b"no audio")
    (folder / "none.flac").write_bytes(b"")
    missing = ClipFile("gone", folder / "gone.flac")
    found = heard_set([*clip_files(folder), missing], cache, CountingEmbedder())
    assert found.names == ["0", "1", "2", "3", "4"]
    assert set(found.unreadable) == {"bad", "none", "gone"}
    assert all(found.unreadable.values())
    assert set(found.faults.unreadable) == set(found.unreadable)


def test_what_cannot_even_be_opened_is_named(clips, cache):
    clips[0].unlink()
    clips[0].mkdir()
    found = heard_set(clip_files(clips[0].parent), cache, CountingEmbedder())
    assert found.unreadable == {"0": "cannot be opened (Is a directory)"}


def test_vectors_of_all_clips_stand_in_one_file_in_order(clips, cache, tmp_path):
    embedder = CountingEmbedder()
    found = heard_set(clip_files(clips[0].parent), cache, embedder)
    (tmp_path / "scratch").mkdir()
    vectors = found.vectors(embedder, tmp_path / "scratch")
    assert vectors.names == found.names and not vectors.without
    assert isinstance(vectors.clips.values, np.memmap) and vectors.clips.n_clips == 5
    for name, row in zip(vectors.names, vectors.clips.values, strict=True):
        assert np.array_equal(found.arrays(embedder, name)["vectors"][0], row)


def test_clips_without_a_window_are_told_apart_and_none_at_all_is_one_line(clips, cache, tmp_path):
    class Deaf(CountingEmbedder):
        def hear(self, prepared):
            vectors = super().hear(prepared)["vectors"]
            return {"vectors": vectors[:0] if self.heard < self.until else vectors}

    for until, weights in ((3, "two"), (9, "all")):
        embedder = Deaf(weights)
        embedder.until = until
        found = heard_set(clip_files(clips[0].parent), cache, embedder)
        scratch = tmp_path / weights
        scratch.mkdir()
        if until == 3:
            assert found.vectors(embedder, scratch).without == ["0", "1"]
        else:
            with pytest.raises(UserError, match="all 5 clips are shorter than one of its windows"):
                found.vectors(embedder, scratch)


def test_memory_of_a_set_holds_no_audio_and_facts_are_those_of_the_file(clips, cache):
    found = heard_set(clip_files(clips[0].parent), cache, CountingEmbedder())
    facts = found.facts("0")
    assert (facts.duration, facts.sample_rate, facts.channels) == (2.0, 8000, 1)
    assert facts.peak == pytest.approx(0.3, abs=1e-3)
    assert facts.rms == pytest.approx(0.3 / 2**0.5, abs=1e-3)
