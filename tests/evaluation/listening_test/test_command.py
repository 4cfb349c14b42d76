"""The command: what it refuses in one line, tells when it starts, and reports."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from musicgen_train.evaluation.listening_test import __main__ as command
from musicgen_train.evaluation.listening_test.ratings import RatingsFile
from tests.evaluation.listening_test.small_listening import rating, write_systems, write_tone

ROOT = Path(__file__).parents[3]


def refusal(capsys, *argv):
    with pytest.raises(SystemExit) as raised:
        command.main([str(word) for word in argv])
    assert raised.value.code == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert told[-1].startswith("error: ")
    return told[-1]


def test_help_loads_no_heavy_library():
    code = (
        "import runpy, sys\n"
        "sys.argv = ['x', '--help']\n"
        "name = 'musicgen_train.evaluation.listening_test'\n"
        "try: runpy.run_module(name, run_name='__main__')\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'scipy', 'starlette', 'uvicorn', 'soundfile'}\n"
        "print('loaded', sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert "loaded []" in done.stdout, done.stdout[-300:] + done.stderr[-300:]
    assert "--melodies" in done.stdout


@pytest.mark.parametrize(
    "options, told",
    [
        ([], "at least one folder"),
        (["{small}", "--questions", "taste"], "use some of overall, relevance, melody"),
        (["{small}", "--questions", "relevance"], "needs --texts"),
        (["{small}", "--questions", "melody"], "needs --melodies"),
        (["{small}", "--n-trials", "0"], "--n-trials 0: give a number from 1"),
        (["{small}", "--port", "70000"], "--port 70000: give a number"),
        (["{root}/none"], "no such folder"),
        (["{small}", "{small}"], "is there twice"),
        (["{small}", "{other}"], "no clip is left to rate"),
        (["{small}", "--texts", "{root}/none.json"], "no such file of texts"),
        (["--report", "--ratings", "{root}/none.jsonl"], "no such file"),
        (["--report", "--ratings", "{root}/empty.jsonl"], "holds no ratings"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(tmp_path, capsys, options, told):
    small, _ = write_systems(tmp_path, duration=0.1)
    write_tone(tmp_path / "other" / "nine.wav", 16000, 0.1, 0.1)
    (tmp_path / "empty.jsonl").write_text("")
    names = {"root": tmp_path, "small": small, "other": tmp_path / "other"}
    words = [word.format(**names) for word in options]
    assert told in refusal(capsys, "--port", "0", *words)


def test_a_port_that_is_taken_is_told(tmp_path, capsys):
    from musicgen_train.evaluation.listening_test.server import bind

    with bind(0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        assert f"--port {port} cannot be used" in refusal(capsys, tmp_path, "--port", port)


def test_what_is_left_out_or_cut_is_told_before_the_test(tmp_path, capsys):
    small, large = write_systems(tmp_path, duration=0.2)
    write_tone(small / "alone.wav", 16000, 0.1, 0.2)
    write_tone(large / "two.flac", 16000, 0.1, 0.9)
    (small / "one.wav").write_bytes((small / "one.wav").read_bytes()[:100])
    args = command.parser().parse_args([str(small), str(large)])
    test = command.listening_test(args)
    assert [prompt.name for prompt in test.prompts] == ["deep/three", "two"]
    told = capsys.readouterr().err
    assert "left out 1, no clip in secret_large: alone" in told
    assert "left out one: " in told and "truncated" in told
    assert "lest the length tell: 1: two" in told


def test_the_report_needs_the_ratings_alone_and_writes_what_it_shows(tmp_path, capsys):
    path = tmp_path / "r.jsonl"
    RatingsFile(path).append(
        [
            rating(name=str(i), system=system, points=points + i)
            for i in range(8)
            for system, points in (("a", 60), ("b", 30))
        ]
    )
    path.write_bytes(path.read_bytes() + b'{"half')
    command.main(["--report", "--ratings", str(path)])
    shown = " ".join(capsys.readouterr().out.split())
    assert "63.5 (" in shown and "100 % (100 to 100)" in shown and "0.008" in shown
    assert "One listener" in shown and "line 17: half-written" in shown
    written = json.loads((tmp_path / "r.report.json").read_text())
    (pair,) = written["questions"]["overall"]["pairs"]
    assert (pair["first"], pair["wins"], pair["preferred"]) == ("a", 8, 1.0)
    command.main(["a", "--report", "--ratings", str(path)])
    assert "8 ratings of b are left out" in " ".join(capsys.readouterr().out.split())
