import math

import pytest

from musicgen_train.evaluation.report.number_text import (
    format_interval,
    format_seconds,
    format_value,
    with_interval,
)


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_what_could_not_be_measured_is_said_and_not_raised(value):
    assert format_value(value, "dB") == "not measurable"


def test_numbers_read_well():
    assert format_value(0.256, "share") == "26 %"
    assert format_value(1000.4, "bit/s") == "1000 bit/s"
    assert format_value(-7.123, "dB") == "-7.12 dB"


def test_an_interval_has_the_digits_that_tell_its_width():
    assert format_interval((2.9, 3.5), "") == "[2.90, 3.50]"
    assert format_interval((0.27124, 0.27532), "nats") == "[0.2712, 0.2753]"
    assert format_interval((81.2, 104.9), "") == "[81, 105]"
    assert format_interval((0.705, 0.786), "share") == "[70.5, 78.6]"
    assert format_interval((-0.001, 12.0), "") == "[0, 12]"  # and not -0


@pytest.mark.parametrize("interval", [None, (None, 1.0), (math.nan, 1.0), (0.0, math.inf)])
def test_an_interval_without_both_ends_is_left_out(interval):
    assert format_interval(interval, "") == "" and with_interval(1.5, interval, "") == "1.50"


def test_an_interval_of_no_width_is_still_one():
    assert format_interval((0.0, 0.0), "share") == "[0, 0]"


def test_times_read_well():
    assert format_seconds(4.25) == "4.2 s" and format_seconds(185) == "3 min 5 s"
