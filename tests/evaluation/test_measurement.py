import json
import math

import pytest

from musicgen_train.evaluation.measurement import Measurement
from musicgen_train.evaluation.report.verdicts import format_value, grade, summary, weak_points


def row(value: float, better: str = "lower", good: float | None = 0.0, bad: float | None = 10.0):
    return Measurement("x.y", "Title", value, better, 5, good_end=good, bad_end=bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("better, good, bad", [("lower", 2.0, 10.0), ("higher", 0.9, 0.1)])
def test_the_way_made_is_zero_at_the_bad_end_and_one_at_the_good_end(better, good, bad):
    assert row(bad, better, good, bad).position() == 0
    assert row(good, better, good, bad).position() == 1
    assert row((good + bad) / 2, better, good, bad).position() == pytest.approx(0.5)
    assert row(bad + (bad - good), better, good, bad).position() == 0


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_what_could_not_be_measured_is_said_and_not_raised(value):
    assert format_value(value, "dB") == "not measurable"


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


def test_weak_figures_and_faults_are_stated_with_numbers():
    faults = {"text": {"n_clips": 4, "silent": 2, "short": 0, "non_finite": 0, "unreadable": []}}
    sentences = weak_points([row(1.0), row(9.5)], faults)
    assert len(sentences) == 2
    assert "9.50" in sentences[0] and "5 %" in sentences[0]
    assert sentences[1] == "text: 2 silent of 4 clips."


def test_a_small_gain_without_a_good_end_is_not_called_none():
    (fair,) = weak_points([row(9.5, good=None)], {})
    (poor,) = weak_points([row(10.5, good=None)], {})
    assert "hardly better than 10.0" in fair and "no better than 10.0" in poor


def test_the_summary_names_value_and_both_ends():
    (sentence,) = summary([row(3.0)])
    assert all(text in sentence.text for text in ("3.00", "0.00", "10.0"))


def test_numbers_read_well():
    assert format_value(0.256, "share") == "26 %"
    assert format_value(1000.4, "bit/s") == "1000 bit/s"
    assert format_value(-7.123, "dB") == "-7.12 dB"
    assert format_value(math.nan, "") == "not measurable"


def test_json_has_no_nan():
    text = json.dumps(row(math.nan, good=math.inf).to_json(), allow_nan=False)
    assert json.loads(text)["value"] is None and json.loads(text)["good_end"] is None
