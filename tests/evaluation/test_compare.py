import io
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from musicgen_train.evaluation.compare import main
from musicgen_train.evaluation.report.compare_words import difference_lines, print_comparison
from musicgen_train.evaluation.report.run_comparison import (
    clearly_better,
    compare_metric,
    compare_runs,
    paired_difference,
)
from musicgen_train.evaluation.report.runs import read_runs, same_prompts
from tests.evaluation.report.small_runs import clip, measured, write_run, write_tone

N = 40


def scored(shift: float = 0.0, n: int = N, texts: str = "a song", **fields) -> list[dict]:
    """Clips whose KL varies by 1 from clip to clip, and by a hundredth beside that."""
    rng, noise = random.Random(1), random.Random(shift)
    return [
        clip(f"{i:03d}", {"kl.judge": 2 + rng.random() + shift + 0.01 * noise.random()}, texts,
             **fields)
        for i in range(n)
    ]  # fmt: skip


def kl(value: float, low: float, high: float, **fields):
    return measured("kl.judge", value, interval=(low, high), **fields)


@pytest.fixture
def folders(tmp_path) -> list[Path]:
    """Two runs whose intervals overlap though each clip of the second is worse."""
    one = write_run(tmp_path / "one", [kl(2.5, 2.4, 2.6)], scored(), {"cfg_coef": 3.0})
    two = write_run(tmp_path / "two", [kl(2.55, 2.45, 2.65)], scored(0.05), {"cfg_coef": 1.0})
    return [one, two]


@pytest.mark.parametrize(
    "better, first, second, expected",
    [
        ("lower", (1.0, 0.9, 1.1), (1.5, 1.3, 1.7), True),
        ("lower", (1.0, 0.9, 1.4), (1.5, 1.3, 1.7), False),
        ("lower", (1.5, 1.3, 1.7), (1.0, 0.9, 1.1), False),
        ("higher", (1.5, 1.3, 1.7), (1.0, 0.9, 1.1), True),
        ("neither", (1.0, 0.9, 1.1), (1.5, 1.3, 1.7), False),
    ],
)
def test_only_intervals_that_lie_apart_make_a_run_better(better, first, second, expected):
    one, other = (kl(*figures, better=better) for figures in (first, second))
    assert clearly_better(one, other) is expected


def test_overlapping_intervals_are_no_clear_difference_but_pairs_tell_it(folders):
    compared = compare_runs(read_runs(folders))
    (metric,), (pair,) = compared.metrics, compared.paired
    assert metric.best == "" and metric.verdict == "no clear difference"
    assert pair.n_clips == N and pair.verdict == "one better"
    assert pair.interval is not None and 0 < pair.interval[0] < 0.05 < pair.interval[1] < 0.06
    assert pair.difference == pytest.approx(0.05, abs=0.003)


def test_a_run_beside_a_copy_of_itself_differs_in_nothing(folders, tmp_path):
    copy = write_run(tmp_path / "copy", [kl(2.5, 2.4, 2.6)], scored())
    (pair,) = compare_runs(read_runs([folders[0], copy])).paired
    assert pair.difference == 0 and pair.verdict == "no clear difference"


def test_swapping_the_runs_turns_the_difference_and_keeps_the_verdict(folders):
    one, two = read_runs(folders)
    keys = same_prompts(one, two)
    row = one.rows["kl.judge"]
    there, back = (paired_difference(row, *pair, keys) for pair in ((one, two), (two, one)))
    assert there is not None and back is not None
    assert there.difference == pytest.approx(-back.difference)
    assert there.verdict == back.verdict == "one better"


def test_few_pairs_bring_no_verdict(folders):
    one, two = read_runs(folders)
    found = paired_difference(one.rows["kl.judge"], one, two, ["000", "001", "002"])
    assert found is not None and found.n_clips == 3 and "no verdict" in found.verdict


