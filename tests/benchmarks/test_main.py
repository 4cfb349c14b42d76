"""The one command: what it refuses, what it keeps, and that every benchmark runs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import benchmarks.__main__ as command
from benchmarks import running
from benchmarks.limits import Limits
from benchmarks.results import Row
from tests.benchmarks.small_results import CPU, FACTS

ROOT = Path(__file__).parents[2]
FAKE = "tests.benchmarks.fake_benchmark"


def status_of(*argv):
    with pytest.raises(SystemExit) as exit_:
        command.main([*argv])
    return exit_.value.code


@pytest.fixture
def fake(monkeypatch):
    """Only the benchmark that goes wrong, in the mode of choice; limits without measuring."""
    monkeypatch.setattr(running, "measure_limits", lambda small: Limits(1e9, 1e9, 1e9))
    monkeypatch.setattr(running.signal, "signal", lambda *_: None)
    monkeypatch.setattr(command, "BENCHMARKS", {"fake": (FAKE, 60), "again": (FAKE, 60)})


def test_names_that_there_are_not_are_refused_in_one_line(capsys):
    assert status_of("--only", "training,sound") == 2
    assert "no benchmark 'sound': choose some of training,generation" in capsys.readouterr().err


def test_a_table_without_results_is_refused(tmp_path, capsys):
    assert status_of("--table", "--output", str(tmp_path)) == 2
    assert "has no results: run python -m benchmarks first" in capsys.readouterr().err


def test_the_table_is_written_anew_from_the_files(tmp_path, capsys):
    rows = [Row("codec", "encode", 2.0, "x real time").as_json()]
    content = {"machine": CPU, "runs": {"codec": {**FACTS, "rows": rows}}}
    (tmp_path / "cpu.json").write_text(json.dumps(content))
    command.main(["--table", "--output", str(tmp_path)])
    assert "| encode | 2.00 x real time |" in (tmp_path / "RESULTS.md").read_text()


def test_a_run_without_failure_ends_well_and_tells_the_time_left(fake, tmp_path, capsys):
    assert status_of("--quick", "--only", "fake", "--output", str(tmp_path)) == 0
    printed = capsys.readouterr().out
    assert "[1/1] fake; about 1 min left in all" in printed
    assert "first: 1.50 things/s, 50% of the limit" in printed
    [file] = tmp_path.glob("*.json")
    run = json.loads(file.read_text())["runs"]["fake"]
    assert run["seconds"] > 0 and run["mode"] == "quick" and run["versions"]["torch"]


def test_one_that_fails_is_a_line_the_next_one_runs_and_the_status_is_1(
    fake, monkeypatch, tmp_path
):
    rows_of_process = running.rows_of_process

    def failing_first(name, module, mode, limits, limit):
        return rows_of_process(name, module, "fails" if name == "fake" else mode, limits, limit)

    monkeypatch.setattr(running, "rows_of_process", failing_first)
    assert status_of("--quick", "--output", str(tmp_path)) == 1
    page = (tmp_path / "RESULTS.md").read_text()
    assert page.count("| first | 1.50 things/s |") == 2
    assert "| the rest | failed |" in page and "ValueError: no such thing" in page


def test_an_interruption_keeps_what_was_measured(fake, monkeypatch, tmp_path, capsys):
    def interrupted(*_):
        yield Row("fake", "first", 1.0, "s")
        raise running.Interrupted

    monkeypatch.setattr(running, "rows_of_process", interrupted)
    assert status_of("--quick", "--output", str(tmp_path)) == 1
    assert "interrupted: what was measured is kept" in capsys.readouterr().out
    assert "| first | 1.00 s |" in (tmp_path / "RESULTS.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("name", command.BENCHMARKS)
def test_every_benchmark_runs_in_its_smallest_size(name, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--dry-run", "--only", name, "--output", tmp_path],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    [file] = tmp_path.glob("*.json")
    assert len(json.loads(file.read_text())["runs"][name]["rows"]) > 1
