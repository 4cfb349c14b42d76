import math

import numpy as np
import pytest

from musicgen_train.evaluation.metrics.spread import spread


def test_median_and_deviation_leave_undefined_values_out():
    found = spread([1.0, 2.0, 6.0, math.nan], "abcd")
    assert found["median"] == 2 and found["std"] == pytest.approx(np.std([1, 2, 6], ddof=1))
    assert found["95 % from"] < 3 < found["95 % to"]


def test_one_value_has_no_spread_and_one_track_no_interval():
    assert spread([1.0], "a") == {}
    assert set(spread([1.0, 2.0], "aa")) == {"median", "std"}


def test_the_interval_of_independent_values_is_that_of_the_normal_distribution():
    values = np.random.default_rng(1).normal(5, 2, 400)
    found = spread(values.tolist(), range(400))
    half = 1.96 * values.std(ddof=1) / 20
    assert found["95 % from"] == pytest.approx(values.mean() - half, abs=0.06)
    assert found["95 % to"] == pytest.approx(values.mean() + half, abs=0.06)


def test_clips_of_one_track_tell_no_more_than_one_of_them():
    tracks = np.random.default_rng(1).normal(0, 1, 50)
    alone, repeated = spread(tracks.tolist(), range(50)), spread(
        np.repeat(tracks, 10).tolist(), np.repeat(np.arange(50), 10).tolist()
    )  # fmt: skip
    for end in ("95 % from", "95 % to"):
        assert repeated[end] == pytest.approx(alone[end])
