"""A fine-tuning behind the page: the recipe as a child, found again, stopped, gone on with."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from musicgen_train.app.device_queue import DeviceQueue
from musicgen_train.app.finetune_options import FinetuneOptions
from musicgen_train.errors import UserError
from tests.app.finetunings_here import STAND_IN, Shelf, dropped, ended, finetunings, until


@pytest.fixture
def here(tmp_path):
    """The folder of a test; what still runs in it at the end is killed."""
    yield tmp_path
    for record in tmp_path.glob("runs/*/app.json"):
        pid = json.loads(record.read_text())["pid"]
        if pid and os.path.exists(f"/proc/{pid}") and STAND_IN.name in command_line(pid):
            os.kill(pid, signal.SIGKILL)


def command_line(pid):
    with open(f"/proc/{pid}/cmdline") as file:
        return file.read()


def job_of(here, **options):
    return finetunings(here, **options).create("mine", dropped(here))


def words(here, name="mine"):
    return json.loads((here / "runs" / name / "words.json").read_text())


def begun(job):
    """Wait until the child itself says that it runs."""
    return until(lambda: status if (status := job.status()).state == "running" else None)


def test_a_fine_tuning_goes_from_songs_to_its_end(here):
    shelf = Shelf()
    job = job_of(here, shelf=shelf)
    assert job.status().state == "new" and job.status().ours
    job.start(FinetuneOptions(trigger="calm, 'x'=1"))
    status = ended(job)
    assert (status.state, status.message, status.progress) == ("done", "", 1.0)
    assert status.plan is not None and status.plan.total_seconds == 65 and shelf.released == 1
    assert words(here)["words"][:4] == [
        f"input_dir={here}/runs/mine/songs", "name=mine", "base=tiny", "trigger=calm, 'x'=1",
    ]  # fmt: skip
    assert [row.caption for row in job.captions()] == ["calm"]


def test_what_the_recipe_says_is_shown_without_places_of_the_server(here):
    job = job_of(here)
    job.start(FinetuneOptions(trigger="fail"))
    status = ended(job)
    assert status.state == "failed" and status.message == "your songs/a.wav: is silent; remove it"
    assert status.log == "at work in runs/mine on your songs"


def test_a_base_that_is_a_path_is_found_from_where_the_recipe_starts(here, monkeypatch):
    (here / "models/mine").mkdir(parents=True)
    (here / "models/mine/config.json").write_text("{}")
    (here / "models/small").mkdir()  # some other folder than the model of that name
    monkeypatch.chdir(here / "models")
    job = job_of(here, shelf=Shelf({"my base": "mine", "small": "small"}))
    for label, said in (("my base", f"base={here}/models/mine"), ("small", "base=small")):
        job.start(FinetuneOptions(base=label))
        ended(job)
        assert said in words(here)["words"]
    with pytest.raises(UserError, match="not on the list"):
        job.start(FinetuneOptions(base="../models/mine"))


def test_the_servers_password_is_not_the_childs_business(here, monkeypatch):
    monkeypatch.setenv("MUSICGEN_TRAIN_PASSWORD", "secret")
    monkeypatch.setenv("GRADIO_TEMP_DIR", "/x")
    job = job_of(here)
    job.start(FinetuneOptions())
    ended(job)
    names = words(here)["environment"]
    assert "PATH" in names and not [n for n in names if n.startswith(("MUSICGEN", "GRADIO"))]


def test_an_estimate_begins_nothing_and_is_shown(here):
    job = job_of(here)
    job.start(FinetuneOptions(goal="estimate"))
    status = ended(job)
    assert status.state == "new" and status.plan is not None and status.plan.memory == 2e9
    assert not (job.folder / "status.json").exists() and "estimate=true" in words(here)["words"]


@pytest.mark.parametrize(
    "how, said",
    [
        ("refuse", "vocals cannot be taken out: say separator=none"),
        ("crash", "something went wrong in the recipe: the end of its log says what"),
        ("die", "it was killed (by the system, if the memory ran out): start goes on"),
    ],
)
def test_each_bad_end_is_told_in_a_line_and_start_goes_on(here, how, said):
    job = job_of(here)
    job.start(FinetuneOptions(trigger=how))
    status = ended(job)
    assert (status.state, status.message) == ("failed", said)
    job.start(FinetuneOptions())
    assert ended(job).state == "done"


def test_a_failure_is_forgotten_when_somebody_else_goes_on(here):
    job = job_of(here)
    job.start(FinetuneOptions(trigger="crash"))
    assert ended(job).state == "failed"
    told = json.loads((job.folder / "status.json").read_text())
    told |= {"state": "done", "updated": time.time() + 1}
    (job.folder / "status.json").write_text(json.dumps(told))
    assert job.status().state == "done"


def test_a_line_of_an_earlier_start_is_not_taken_for_this_ones(here):
    job = job_of(here)
    job.start(FinetuneOptions(trigger="refuse"))
    ended(job)
    job.start(FinetuneOptions(trigger="crash"))
    assert "something went wrong" in ended(job).message


def test_it_waits_for_its_turn_and_keeps_it_until_the_child_has_ended(here):
    queue = DeviceQueue()
    job = job_of(here, queue=queue)
    with queue.turn("music", threading.Event(), lambda before: None):
        job.start(FinetuneOptions(trigger="wait"))
        waiting = until(lambda: s if (s := job.status()).before else None)
        assert waiting.state == "waiting" and not (job.folder / "words.json").exists()
    begun(job)
    assert [(q.title, q.state) for q in queue.jobs()] == [("fine-tuning mine", "running")]
    job.stop()
    assert ended(job).state == "stopped"
    assert until(lambda: not queue.jobs())


def test_one_that_waits_can_be_taken_out_of_the_queue(here):
    queue = DeviceQueue()
    job = job_of(here, queue=queue)
    with queue.turn("music", threading.Event(), lambda before: None):
        job.start(FinetuneOptions())
        job.stop()
        assert ended(job).state == "new"
        assert len(queue.jobs()) == 1
    assert not (job.folder / "words.json").exists()


def test_what_was_stopped_goes_on_with_the_same_options(here):
    job = job_of(here)
    job.start(FinetuneOptions(trigger="wait", steps=5))
    begun(job)
    job.stop()
    assert ended(job).state == "stopped"
    options = job.options()
    assert options == FinetuneOptions(trigger="wait", steps=5)
    job.start(options)
    begun(job)
    job.stop()
    ended(job)


def test_a_child_that_does_not_stop_is_killed_when_asked_again(here, monkeypatch):
    monkeypatch.setattr("musicgen_train.app.finetune_job._PATIENCE", 0.3)
    job = job_of(here)
    job.start(FinetuneOptions(trigger="deaf"))
    until(lambda: job.status().log.endswith("deaf"))
    job.stop()
    job.stop()
    time.sleep(0.4)
    assert job.status().state == "stopping"
    job.stop()
    assert ended(job).state == "stopped"


def test_a_child_of_a_server_that_ignores_interrupts_can_be_stopped(here):
    """A script that puts a server into the background has it ignore them, and so its children."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        job = job_of(here)
        job.start(FinetuneOptions(trigger="wait"))
        begun(job)
        job.stop()
        assert ended(job).state == "stopped"
    finally:
        signal.signal(signal.SIGINT, before)


