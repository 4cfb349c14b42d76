import json
import math

import pytest

from musicgen_train.evaluation.clips import ClipFaults
from musicgen_train.evaluation.measurement import Measurement
from musicgen_train.evaluation.report.verdicts import grade, summary, weak_points


def row(
    value: float,
    better: str = "lower",
    good: float | None = 0.0,
    bad: float | None = 10.0,
    name: str = "x.y",
    interval: tuple[float, float] | None = None,
):
    return Measurement(
        name, "Title", value, better, 5,  # type: ignore[arg-type]
        good_end=good, good_end_is="real music", bad_end=bad, bad_end_is="an untrained model",
        interval=interval,
    )  # fmt: skip


@pytest.mark.parametrize("better, good, bad", [("lower", 2.0, 10.0), ("higher", 0.9, 0.1)])
def test_the_way_made_is_zero_at_the_bad_end_and_one_at_the_good_end(better, good, bad):
    assert row(bad, better, good, bad).position() == 0
    assert row(good, better, good, bad).position() == 1
    assert row((good + bad) / 2, better, good, bad).position() == pytest.approx(0.5)
    assert row(bad + (bad - good), better, good, bad).position() == 0


def test_without_both_ends_there_is_no_position():
    assert row(1.0, good=None).position() is None
    assert row(math.nan).position() is None
    assert row(0.1, "higher", good=0.1, bad=0.2).position() is None
    assert grade(row(0.1, "higher", good=0.1, bad=0.2)) == "poor"


def test_grades_follow_the_way_made_and_a_missing_value_is_poor():
    assert [grade(row(v)) for v in (1.0, 6.0, 9.5, math.nan)] == ["good", "fair", "poor", "poor"]
    assert [grade(row(v, good=None)) for v in (8.0, 9.5, 11.0)] == ["good", "fair", "poor"]
    assert grade(row(-20, "higher", None, -40.0)) == "good"
    assert grade(row(1, "neither")) == ""


def test_nothing_is_good_that_may_be_no_better_than_the_ceiling_nor_poor_if_it_may_be_good():
    assert grade(row(1.0, interval=(0.5, 10.5))) == "unsure"
    assert grade(row(9.5, interval=(-0.2, 11.0))) == "unsure"
    assert grade(row(0.9, "higher", 1.0, 0.1, interval=(0.05, 1.2))) == "unsure"


@pytest.mark.parametrize("value, expected", [(1.0, "good"), (6.0, "fair"), (9.5, "poor")])
def test_a_narrow_interval_changes_no_grade(value, expected):
    assert grade(row(value, interval=(value - 0.3, value + 0.3))) == expected


def test_a_value_without_an_interval_that_is_finite_keeps_its_grade():
    assert grade(row(1.0, interval=(math.nan, math.nan))) == "good"
    assert grade(row(math.nan, interval=(0.0, 11.0))) == "poor"


def test_weak_figures_are_stated_with_numbers_the_worst_first():
    rows = [row(6.0), row(1.0), row(9.5), row(1.0, interval=(0.0, 12.0))]
    poor, unsure, fair = weak_points(rows, {})
    assert "9.50" in poor and "5 %" in poor
    assert "[0, 12]" in unsure and "too unsure" in unsure
    assert "40 % of the way" in fair


def test_every_fault_names_its_clips_and_the_unreadable_their_reason():
    faults = ClipFaults(n_clips=9, silent=["a", "b"], long=[f"c{i}" for i in range(7)])
    faults.unreadable = {"lost": "cannot be decoded"}
    faults.kinds = {"8000 Hz, 1 channel": ["a", "b"], "44100 Hz, 2 channels": ["z"]}
    silent, long, odd, lost = weak_points([], {"text": faults.to_json()})
    assert silent == "text: 2 of 9 clips silent: a, b."
    assert long == "text: 7 of 9 clips longer than 1 min: c0, c1, c2, c3, c4 and 2 more."
    assert odd == "text: 1 of 9 clips of 44100 Hz, 2 channels: z."
    assert lost == "text: 1 unreadable, left out: lost (cannot be decoded)."
    assert weak_points([], {"text": ClipFaults(n_clips=3).to_json()}) == []


def test_a_small_gain_without_a_good_end_is_not_called_none():
    (fair,) = weak_points([row(9.5, good=None)], {})
    (poor,) = weak_points([row(10.5, good=None)], {})
    assert "hardly better than 10.0" in fair and "no better than 10.0" in poor


def test_the_summary_names_value_interval_and_both_ends():
    (sentence,) = summary([row(3.0, interval=(2.5, 3.5))])
    for text in ("3.00", "[2.5, 3.5]", "real music: 0.00", "an untrained model: 10.0"):
        assert text in sentence.text


@pytest.mark.parametrize(
    "name, said",
    [
        ("fad.vggish.text", "Music from text: distance to real music, as VGGish hears it (FAD)"),
        ("fad.clap", "Generated music: distance to real music, as CLAP hears it"),
        ("kl.passt.text", "what PaSST hears in it"),
        ("clap.text", "agreement with its text (CLAP score)"),
        ("chroma.argmax", "as in the melody asked for"),
    ],
)
def test_each_family_has_its_sentence_in_plain_words(name, said):
    (sentence,) = summary([row(3.0, name=name)])
    assert said in sentence.text


def test_the_summary_leaves_out_what_is_no_headline_and_an_end_that_is_not_there():
    rows = [row(3.0, name=name) for name in ("fad_inf.vggish.text", "fad.vggish.round_trip")]
    (sentence,) = summary([*rows, row(3.0, name="fad.vggish", bad=None)])
    assert "untrained" not in sentence.text and "real music: 0.00" in sentence.text


def test_the_melodys_sentence_names_what_the_texts_alone_reach_and_failing_clips_are_weak():
    found = row(3.0, name="chroma.argmax")
    found.others = {"generated from text, without a melody": 0.11}
    (sentence,) = summary([found])
    assert "the same texts without a melody: 0.11" in sentence.text
    found = row(0.25, name="failures.clips.melody", bad=None)
    found.settings = {"failing": {"fall silent": ["a", "b"], "are clipped": []}}
    assert "Music from text and melody: 2 of 5 fall silent: a, b." in weak_points([found], {})


def test_json_has_no_nan():
    text = json.dumps(row(math.nan, good=math.inf, interval=(0.0, math.nan)).to_json())
    told = json.loads(text)
    assert told["value"] is None and told["good_end"] is None and told["interval"] == [0.0, None]