def test_clips_of_other_texts_or_other_real_music_are_no_pairs(folders, tmp_path):
    clips = scored()
    clips[0]["description"] = "another text"
    clips[1]["facts"]["reference"] = {"duration": 0.5, "rms": 0.2}
    clips[2]["segment"] = "another segment"
    other = write_run(tmp_path / "other", [kl(2.5, 2.4, 2.6)], clips)
    compared = compare_runs(read_runs([folders[0], other]))
    assert compared.paired[0].n_clips == N - 3
    assert f"one and other share {N - 3} of {N} prompts." in compared.notes


def test_runs_on_other_prompts_are_not_compared(folders, tmp_path):
    other = write_run(tmp_path / "other", [kl(1.0, 0.9, 1.1)], scored(texts="other texts"))
    compared = compare_runs(read_runs([folders[0], other]))
    assert compared.metrics[0].verdict == "not comparable" and not compared.paired
    assert "prompts: 40, here 0 of these" in difference_lines(compared)[0]


def test_a_run_of_another_protocol_is_set_apart_and_the_others_are_compared(tmp_path):
    figures = {"a": (3.0, 2.9, 3.1), "b": (2.0, 1.9, 2.1), "c": (1.0, 0.9, 1.1)}
    folders = [
        write_run(tmp_path / name, [kl(*figure, settings={"resampler": name == "c"})])
        for name, figure in figures.items()
    ]
    metric = compare_metric("kl.judge", read_runs(folders))
    assert metric.best == "b" and metric.verdict == "b better (c not comparable)"
    assert [str(d) for d in metric.differences["c"]] == ["resampler: False, here True"]


def test_the_best_of_three_is_best_only_apart_from_every_other(tmp_path):
    figures = {"a": (3.0, 2.9, 3.1), "b": (2.0, 1.9, 2.1), "c": (2.1, 2.0, 2.2)}
    folders = [write_run(tmp_path / name, [kl(*f)]) for name, f in figures.items()]
    metric = compare_metric("kl.judge", read_runs(folders))
    assert metric.best == "" and metric.verdict == "no clear difference between b, c"


def test_without_an_interval_or_a_value_there_is_no_verdict(tmp_path):
    folders = [
        write_run(tmp_path / name, [measured("fad.x", value)])
        for name, value in (("a", 1.0), ("b", 2.0))
    ]
    assert "no interval" in compare_metric("fad.x", read_runs(folders)).verdict
    lost = write_run(tmp_path / "c", [measured("fad.x", float("nan"))])
    assert compare_metric("fad.x", read_runs([folders[0], lost])).verdict == "not measurable"


def test_the_page_shows_figures_players_and_what_was_set_otherwise(folders, tmp_path, capsys):
    output = tmp_path / "out"
    main([*map(str, folders), "--output", str(output), "--clips", "2"])
    text, told = (output / "index.html").read_text(), capsys.readouterr().out
    assert "no clear difference" in text and "one better" in text and "cfg_coef" in text
    for number in ("0", "1"):
        assert f"audio/{number}/generated/001.wav" in text
        assert (output / "audio" / number / "generated" / "001.wav").is_file()
    assert "generated/002.wav" not in text
    assert f"comparison: {output / 'index.html'}" in told and "[2.40, 2.60]" in told
    stored = json.loads((output / "comparison.json").read_text())
    assert stored["paired"][0]["verdict"] == "one better"
    main([*map(str, folders), "--output", str(output), "--names", "x,y"])  # replaces its own
    assert "x better" in (output / "index.html").read_text()


def codec_run(folder: Path, shift: float) -> Path:
    """A codec's evaluation as it is written: clips in order of their distance, files beside."""
    rows = [measured("codec.mel_distance", 1 + shift, interval=(0.5, 2.0))]
    write_run(folder, rows, [])
    stored = json.loads((folder / "metrics.json").read_text())
    names = [f"{i}.wav" for i in range(20)]
    stored["files"] = [
        {"name": n, "track": n, "mel_distance": i / 20 + shift, "usage": [1.0]}
        for i, n in enumerate(names)
    ]
    shown = names[:4] if shift else names[3::-1]
    for number, name in enumerate(shown):
        audio = {kind: f"audio/{kind}/{number}.wav" for kind in ("reference", "reconstruction")}
        entry = {"key": str(number), "segment": name, "description": name, "audio": audio}
        stored["clips"].append(entry)
        for place in audio.values():
            write_tone(folder / place)
    (folder / "metrics.json").write_text(json.dumps(stored))
    return folder


