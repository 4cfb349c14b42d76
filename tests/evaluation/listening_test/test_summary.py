"""Means, preferences and intervals: exact on small sets, honest about who rated what."""

import math

import numpy as np
import pytest

from musicgen_train.evaluation.listening_test.results import print_results, results_view
from musicgen_train.evaluation.listening_test.summary import (
    interval,
    sign_test,
    steadiness,
    summarise,
)
from tests.evaluation.listening_test.small_listening import rating


def ratings_of(table, question="overall"):
    """{system: {(listener, name): points}} as rows."""
    return [
        rating(listener, name, system, question, points)
        for system, given in table.items()
        for (listener, name), points in given.items()
    ]


TABLE = {
    "a": {("x", "1"): 80, ("x", "2"): 60, ("y", "1"): 70, ("y", "2"): 50},
    "b": {("x", "1"): 40, ("x", "2"): 60, ("y", "1"): 30, ("y", "2"): 60},
}


def test_means_and_preferences_are_those_of_the_ratings():
    found = summarise(ratings_of(TABLE))["questions"]["overall"]
    assert list(found["systems"]) == ["a", "b"]
    a = found["systems"]["a"]
    assert a["mean"] == 65 and (a["n_ratings"], a["n_listeners"], a["n_prompts"]) == (4, 2, 2)
    (pair,) = found["pairs"]
    assert (pair["first"], pair["wins"], pair["ties"], pair["losses"]) == ("a", 2, 1, 1)
    assert pair["preferred"] == 0.625 and pair["difference"] == 17.5
    low, high = pair["difference_interval"]
    assert low < 17.5 < high


def test_questions_do_not_mix_and_missing_pairs_are_not_made_up():
    rows = ratings_of(TABLE) + ratings_of({"a": {("x", "9"): 1}}, "relevance")
    found = summarise(rows)
    assert found["questions"]["overall"]["systems"]["a"]["mean"] == 65
    assert found["questions"]["relevance"]["systems"]["a"]["mean"] == 1
    assert found["questions"]["relevance"]["pairs"] == []
    apart = summarise(ratings_of({"a": {("x", "1"): 5}, "b": {("x", "2"): 9}}))
    assert apart["questions"]["overall"]["pairs"] == []


def test_a_repeat_is_averaged_and_does_not_count_twice():
    rows = [rating(points=40), rating(points=60, repeat=1), rating(name="two", points=80)]
    system = summarise(rows)["questions"]["overall"]["systems"]["a"]
    assert system["mean"] == 65 and system["n_ratings"] == 2
    assert steadiness(rows) == {"ada": {"mean_difference": 20.0, "n_pairs": 1}}


def test_copies_of_a_listener_narrow_nothing_about_prompts():
    prompts = np.random.default_rng(0).uniform(1, 100, 12)
    alone, many = interval(prompts[None]), interval(np.tile(prompts, (30, 1)))
    assert alone is not None and many is not None
    assert np.ptp(many) == pytest.approx(np.ptp(alone), rel=0.1)


def test_what_all_agree_on_has_an_interval_of_no_width():
    assert interval(np.full((4, 6), 37.0)) == (37.0, 37.0)


def test_one_rating_has_no_interval():
    assert interval(np.array([[50.0]])) is None
    assert interval(np.array([[50.0, np.nan]])) is None


@pytest.mark.parametrize("n_listeners, n_prompts", [(1, 20), (5, 20)])
def test_the_interval_holds_the_truth_as_often_as_it_says(n_listeners, n_prompts):
    rng = np.random.default_rng(3)
    spread_of_listeners = 8 if n_listeners > 1 else 0  # of one, nothing can be said
    held = 0
    for _ in range(400):
        listeners = rng.normal(0, spread_of_listeners, (n_listeners, 1))
        prompts = rng.normal(0, 12, (1, n_prompts))
        noise = rng.normal(0, 10, (n_listeners, n_prompts))
        found = interval(50 + listeners + prompts + noise)
        assert found is not None
        held += found[0] < 50 < found[1]
    assert 0.93 < held / 400 < 0.975


def test_the_sign_test_is_the_binomial_one():
    assert sign_test([1.0] * 6) == pytest.approx(2 / 64)
    assert sign_test([1, 2, 3, -1]) == pytest.approx(2 * (4 + 1) / 16)
    assert sign_test([1, -1, 0, 0]) == 1.0
    assert sign_test([0.0, 0.0]) is None


def test_few_listeners_and_prompts_are_told():
    assert summarise([])["notes"] == ["There are no ratings yet."]
    notes = " ".join(summarise(ratings_of(TABLE))["notes"])
    assert "Only 2 listeners" in notes and "Only 2 prompts" in notes
    many = {
        system: {(f"l{i}", f"p{j}"): 50 + i for i in range(5) for j in range(20)} for system in "ab"
    }
    assert summarise(ratings_of(many))["notes"] == []


def test_tables_show_the_figures_and_names_are_no_markup(capsys):
    found = summarise(ratings_of({"[bold]a": TABLE["a"], "b": TABLE["b"]}))
    print_results({**found, "faults": []})
    shown = capsys.readouterr().out
    assert "[bold]a" in shown and "65.0 (" in shown and "2/1/1" in shown
    (question,) = results_view(found)
    assert question["systems"][0]["at"] == pytest.approx(100 * 64 / 99, abs=0.1)
    assert math.isfinite(question["systems"][0]["from"])
