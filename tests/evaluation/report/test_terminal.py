import io
import math

import pytest
from rich.console import Console

from musicgen_train.evaluation.report.terminal import print_measurements, warning_lines
from tests.evaluation.report.small_runs import measured

ENDS = {"good_end": 0.5, "good_end_is": "real music", "bad_end": 25.0, "bad_end_is": "untrained"}
ROWS = [
    measured("fad.vggish.text", 4.88, interval=(4.7, 5.1), warnings=("few clips",), **ENDS),
    measured("fad.vggish.melody", 5.93, interval=(5.62, 6.13), warnings=("few clips",), **ENDS),
    measured("kl.passt.text", math.nan, interval=None),
    measured("chroma.argmax", 0.44, interval=(0.41, 0.47), bad_end=0.083, bad_end_is="chance"),
    measured("codec.bitrate", 2200.0, unit="bit/s", better="neither"),
]


def printed(width: int) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    print_measurements(ROWS, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [80, 60, 200])
def test_no_number_is_cut_or_broken_at_any_width(width):
    text = printed(width)
    assert all(len(line.rstrip()) <= width for line in text.splitlines()) and "…" not in text
    assert "FAD VGGish, from text" in text
    for number in ("4.88 ↓", "[4.70, 5.10]", "[5.62, 6.13]", "25.0", "44 % ↑", "[41.0, 47.0]"):
        assert number in text


def test_at_80_columns_a_figure_is_a_line():
    (line,) = [line for line in printed(80).splitlines() if "4.88" in line]
    assert " ".join(line.split()) == "FAD VGGish, from text 4.88 ↓ [4.70, 5.10] 0.50 25.0 40"


def test_figures_stand_under_the_title_of_their_family_with_its_ends_said_once():
    text = printed(80)
    assert text.count("as VGGish hears it") == 1
    assert text.count("floor: real music, ceiling: untrained") == 1


def test_each_warning_is_said_once_with_all_that_it_is_about():
    assert warning_lines(ROWS) == ["! few clips (fad.vggish.text, fad.vggish.melody)"]
    many = [measured(f"fad.x{i}", 1.0, warnings=("w",)) for i in range(5)]
    assert warning_lines(many) == ["! w (fad.x0, fad.x1, fad.x2 and 2 more)"]
