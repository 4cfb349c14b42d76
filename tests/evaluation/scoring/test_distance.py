import numpy as np
import pytest
import torch

from musicgen_train.evaluation.metrics.frechet import GaussianStatistics, frechet_distance
from musicgen_train.evaluation.protocol import Protocol
from musicgen_train.evaluation.scoring.distance import DistanceScorer
from tests.evaluation.scoring.synthetic import NamedEmbedder, clips_of, compared, made_up

EMBEDDER = NamedEmbedder("vggish")
ALL = Protocol("default", ("fad", "kad", "coverage"), ("vggish",), "judge")
COMPAT = Protocol("musicgen_compat", ("fad",), ("vggish",), "judge", compat=True)


def vectors(n: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    return torch.randn(n, 3, 8, generator=torch.Generator().manual_seed(seed)) + shift


def measured(tmp_path, generated, reference, protocol=ALL):
    sets = (made_up(tmp_path, *side) for side in (
        ("generated", EMBEDDER, clips_of(generated)), ("reference", EMBEDDER, clips_of(reference))
    ))  # fmt: skip
    (tmp_path / "scratch").mkdir(parents=True)
    scorer = DistanceScorer(compared(*sets), EMBEDDER, protocol, tmp_path / "scratch")
    shares = []
    rows = {row.name: row for row in scorer.measurements(shares.append)}
    assert shares == sorted(shares) and shares[-1] == 1.0
    return rows


def test_fad_is_that_of_all_windows_of_all_clips(tmp_path):
    ours, real = vectors(100, 0, 0.3), vectors(120, 1)
    row = measured(tmp_path, ours, real)["fad.vggish"]
    expected = frechet_distance(*(GaussianStatistics.of(v.flatten(0, 1)) for v in (real, ours)))
    assert row.value == pytest.approx(expected, rel=1e-9)
    assert not any("no interval" in w for w in row.warnings)
    assert (row.n_clips, row.n_vectors) == (100, 300)
    assert row.settings["reference_vectors"] == 360
    assert row.interval[0] < row.others["debiased"] < row.interval[1]
    assert row.others["debiased"] < row.value  # the bias is upward
    assert len(row.per_clip) == 100 and min(row.per_clip.values()) > 0


def test_fewer_than_twelve_clips_a_dimension_have_no_interval_and_say_so(tmp_path):
    row = measured(tmp_path, vectors(95, 0, 0.3), vectors(120, 1))["fad.vggish"]
    assert row.interval is None and "debiased" not in row.others
    assert "no interval: it takes 96 tracks on both sides" in row.warnings


def test_the_floor_is_half_the_mean_distance_of_many_halves_of_the_reference(tmp_path):
    row = measured(tmp_path, vectors(40, 0), vectors(60, 1))["fad.vggish"]
    assert row.good_end > 0 and "half the distance of halves" in row.good_end_is


def test_enough_clips_are_extrapolated_and_fewer_are_told_why_not(tmp_path):
    many = measured(tmp_path / "many", vectors(240, 0, 0.3), vectors(240, 1))
    few = measured(tmp_path / "few", vectors(40, 0, 0.3), vectors(60, 1))
    assert many["fad_inf.vggish"].value < many["fad.vggish"].value
    low, high = many["fad_inf.vggish"].interval
    assert low < many["fad_inf.vggish"].value < high
    assert "fad_inf.vggish" not in few
    assert any("no FAD∞: 40 clips are too few" in said for said in few["fad.vggish"].warnings)


def test_the_floor_is_that_of_equal_sets_whatever_their_number(tmp_path):
    for n in (60, 120):
        row = measured(tmp_path / str(n), vectors(n, 0), vectors(n, 1))["fad.vggish"]
        assert row.value == pytest.approx(row.good_end, rel=0.35)


def test_clips_of_one_track_are_one_to_intervals_and_kernels(tmp_path):
    """One distribution, 6 tracks of 4 clips that are nearly alike: nothing sure can be said."""
    generator = torch.Generator().manual_seed(0)

    def alike():
        tunes = torch.randn(6, 1, 1, 8, generator=generator)
        return (tunes + 0.1 * torch.randn(6, 4, 3, 8, generator=generator)).flatten(0, 1)

    tracks = {f"{i:03d}": f"track{i // 4}" for i in range(24)}
    sets = [
        made_up(tmp_path, title, EMBEDDER, clips_of(alike()), tracks)
        for title in ("generated", "reference")
    ]
    (tmp_path / "scratch").mkdir()
    scorer = DistanceScorer(compared(*sets), EMBEDDER, ALL, tmp_path / "scratch")
    rows = {row.name: row for row in scorer.measurements(lambda share: None)}
    low, high = rows["kad.vggish"].interval
    assert low < 0 < high
    assert rows["fad.vggish"].n_clips == 24 and len(rows["fad.vggish"].per_clip) == 24


def test_one_distribution_is_covered_and_another_is_not(tmp_path):
    same = measured(tmp_path / "same", vectors(100, 0), vectors(100, 1))
    other = measured(tmp_path / "other", vectors(100, 0, 5.0), vectors(100, 1))
    assert same["coverage.vggish"].value > 0.85 and other["coverage.vggish"].value == 0
    low, high = same["kad.vggish"].interval
    assert low < 0 < high or abs(same["kad.vggish"].value) < 0.5
    assert other["kad.vggish"].value > 10
    assert same["kad.vggish"].settings["bandwidth"] == other["kad.vggish"].settings["bandwidth"]


def test_a_small_reference_is_warned_of(tmp_path):
    rows = measured(tmp_path, vectors(120, 0), vectors(8, 1)[:, :1])
    assert "reference: 8 clips are fewer than 1000: the distance is biased upward" in (
        rows["fad.vggish"].warnings
    )
    assert any("reference: 8 vectors of 8" in said for said in rows["fad.vggish"].warnings)
    assert any("8 vectors: fewer than 100" in said for said in rows["coverage.vggish"].warnings)


def test_a_reference_of_one_sound_has_no_neighbourhoods(tmp_path):
    rows = measured(tmp_path, vectors(20, 0), torch.ones(20, 3, 8))
    assert (
        np.isnan(rows["coverage.vggish"].value)
        and "all alike" in (rows["coverage.vggish"].warnings[0])
    )


def test_compat_rounds_the_statistics_as_google_does(tmp_path):
    ours, real = vectors(40, 0, 0.3), vectors(60, 1)
    exact = measured(tmp_path / "exact", ours, real)["fad.vggish"].value
    rounded = measured(tmp_path / "compat", ours, real, COMPAT)
    assert set(rounded) == {"fad.vggish"}
    assert rounded["fad.vggish"].value != exact
    assert rounded["fad.vggish"].value == pytest.approx(exact, rel=1e-4)


def test_clips_without_a_window_are_dropped_by_name(tmp_path):
    generated = clips_of(vectors(10, 0)) | {"deaf": {"vectors": torch.zeros(0, 8)}}
    sets = (
        made_up(tmp_path, "generated", EMBEDDER, generated),
        made_up(tmp_path, "reference", EMBEDDER, clips_of(vectors(10, 1))),
    )
    (tmp_path / "scratch").mkdir()
    scorer = DistanceScorer(compared(*sets), EMBEDDER, ALL, tmp_path / "scratch")
    for row in scorer.measurements(lambda share: None):
        assert row.n_clips == 10 and row.settings["dropped"] == {"deaf": "shorter than one window"}


def test_one_clip_of_one_window_is_not_measurable_and_says_why(tmp_path):
    rows = measured(tmp_path, vectors(1, 0)[:, :1], vectors(10, 1))
    for name in ("fad.vggish", "kad.vggish", "coverage.vggish"):
        assert np.isnan(rows[name].value) and rows[name].warnings


def test_a_collapsed_system_is_far_not_undefined(tmp_path):
    same = torch.ones(20, 3, 8)
    rows = measured(tmp_path, same, vectors(40, 1))
    assert rows["fad.vggish"].value > 8 and np.isfinite(rows["kad.vggish"].value)
    assert rows["coverage.vggish"].value < 0.3
