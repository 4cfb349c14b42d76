"""Rows survive the file, and a file keeps what is not measured anew."""

import json

import pytest

from benchmarks.results import ResultsFile, Row, commit, read_results, slug
from musicgen_train.errors import UserError
from tests.benchmarks.small_results import CPU, FACTS, GPU

ROW = Row("codec", "encode", 4.0, "x real time", "transformers", 2.0, 2.1, 5, 8.0, 100.0)


def test_a_row_is_read_as_it_was_written():
    for row in (ROW, Row("codec", "decode", note="broken", failed=True), Row("a", "b", 0.0, "s")):
        content = json.loads(json.dumps(row.as_json()))
        assert Row.of_json(content) == row
    assert ROW.as_json()["share"] == 0.5


def rows_of(path, benchmark):
    return [row["case"] for row in read_results(path)["runs"][benchmark]["rows"]]


def test_a_benchmark_replaces_its_own_rows_alone_and_not_before_its_first(tmp_path):
    path = tmp_path / "machine.json"
    file = ResultsFile(path, CPU)
    for name in ("codec", "data"):
        file.begin(name, FACTS)
        file.add(ROW._replace(benchmark=name))
        file.end(name, 12.3)
    again = ResultsFile(path, CPU)
    assert again.seconds("codec", "quick") == 12.3 and again.seconds("codec", "full") is None
    again.begin("codec", {**FACTS, "mode": "full"})
    again.end("other", 1.0)
    assert rows_of(path, "codec") == ["encode"]
    again.add(ROW._replace(case="new"))
    again.add(ROW._replace(case="newer"))
    assert rows_of(path, "codec") == ["new", "newer"] and rows_of(path, "data") == ["encode"]
    assert read_results(path)["runs"]["codec"]["mode"] == "full"


def test_an_interrupted_run_has_no_time_of_the_run_before(tmp_path):
    file = ResultsFile(tmp_path / "machine.json", CPU)
    file.begin("codec", FACTS)
    file.add(ROW)
    file.end("codec", 10.0)
    file.begin("codec", FACTS)
    file.add(ROW)
    assert file.seconds("codec", "quick") is None


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"machine": {"cpu": ""}, "runs": {"a": 1}}'])
def test_another_file_is_refused_in_one_line(tmp_path, text):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"other\.json is no file of benchmark results"):
        ResultsFile(path, CPU)


def test_a_machine_is_named_by_its_gpu_or_its_cpu():
    assert slug(GPU) == "nvidia-h100-80gb-hbm3"
    assert slug(CPU) == "some-cpu-2-cores"


def test_the_commit_is_one_word_or_nothing():
    assert len(commit().split()) <= 1