def test_codecs_are_compared_file_by_file_whatever_the_order_of_their_clips(tmp_path):
    folders = [codec_run(tmp_path / "a", 0.0), codec_run(tmp_path / "b", 0.1)]
    (pair,) = compare_runs(read_runs(folders)).paired
    assert pair.n_clips == 20 and pair.difference == pytest.approx(0.1)
    assert pair.verdict == "a better"
    main([*map(str, folders), "--output", str(tmp_path / "out")])
    text = (tmp_path / "out" / "index.html").read_text()
    assert text.index("audio/0/reconstruction/0.wav") < text.index("audio/1/reconstruction/3.wav")


def test_names_are_as_much_of_the_paths_as_tells_them_apart(tmp_path):
    places = [tmp_path / "a" / "eval", tmp_path / "b" / "eval"]
    runs = read_runs([write_run(place, [kl(1, 0.5, 1.5)]) for place in places])
    assert [run.name for run in runs] == ["a/eval", "b/eval"]


def test_hostile_names_and_texts_are_only_text(folders, tmp_path):
    for folder in folders:
        stored = json.loads((folder / "metrics.json").read_text())
        stored["clips"][0]["description"] = "<script>alert(1)</script> [bold]x[/]"
        (folder / "metrics.json").write_text(json.dumps(stored))
    names = "<b>,[red]x[/nope]"
    main([*map(str, folders), "--output", str(tmp_path / "out"), "--names", names])
    text = (tmp_path / "out" / "index.html").read_text()
    assert "<script>alert" not in text and "<b>" not in text


def broken(folder: Path, content: str) -> str:
    folder.mkdir()
    (folder / "metrics.json").write_text(content)
    return str(folder)


def test_what_cannot_be_compared_is_said_in_one_line(folders, tmp_path, capsys):
    one, two = map(str, folders)
    other = str(write_run(tmp_path / "other", [measured("fad.x", 1.0)]))
    (tmp_path / "file").write_text("")
    cases = [
        ([one], "one run alone"),
        ([one, str(tmp_path / "absent")], "no metrics.json in"),
        ([one, broken(tmp_path / "damaged", '{"format": 2, "metr')], "is damaged"),
        ([one, broken(tmp_path / "old", '{"format": 1}')], "has format 1"),
        ([one, two, f"{one}/../one"], "is given twice"),
        ([one, other], "no metric in common"),
        ([one, two, "--names", "a"], "give 2 different names"),
        ([one, two, "--names", "a,a"], "give 2 different names"),
        ([one, two, "--clips", "-1"], "use a number from 0 on"),
        ([one, two, "--output", one], "is one of the runs"),
        ([one, two, "--output", str(tmp_path)], "holds something else"),
        ([one, two, "--output", str(tmp_path / "file")], "is a file"),
    ]
    for arguments, complaint in cases:
        if "--output" not in arguments:
            arguments = [*arguments, "--output", str(tmp_path / "out")]
        with pytest.raises(SystemExit) as left:
            main(arguments)
        said = capsys.readouterr().err
        assert left.value.code == 2 and complaint in said and said.count("\n") == 1, said
    assert not (tmp_path / "out").exists()


def test_long_names_leave_every_number_whole_on_the_terminal(folders):
    console = Console(file=io.StringIO(), width=80, color_system=None)
    print_comparison(compare_runs(read_runs(folders, ["a" * 60, "b" * 60])), console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "[2.40, 2.60]" in text and "…" not in text
    assert all(len(line.rstrip()) <= 80 for line in text.splitlines())


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from musicgen_train.evaluation.compare import parser; "
        "parser().format_help(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
