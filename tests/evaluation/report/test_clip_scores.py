import random

import pytest

from musicgen_train.evaluation.report import clip_scores
from musicgen_train.evaluation.report.clip_scores import (
    by_badness,
    ranked,
    score_columns,
    score_sections,
    score_table,
)
from musicgen_train.evaluation.report.gallery import Gallery
from tests.evaluation.report.small_runs import clip, measured, write_run


@pytest.fixture
def clips() -> list[dict]:
    """KL grows with the number, agreement with the melody falls; the third has no chroma."""
    return [
        clip(f"{i:02d}", {"kl.judge": i / 10, "chroma.argmax": None if i == 2 else 1 - i / 10})
        for i in range(10)
    ]


@pytest.fixture
def columns(clips):
    rows = [measured("kl.judge", 0.5), measured("chroma.argmax", 0.5), measured("lm.x", 1.0)]
    return score_columns(rows, clips)


def test_only_what_clips_have_a_score_of_is_a_column(columns):
    assert [column.row.name for column in columns] == ["kl.judge", "chroma.argmax"]
    assert len(columns[1].values) == 9


def test_the_worst_come_first_whichever_way_is_better(columns):
    assert by_badness(columns[0])[0] == "09" and by_badness(columns[0])[-1] == "00"
    assert by_badness(columns[1])[0] == "09" and by_badness(columns[1])[-1] == "00"


def test_worst_and_best_share_no_clip_and_stand_beside_their_reference(clips, columns, tmp_path):
    write_run(tmp_path / "eval", [], clips)
    gallery = Gallery(tmp_path / "eval", tmp_path / "page")
    kl, chroma = score_sections(columns, clips, gallery)
    worst, best = kl["extremes"]
    assert [c["key"] for c in worst["clips"]] == ["09", "08", "07"]
    assert [c["key"] for c in best["clips"]] == ["00", "01", "02"]
    titles = [version["title"] for version in worst["clips"][0]["versions"]]
    assert titles == ["Reference", "Generated"]
    assert [c["key"] for c in chroma["extremes"][1]["clips"]] == ["00", "01", "03"]
    assert all((tmp_path / "page" / section["picture"]).is_file() for section in (kl, chroma))
    few = score_sections(score_columns([columns[0].row], clips[:3]), clips[:3], gallery)
    assert [len(row["clips"]) for row in few[0]["extremes"]] == [1, 1]


def test_beyond_its_rows_the_table_keeps_the_worst_and_the_best(
    clips, columns, tmp_path, monkeypatch
):
    monkeypatch.setattr(clip_scores, "MAX_ROWS", 4)
    write_run(tmp_path / "eval", [], clips)
    table = score_table(columns, clips, Gallery(tmp_path / "eval", tmp_path / "page"))
    assert table is not None and table["n_clips"] == 10 and table["worst_and_best_by"]
    assert [row["key"] for row in table["rows"]] == ["00", "01", "08", "09"]


def test_a_missing_value_is_empty_and_a_share_is_in_percent(clips, columns, tmp_path):
    table = score_table(columns, clips, Gallery(tmp_path, tmp_path / "page"))
    assert table is not None
    assert table["rows"][2]["cells"][1] == {"text": "–", "value": ""}
    assert table["rows"][1]["cells"][1]["text"] == "90 %"


def test_systems_are_told_apart_and_real_music_through_the_codec_is_not_ranked():
    rows = [measured(f"fad.vggish.{system}", 1.0) for system in ("text", "round_trip")]
    scores = {row.name: random.random() for row in rows}
    columns = score_columns(rows, [clip("a", scores), clip("b", scores)])
    assert [c.title for c in columns] == ["FAD VGGish, from text", "FAD VGGish, codec round trip"]
    assert [c.row.name for c in ranked(columns)] == ["fad.vggish.text"]


def test_without_scores_there_is_no_table(tmp_path):
    assert score_table([], [clip("a", {})], Gallery(tmp_path, tmp_path / "page")) is None
