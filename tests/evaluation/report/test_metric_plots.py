import math

import numpy as np
from matplotlib.image import imread

from musicgen_train.evaluation.report.metric_plots import (
    GREEN,
    RED,
    Panel,
    end_marks,
    plot_dots,
    plot_histogram,
)
from musicgen_train.evaluation.report.metric_tables import dot_panels
from tests.evaluation.report.small_runs import measured


def colours(path) -> set[tuple[int, ...]]:
    """Every opaque colour of a picture."""
    pixels = (imread(path) * 255).round().astype(int).reshape(-1, 4)
    return {tuple(pixel[:3]) for pixel in pixels if pixel[3] == 255}


def rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour[1:]))


def test_the_floor_is_green_and_the_ceiling_red_even_if_one_is_alone(tmp_path):
    row = measured("clap", 0.3, interval=(0.2, 0.4), bad_end=0.1, bad_end_is="others")
    assert [(mark.what, mark.color) for mark in end_marks(row)] == [("others", RED)]
    plot_dots([Panel("CLAP", {"a": row})], tmp_path / "dots.png")
    plot_histogram({"a": [0.1, 0.2, 0.4]}, end_marks(row), "", tmp_path / "spread.png")
    for name in ("dots.png", "spread.png"):
        found = colours(tmp_path / name)
        assert rgb(RED) in found and rgb(GREEN) not in found


def test_pictures_are_transparent_so_that_they_read_on_light_and_dark(tmp_path):
    plot_histogram({"a": [1.0, 2.0], "b": [1.5, 1.5]}, [], "nats", tmp_path / "x.png")
    alpha = imread(tmp_path / "x.png")[..., 3]
    assert np.mean(alpha == 0) > 0.4


def test_equal_scores_and_broken_ends_can_be_drawn(tmp_path):
    plot_histogram({"a": [1.0] * 5}, [], "share", tmp_path / "x.png")
    row = measured("fad.x", 1.0, good_end=math.nan, interval=(math.nan, 2.0))
    plot_dots([Panel("FAD", {"a" * 99: row})], tmp_path / "y.png")
    assert end_marks(row) == []


def test_figures_of_one_metric_share_an_axis_and_a_lone_number_has_none():
    ends = {"good_end": 0.0, "bad_end": 9.0}
    rows = [measured(f"fad.vggish.{system}", 3.0, **ends) for system in ("text", "melody")]
    rows += [measured("codec.bitrate", 2200.0), measured("kad.vggish.text", math.nan, **ends)]
    (panel,) = dot_panels(rows)
    assert list(panel.rows) == ["Music from text", "Music from text and melody"]
