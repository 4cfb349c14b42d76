"""Pairing by name, and orders that are random to people and the same for the same seed."""

from collections import Counter
from pathlib import Path

import pytest

from musicgen_train.errors import UserError
from musicgen_train.evaluation.listening_test.trials import (
    ListeningTest,
    Prompt,
    draw_prompts,
    match_prompts,
    plan,
    system_names,
)
from tests.evaluation.listening_test.small_listening import TEXTS, write_systems, write_tone


def made_test(n=12, systems=("x", "y", "z"), **settings):
    prompts = tuple(Prompt(f"{i:02d}", None, None, {}) for i in range(n))
    return ListeningTest(prompts, systems, ("overall",), **settings)


def test_clips_are_paired_by_name_whatever_their_suffix(tmp_path):
    small, large = write_systems(tmp_path)
    matched = match_prompts({"s": small, "l": large}, TEXTS, tmp_path / "melodies")
    assert [prompt.name for prompt in matched.prompts] == sorted(TEXTS)
    for prompt in matched.prompts:
        assert prompt.text == TEXTS[prompt.name]
        assert {path.stem for path in (*prompt.clips.values(), prompt.melody)} == {
            Path(prompt.name).name
        }
    assert matched.left_out == {}


def test_what_lacks_a_clip_a_text_or_a_melody_is_named_and_left_out(tmp_path):
    small, large = write_systems(tmp_path)
    for folder, name in ((large, "alone"), (small, "mute"), (large, "mute")):
        write_tone(folder / f"{name}.wav", 16000, 0.1, 0.5)
    texts = {name: text for name, text in TEXTS.items() if name != "two"}
    (tmp_path / "melodies" / "one.ogg").unlink()
    matched = match_prompts({"s": small, "l": large}, texts | {"mute": "?"}, tmp_path / "melodies")
    assert [prompt.name for prompt in matched.prompts] == ["deep/three"]
    assert matched.left_out == {
        "no clip in s": ["alone"], "no melody": ["mute", "one"], "no text": ["two"],
    }  # fmt: skip


def test_two_clips_of_one_name_in_a_folder_are_refused(tmp_path):
    small, _ = write_systems(tmp_path)
    write_tone(small / "one.flac", 16000, 0.1, 0.5)
    with pytest.raises(UserError, match="two clips of one name"):
        match_prompts({"s": small})


def test_systems_are_called_by_the_shortest_ends_that_tell_them_apart():
    assert system_names([Path("/r/a"), Path("/r/b")]) == ["a", "b"]
    assert system_names([Path("/r/a/audio"), Path("/r/b/audio")]) == ["a/audio", "b/audio"]
    assert system_names([Path("/audio"), Path("/r/audio")]) == ["/audio", "r/audio"]
    with pytest.raises(UserError, match="is there twice"):
        system_names([Path("a"), Path("a")])


def test_a_listener_hears_every_prompt_once_with_every_system():
    trials = plan(made_test(), "ada")
    assert sorted(t.prompt.name for t in trials) == [f"{i:02d}" for i in range(12)]
    assert [t.number for t in trials] == list(range(1, 13))
    assert all(sorted(t.systems) == ["x", "y", "z"] for t in trials)


def test_the_order_depends_on_the_seed_and_the_listener_alone():
    assert plan(made_test(), "ada") == plan(made_test(), "ada")
    orders = {
        tuple((t.prompt.name, t.systems) for t in plan(made_test(seed=seed), listener))
        for seed in (0, 1)
        for listener in ("ada", "bo")
    }
    assert len(orders) == 4


def test_every_system_comes_equally_often_at_every_place():
    test = made_test(n=40)
    first = Counter(t.systems[0] for i in range(25) for t in plan(test, f"listener {i}"))
    for system in test.systems:  # 1000 draws of 1/3: standard deviation 15
        assert abs(first[system] - 1000 / 3) < 60


def test_a_prompt_more_changes_no_order_of_systems():
    fewer, more = (
        {t.prompt.name: t.systems for t in plan(made_test(n=n), "ada")} for n in (11, 12)
    )
    assert fewer == {name: systems for name, systems in more.items() if name in fewer}


def test_repeats_come_after_everything_and_are_prompts_of_before():
    trials = plan(made_test(repeats=3), "ada")
    assert [t.repeat for t in trials] == [0] * 12 + [1] * 3
    assert {t.prompt.name for t in trials[12:]} == {t.prompt.name for t in trials[:3]}
    assert len(plan(made_test(n=2, repeats=9), "ada")) == 4


def test_fewer_prompts_are_the_same_for_all_and_others_for_another_seed():
    prompts = made_test(n=50).prompts
    kept = draw_prompts(prompts, 5, seed=0)
    assert len({p.name for p in kept}) == 5 and kept == draw_prompts(prompts, 5, seed=0)
    assert kept != draw_prompts(prompts, 5, seed=1)
    assert draw_prompts(prompts, None, 0) == draw_prompts(prompts, 99, 0) == prompts
