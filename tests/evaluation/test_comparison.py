from types import SimpleNamespace
from typing import Any

from musicgen_train.evaluation.comparison import SHUFFLED_LIMIT, Comparison, Prompt


def comparison(tracks: dict[str, str], *sets: list[str]) -> Any:
    heard = [SimpleNamespace(names=names) for names in sets]
    prompts = {name: Prompt(track=track) for name, track in tracks.items()}
    return Comparison([], heard[0], heard[-1], prompts=prompts), heard  # type: ignore[arg-type]


def test_shuffled_pairs_are_all_pairs_of_different_tracks():
    compared, _ = comparison({"a": "one", "b": "one", "c": "two"}, ["a", "b", "c"])
    assert compared.shuffled(["a", "b", "c"]) == [("a", "c"), ("b", "c"), ("c", "a"), ("c", "b")]


def test_clips_of_unknown_tracks_are_their_own():
    compared, _ = comparison({}, ["a", "b"])
    assert compared.shuffled(["a", "b"]) == [("a", "b"), ("b", "a")]


def test_of_many_clips_a_fixed_draw_of_pairs_is_taken():
    names = [f"{i}" for i in range(300)]
    compared, _ = comparison({}, names)
    pairs = compared.shuffled(names)
    assert SHUFFLED_LIMIT * 0.98 < len(pairs) <= SHUFFLED_LIMIT
    assert pairs == compared.shuffled(names) and all(a != b for a, b in pairs)
    assert len({a for a, _ in pairs}) == 300


def test_names_that_a_set_lacks_are_told():
    compared, heard = comparison({}, ["a", "b", "c"], ["b", "c", "d"])
    assert compared.common(*heard) == (["b", "c"], ["a", "d"])