def test_nobody_starts_one_twice(here):
    mine = finetunings(here)
    mine.create("mine", dropped(here))
    outcomes = []

    def press(name):
        try:
            mine.get(name).start(FinetuneOptions(trigger="wait"))
            outcomes.append("started")
        except UserError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=press, args=("mine",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("started") == 1
    assert set(outcomes) == {"started", "mine is at work already: wait for it, or stop it first"}
    begun(mine.get("mine"))
    with pytest.raises(UserError, match="at work already"):
        mine.get("mine").add_songs(dropped(here, ["b.wav"]))
    mine.get("mine").stop()
    ended(mine.get("mine"))


def test_a_restarted_server_finds_it_keeps_its_turn_and_can_stop_it(here):
    first = finetunings(here)
    job = first.create("mine", dropped(here))
    job.start(FinetuneOptions(trigger="wait"))
    begun(job)
    assert first.close() == ["mine"]
    queue = DeviceQueue()
    again = finetunings(here, queue=queue)
    [found] = again.jobs()
    assert found.status().state == "running" and found.options() == FinetuneOptions(trigger="wait")
    assert until(lambda: [(q.title, q.state) for q in queue.jobs()]) == [
        ("fine-tuning mine", "running")
    ]
    with pytest.raises(UserError, match="at work already"):
        found.start(FinetuneOptions())
    found.stop()
    assert ended(found).state == "stopped"
    assert until(lambda: not queue.jobs())
    found.start(FinetuneOptions())
    assert ended(found).state == "done"


SERVER = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.app.finetunings_here import dropped, finetunings, until
from musicgen_train.app.finetune_options import FinetuneOptions
here = Path({here!r})
job = finetunings(here).create("mine", dropped(here))
job.start(FinetuneOptions(trigger="wait"))
until(lambda: job.status().state == "running", 60)
print("ready", flush=True)
sys.stdin.read()
"""


def test_it_goes_on_when_its_server_is_killed(here):
    root = str(STAND_IN.parents[3])
    code = SERVER.format(root=root, here=str(here))
    server = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert server.stdout is not None and server.stdout.readline() == b"ready\n"
    server.kill()
    server.communicate()
    [found] = finetunings(here).jobs()
    assert found.status().state == "running"
    found.stop()
    assert ended(found).state == "stopped"


def test_one_of_the_command_line_is_shown_and_left_alone(here):
    (here / "songs").mkdir()
    command = [sys.executable, str(STAND_IN), f"input_dir={here}/songs", "base=tiny", "name=theirs",
               "trigger=wait"]  # fmt: skip
    process = subprocess.Popen(command, cwd=here, stdout=subprocess.DEVNULL)
    try:
        until((here / "runs/theirs/status.json").is_file)
        (here / "runs/theirs/finetune.json").write_text(json.dumps({"input_dir": str(here)}))
        queue = DeviceQueue()
        [job] = finetunings(here, queue=queue).jobs()
        status = job.status()
        assert status.state == "running" and not status.ours and not queue.jobs()
        for act in (job.stop, lambda: job.start(FinetuneOptions())):
            with pytest.raises(UserError, match="command line"):
                act()
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
    told = json.loads((job.folder / "status.json").read_text())
    (job.folder / "status.json").write_text(json.dumps(told | {"updated": 1.0}))
    assert job.status().state == "stopped"


def test_no_process_is_signalled_that_is_not_the_runs_own(here):
    job = job_of(here)
    other = subprocess.Popen(["sleep", "60"])
    try:
        for pid in (other.pid, os.getpid(), 1, -1, 0):
            for file in ("app.json", "status.json"):
                told = {"pid": pid, "state": "running", "options": None}
                (job.folder / file).write_text(json.dumps(told))
            job.stop()
            job.stop()
        assert other.poll() is None and job.status().state == "stopped"
    finally:
        other.kill()
        other.wait()


def test_captions_are_saved_all_or_none(here):
    job = job_of(here)
    rows = [{"song": s, "caption": "Music", "composed": "Music", "trigger": "t"} for s in "ab"]
    place = job.folder / "captions.jsonl"
    assert job.captions() == []
    place.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert job.save_captions({"a": " calm\n piano 🎵\0 "}) == 1 and job.save_captions({}) == 0
    whole = [json.loads(line) for line in place.read_text().splitlines()]
    assert whole == [{**rows[0], "caption": "calm piano 🎵"}, rows[1]]
    before = place.read_bytes()
    for bad in ({"c": "x"}, {"b": "x" * 2001}, {"b": "\ud800"}, {"b": 5}, {"../a": ""}):
        with pytest.raises(UserError) as told:
            job.save_captions({"a": "new"} | bad)
        assert "\n" not in str(told.value) and place.read_bytes() == before


@pytest.mark.parametrize("damage", ["{", "[]", '{"song": 1, "caption": ""}', "[" * 99999, "\0"])
def test_a_damaged_line_of_captions_is_named(here, damage):
    job = job_of(here)
    (job.folder / "captions.jsonl").write_text('{"song": "a", "caption": "x"}\n' + damage + "\n")
    with pytest.raises(UserError, match=r"captions\.jsonl, line 2"):
        job.captions()


def test_captions_outside_the_run_are_neither_read_nor_written(here):
    job = job_of(here)
    outside = here / "outside.jsonl"
    outside.write_text('{"song": "a", "caption": "x"}\n')
    (job.folder / "captions.jsonl").symlink_to(outside)
    assert job.captions() == []
    with pytest.raises(UserError):
        job.save_captions({"a": "y"})
    assert "y" not in outside.read_text()


def test_a_log_that_leads_out_of_the_run_is_not_written_through(here):
    job = job_of(here)
    outside = here / "outside.log"
    outside.write_text("mine")
    (job.folder / "app.log").symlink_to(outside)
    job.start(FinetuneOptions())
    assert ended(job).state == "done" and outside.read_text() == "mine"
    assert "at work" in job.status().log
