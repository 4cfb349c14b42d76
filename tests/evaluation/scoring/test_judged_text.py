from types import SimpleNamespace

import pytest
import torch

from musicgen_train.evaluation.comparison import Comparison, Prompt, System
from musicgen_train.evaluation.scoring.judged_text import JudgedTextScorer
from tests.evaluation.scoring.synthetic import NamedEmbedder, compared, made_up

LABELS = {
    "instrument": ["flute", "piano", "violin", "organ"],
    "genre": ["folk", "jazz", "rock", "latin"],
    "tempo": ["slow", "middle", "fast", "faster"],
}
TEMPOS = ("90 bpm", "110 bpm", "125 bpm", "150 bpm")


def judge_of(labels=LABELS) -> NamedEmbedder:
    judge = NamedEmbedder("judge")
    judge.judge = SimpleNamespace(labels=labels, tempo_edges=[104.0, 119.0, 132.0])
    return judge


def says(*places: int, heads=LABELS) -> dict:
    """What the judge hears in a clip: a label of each head."""
    return {
        f"logits.{head}": 9.0 * torch.eye(4)[place][None]
        for head, place in zip(heads, places, strict=True)
    }


def wants(*places: int) -> Prompt:
    instrument, genre, tempo = places
    return Prompt(
        wanted={"instrument": LABELS["instrument"][instrument], "genre": LABELS["genre"][genre],
                "tempo": TEMPOS[tempo]},
    )  # fmt: skip


def measured(comparison, judge) -> dict:
    return {row.name: row for row in JudgedTextScorer(comparison, judge).measurements()}


def balanced() -> dict[str, tuple[int, int, int]]:
    """As many clips of every label, no two alike."""
    return {f"{i}{j}": (i, j, (i + j) % 4) for i in range(4) for j in range(4)}


def test_a_clip_that_is_the_real_one_is_heard_as_asked_and_another_text_as_chance(tmp_path):
    judge, wanted = judge_of(), balanced()
    clips = {name: says(*places) for name, places in wanted.items()}
    sets = made_up(tmp_path, "ours", judge, clips), made_up(tmp_path, "real", judge, clips)
    rows = measured(compared(*sets, {n: wants(*places) for n, places in wanted.items()}), judge)
    assert set(rows) == {
        "text.control", "text.control_of_real", "text.instrument", "text.genre", "text.tempo"
    }  # fmt: skip
    for name, row in rows.items():
        assert row.value == row.good_end == 1.0 and row.n_clips == 16, name
        assert row.bad_end == pytest.approx(0.2, abs=0.02), name  # of 15 others 3 have the label
        assert name == "text.control_of_real" or row.others["chance"] == 0.25
    assert rows["text.control"].interval is None  # all agree


def test_text_control_is_the_mean_of_what_was_asked_for_and_stands_beside_real_music(tmp_path):
    judge = judge_of()
    heard = {"a": says(0, 0, 0), "b": says(1, 0, 0)}
    real = {"a": says(0, 0, 0), "b": says(1, 0, 3)}
    prompts = {
        "a": Prompt(wanted={"instrument": "flute", "genre": "jazz", "tempo": "150 bpm"}),
        "b": Prompt(wanted={"instrument": "piano", "genre": "folk", "tempo": None}),
    }
    sets = made_up(tmp_path, "ours", judge, heard), made_up(tmp_path, "real", judge, real)
    rows = measured(compared(*sets, prompts), judge)
    control = rows["text.control"]
    assert control.per_clip == pytest.approx({"a": 1 / 3, "b": 1.0})
    assert (control.value, control.good_end) == pytest.approx((2 / 3, 2 / 3))
    assert rows["text.control_of_real"].value == pytest.approx(1.0)
    low, high = rows["text.control_of_real"].interval
    assert low <= 1.0 <= high
    tempo = rows["text.tempo"]
    assert (tempo.value, tempo.n_clips) == (0.0, 1)
    assert tempo.settings["dropped"] == {"b": "asks for no tempo that the judge knows"}
    assert "tempo_words" in tempo.settings and "tempo_words" in control.settings


def test_what_is_half_of_real_music_is_said_to_be_half(tmp_path):
    judge, wanted = judge_of(), balanced()
    prompts = {n: wants(*places) for n, places in wanted.items()}
    real = {n: says(*places) for n, places in wanted.items()}
    ours = {n: says(*(places if int(n) % 2 else ((i + 1) % 4 for i in places)))
            for n, places in wanted.items()}  # fmt: skip
    sets = made_up(tmp_path, "ours", judge, ours), made_up(tmp_path, "real", judge, real)
    rows = measured(compared(*sets, prompts), judge)
    assert rows["text.control_of_real"].value == pytest.approx(0.5)
    low, high = rows["text.control_of_real"].interval
    assert 0.1 < low < 0.5 < high < 0.9


def test_what_nobody_asks_for_has_no_row_and_what_the_judge_does_not_know_is_named(tmp_path):
    judge = judge_of()
    ours = made_up(tmp_path, "text", judge, {"a": says(0, 0, 0), "b": says(0, 0, 0)})
    real = made_up(tmp_path, "real", judge, {"other": says(0, 0, 0)})
    wanted = {"a": {"genre": "folk"}, "b": {"genre": "ska"}}
    comparison = Comparison(
        [System("text", "from text", ours)], real, real,
        prompts={name: Prompt(wanted=asked) for name, asked in wanted.items()},
    )  # fmt: skip
    rows = measured(comparison, judge)
    assert list(rows) == ["text.genre"]
    genre = rows["text.genre"]
    assert (genre.value, genre.n_clips, genre.good_end, genre.bad_end) == (1.0, 1, None, None)
    assert genre.settings["dropped"] == {"b": "asks for no genre that the judge knows"}


def test_the_round_trip_and_an_untrained_model_stand_beside_and_have_no_rows(tmp_path):
    judge = judge_of()
    prompts = {"a": wants(0, 0, 0), "b": wants(1, 1, 1)}
    right = {"a": says(0, 0, 0), "b": says(1, 1, 1)}
    wrong = {"a": says(3, 3, 3), "b": says(3, 3, 3)}
    real, trip = (made_up(tmp_path, t, judge, right) for t in ("real", "trip"))
    ours, fresh = (made_up(tmp_path, t, judge, wrong) for t in ("ours", "fresh"))
    comparison = Comparison(
        [System("text", "from text", ours), System("round_trip", "codec", trip),
         System("melody", "with melody", trip, with_melody=True)],
        real, real, ceiling=fresh, prompts=prompts, round_trip=trip,
    )  # fmt: skip
    rows = measured(comparison, judge)
    assert all(name.count(".") == 1 for name in rows)
    assert rows["text.control"].others["through the codec"] == 1.0
    assert rows["text.control"].others["untrained"] == rows["text.control"].value == 0.0
