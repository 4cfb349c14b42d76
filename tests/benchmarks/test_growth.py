import json
import subprocess
import sys

import pytest

from benchmarks import growth
from benchmarks.growth_data import remote_point
from benchmarks.growth_fit import TOLERANCE, Curve, curve_of, fitted_exponent
from benchmarks.growth_page import write_page

SIZES = (10.0, 20.0, 40.0, 80.0)


def curve(power, must=(1.0, 1.0), unit="s", constant=0.0):
    points = [(x, constant + 3 * x**power) for x in SIZES]
    return Curve("data", "opening against samples", "samples", "time", unit, must, points)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_the_fit_finds_the_exponent_of_a_power_law(power):
    assert curve(power).exponent == pytest.approx(power)


def test_a_curve_fails_only_if_it_grows_faster_than_it_must():
    assert curve(1.0 + 0.9 * TOLERANCE).fine
    assert not curve(1.0 + 1.1 * TOLERANCE).fine
    assert curve(0.3).fine  # slower is no fault
    assert curve(1.9, must=(1.0, 2.0)).fine


def test_fixed_costs_of_small_sizes_do_not_hide_a_square():
    points = [(x, 100 + x**2) for x in (1.0, 2.0, 4.0, 8.0, 64.0, 128.0, 256.0, 512.0)]
    grown = Curve("data", "t", "x", "y", "s", (1.0, 1.0), points)
    assert fitted_exponent(points, 0.0) < 1.4 < 1.9 < grown.exponent


def test_noise_below_the_floor_is_flat():
    noise = list(zip(SIZES, (0.1, 0.5, 1.5, 3.9), strict=True))
    assert Curve("codec", "t", "x", "memory", "MiB", (0.0, 0.0), noise).exponent == 0


def test_one_size_has_no_slope():
    with pytest.raises(ValueError, match="two sizes"):
        fitted_exponent([(1.0, 2.0)], 0.0)


def test_results_come_back_as_they_were_written():
    there = curve(1.3)
    assert curve_of(json.loads(json.dumps(there.record()))).record() == there.record()


def results(*curves):
    about = {"machine": "a", "device": "cpu", "torch": "2", "quick": True}
    return about | {"curves": [c.record() for c in curves]}


def test_a_page_shows_its_pictures_and_says_what_grows_too_fast(tmp_path):
    write_page(results(curve(1.0), curve(2.0)), tmp_path / "growth.md")
    text = (tmp_path / "growth.md").read_text()
    assert text.count("grows too fast") == 1
    assert "(growth/data.png)" in text and (tmp_path / "growth" / "data.png").stat().st_size > 5000
    assert "training.png" not in text


@pytest.mark.parametrize(("power", "status"), [(1.0, None), (1.5, 1)])
def test_the_exit_status_tells_of_a_curve_that_grows_too_fast(tmp_path, monkeypatch, power, status):
    (tmp_path / "growth.json").write_text(json.dumps(results(curve(power))))
    arguments = ["growth", "--from", str(tmp_path / "growth.json")]
    monkeypatch.setattr(sys, "argv", [*arguments, "--page", str(tmp_path / "page.md")])
    if status is None:
        growth.main()
    else:
        with pytest.raises(SystemExit, match="grows faster"):
            growth.main()
    assert (tmp_path / "page.md").is_file()


@pytest.mark.parametrize("content", [None, '{"curves"', "[]", '{"curves": [{"group": "data"}]}'])
def test_what_is_no_growth_file_is_told_in_one_line(tmp_path, monkeypatch, capsys, content):
    path = tmp_path / "growth.json"
    if content is not None:
        path.write_text(content)
    page = tmp_path / "page.md"
    monkeypatch.setattr(sys, "argv", ["growth", "--from", str(path), "--page", str(page)])
    with pytest.raises(SystemExit, match="2"):
        growth.main()
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and told.startswith(f"error: {path}: is no growth.json")
    assert not page.exists()


def test_a_remote_page_costs_no_more_in_a_dataset_of_ten_times_the_shards():
    assert remote_point(1000) <= remote_point(100) + 1


def test_help_loads_no_heavy_library():
    code = (
        "import sys; sys.argv = ['growth', '--help']\n"
        "try:\n  from benchmarks.growth import main; main()\n"
        "except SystemExit: print('torch' in sys.modules, 'matplotlib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("False False\n")
