"""Which fine-tunings there are, and under which names new ones come."""

import json
import threading

import pytest

from musicgen_train.errors import UserError
from tests.app.finetunings_here import dropped, finetunings


def test_songs_move_into_a_new_run_which_waits_to_be_started(tmp_path):
    mine, songs = finetunings(tmp_path), dropped(tmp_path, ["a.wav", "b.wav"])
    job = mine.create("mine", songs)
    assert [song.name for song in job.songs()] == ["a.wav", "b.wav"] and songs.songs() == []
    assert json.loads((job.folder / "finetune.json").read_text()) == {
        "input_dir": str(job.folder / "songs")
    }
    assert mine.jobs() == [job] == [mine.get("mine")] and job.options() is None


def test_of_two_who_want_a_name_one_gets_it_and_no_song_is_lost(tmp_path):
    mine = finetunings(tmp_path)
    folders = [dropped(tmp_path / str(i)) for i in range(6)]
    outcomes = []

    def press(songs):
        try:
            mine.create("mine", songs)
            outcomes.append("created")
        except UserError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=press, args=(songs,)) for songs in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("created") == 1 and sum(len(s.songs()) for s in folders) == 5
    assert {o for o in outcomes if o != "created"} == {
        "the name mine is taken: choose another, such as mine_2"
    }


def test_other_runs_are_neither_shown_nor_taken(tmp_path):
    (tmp_path / "runs/training/logs").mkdir(parents=True)
    (tmp_path / "runs/a file").write_text("")
    (tmp_path / "runs/.hidden").mkdir()
    (tmp_path / "runs/.hidden/finetune.json").write_text("{}")
    mine = finetunings(tmp_path)
    assert mine.jobs() == []
    for name in ("training", ".hidden", "../x", "..", "", None, "a\0"):
        with pytest.raises(UserError):
            mine.create(name, dropped(tmp_path))
        with pytest.raises(UserError, match="no such fine-tuning"):
            mine.get(name)


def test_without_songs_nothing_is_made(tmp_path):
    with pytest.raises(UserError, match="no songs yet"):
        finetunings(tmp_path).create("mine", dropped(tmp_path, []))
    assert not (tmp_path / "runs").exists()


def test_free_names_are_free(tmp_path):
    mine = finetunings(tmp_path)
    mine.create("mine", dropped(tmp_path))
    assert mine.free_name("mine") == "mine_2" and mine.free_name("my songs") == "my_songs"
    mine.create("x" * 60, dropped(tmp_path))
    assert len(mine.free_name("x" * 99)) == 60 and mine.free_name("x" * 99).endswith("_2")


def test_where_nothing_can_be_fine_tuned_a_line_says_why(tmp_path):
    assert finetunings(tmp_path).unavailable() == ""
    from musicgen_train.app.finetunings import Finetunings

    other = Finetunings(tmp_path / "elsewhere", None, None)
    assert "called runs" in other.unavailable()
    bare = Finetunings(tmp_path / "runs", None, None, recipe=tmp_path / "recipes/finetune.py")
    assert "checkout" in bare.unavailable()
    with pytest.raises(UserError, match="checkout"):
        bare.create("mine", dropped(tmp_path))


def test_a_run_that_was_made_by_hand_breaks_nothing(tmp_path):
    for number, text in enumerate(["", "[" * 99999, "null", '{"pid": "x", "options": {"a": 1}}']):
        run = tmp_path / f"runs/hostile{number}"
        run.mkdir(parents=True)
        for file in ("app.json", "finetune.json", "status.json", "estimate.json", "app.log"):
            (run / file).write_text(text)
        (run / "songs").symlink_to("/")
    jobs = finetunings(tmp_path).jobs()
    assert len(jobs) == 4
    for job in jobs:
        status = job.status()
        assert not status.active and not status.ours
        assert (job.options(), job.songs(), job.losses(), job.samples()) == (None, [], [], [])
        assert job.training_samples() == [] and job.result().model is None
