"""The server: blind, resumable, closed to everything but what it hands out."""

import json
import threading

import pytest
from starlette.testclient import TestClient

from musicgen_train.evaluation.listening_test import ratings as ratings_module
from musicgen_train.evaluation.listening_test.audio_store import AudioStore
from musicgen_train.evaluation.listening_test.ratings import RatingsFile
from musicgen_train.evaluation.listening_test.server import HEADERS, create_app
from musicgen_train.evaluation.listening_test.sessions import Sessions
from musicgen_train.evaluation.listening_test.trials import ListeningTest, match_prompts, plan
from tests.evaluation.listening_test.small_listening import SYSTEMS, TEXTS, write_systems

QUESTIONS = ("overall", "relevance", "melody")


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """Three prompts, two systems, all questions."""
    root = tmp_path_factory.mktemp("systems")
    folders = dict(zip(SYSTEMS, write_systems(root), strict=True))
    prompts = match_prompts(folders, TEXTS, root / "melodies").prompts
    return ListeningTest(tuple(prompts), tuple(SYSTEMS), QUESTIONS)


@pytest.fixture
def client(asked, tmp_path):
    """A client of a fresh server; `.ratings` and `.test` are the server's."""
    (tmp_path / "store").mkdir()
    return client_of(asked, tmp_path)


def client_of(test, tmp_path):
    ratings = RatingsFile(tmp_path / "ratings.jsonl")
    sessions = Sessions(test, AudioStore(tmp_path / "store"), ratings)
    client = TestClient(create_app(sessions), base_url="http://127.0.0.1:7861")
    client.ratings, client.test = ratings, test
    return client


def state(client, listener="ada"):
    return client.post("/api/state", json={"listener": listener}).json()


def answer(trial, points=50, **changes):
    given = {
        "listener": "ada",
        "trial": trial["id"],
        "ratings": {question: [points] * len(trial["clips"]) for question in QUESTIONS},
        "heard": [clip["duration"] for clip in trial["clips"]],
        "seconds": 9.5,
    }
    return {**given, **changes}


def test_a_listener_rates_every_trial_and_each_answer_is_stored_as_given(client):
    shown = state(client)
    for done in range(3):
        assert (shown["done"], shown["total"]) == (done, 3)
        trial = shown["trial"]
        points = {q: [10 * done + i + 1 for i in range(2)] for q in QUESTIONS}
        shown = client.post("/api/ratings", json=answer(trial, ratings=points)).json()
    assert shown["trial"] is None and shown["done"] == 3
    rows = client.ratings.read().ratings
    assert len(rows) == 3 * 2 * 3
    for trial in plan(client.test, "ada"):
        for place, system in enumerate(trial.systems):
            found = [r for r in rows if (r.name, r.system) == (trial.prompt.name, system)]
            assert {r.question for r in found} == set(QUESTIONS)
            for row in found:
                assert (row.trial, row.position, row.seconds) == (trial.number, place + 1, 9.5)
                assert row.rating == 10 * (trial.number - 1) + place + 1
                assert row.loudness == pytest.approx(-23, abs=0.05)


def test_nothing_that_reaches_the_browser_tells_the_system(client):
    shown = client.post("/api/state", json={"listener": "ada"})
    trial = shown.json()["trial"]
    clips = [client.get(clip["url"]) for clip in trial["clips"]]
    everything = "".join(
        [client.get(path).text for path in ("/", "/page.js", "/page.css")]
        + [shown.text, *(str(sorted(clip.headers.items())) for clip in clips)]
    )
    for word in (*SYSTEMS, *(name for name in TEXTS if name != "one"), ".flac"):
        assert word not in everything
    assert len({clip.headers["content-length"] for clip in clips}) == 1
    assert len({clip.headers["last-modified"] for clip in clips}) == 1
    assert clips[0].content[:44] == clips[1].content[:44]
    assert clips[0].content != clips[1].content
    assert len({clip["duration"] for clip in trial["clips"]}) == 1


def test_ids_are_another_s_for_every_listener_and_trial(client):
    ada, bo = (state(client, name)["trial"] for name in ("ada", "bo"))
    after = client.post("/api/ratings", json=answer(ada)).json()["trial"]
    urls = [c["url"] for trial in (ada, bo, after) for c in (*trial["clips"], trial["melody"])]
    assert len(set(urls)) == 9
    assert client.get(ada["clips"][0]["url"]).status_code == 404  # is over


def test_a_reload_and_a_restart_go_on_where_the_listener_was(client, tmp_path):
    first = state(client)["trial"]
    assert state(client)["trial"] == first
    second = client.post("/api/ratings", json=answer(first)).json()
    again = state(client_of(client.test, tmp_path))
    assert (again["done"], again["trial"]["text"]) == (1, second["trial"]["text"])
    assert again["trial"]["id"] != second["trial"]["id"]


def test_the_same_ratings_sent_twice_are_stored_once(client):
    trial = state(client)["trial"]
    answers = [client.post("/api/ratings", json=answer(trial)).status_code for _ in range(2)]
    assert answers == [200, 409]
    assert len(client.ratings.path.read_text().splitlines()) == 6


def test_listeners_at_the_same_time_do_not_disturb_each_other(client):
    def listen(name):
        shown = state(client, name)
        while shown["trial"]:
            given = answer(shown["trial"], listener=name)
            shown = client.post("/api/ratings", json=given).json()

    names = [f"listener {i}" for i in range(4)]
    threads = [threading.Thread(target=listen, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = client.ratings.read().ratings
    assert len(rows) == 4 * 18 and {row.listener for row in rows} == set(names)


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"heard": [1.0, 0.0]}, "Listen to clip B"),
        ({"heard": [1.0]}, "Listen to every clip"),
        ({"heard": [1.0, "1"]}, "times that are none"),
        ({"heard": [1.0, 10**400]}, "times that are none"),
        ({"seconds": -1}, "times that are none"),
        ({"ratings": {"overall": [50, 50]}}, "Answer every question"),
        ({"ratings": {q: [50] for q in QUESTIONS}}, "Rate every clip"),
        ({"ratings": {q: [50, None] for q in QUESTIONS}}, "from 1 to 100"),
        ({"ratings": {q: [50, 0] for q in QUESTIONS}}, "from 1 to 100"),
        ({"ratings": {q: [50, 101] for q in QUESTIONS}}, "from 1 to 100"),
        ({"ratings": {q: [50, 50.5] for q in QUESTIONS}}, "from 1 to 100"),
        ({"ratings": {q: [50, True] for q in QUESTIONS}}, "from 1 to 100"),
        ({"listener": "a\u0007b"}, "letters and digits"),
        ({"listener": "x" * 61}, "at most 60"),
        ({"listener": 5}, "Type a name"),
    ],
)
def test_answers_that_are_not_whole_are_refused_and_not_stored(client, changes, told):
    trial = state(client)["trial"]
    response = client.post("/api/ratings", json=answer(trial, **changes))
    assert response.status_code == 400 and told in response.json()["error"]
    assert not client.ratings.path.exists()
    assert client.post("/api/ratings", json=answer(trial)).status_code == 200


def test_a_trial_of_another_listener_cannot_be_rated(client):
    trial = state(client, "bo")["trial"]
    assert client.post("/api/ratings", json=answer(trial)).status_code == 409


def test_a_full_disk_is_told_and_the_trial_can_be_sent_again(client, monkeypatch):
    trial = state(client)["trial"]

    def full_disk(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(ratings_module.os, "fsync", full_disk)
        response = client.post("/api/ratings", json=answer(trial))
    assert response.status_code == 507 and "No space left" in response.json()["error"]
    assert client.ratings.read().ratings == []
    assert client.post("/api/ratings", json=answer(trial)).status_code == 200


def test_requests_that_are_no_json_too_large_or_from_elsewhere_are_refused(client):
    post = client.post
    kind = {"content-type": "application/json"}
    assert post("/api/state", data={"listener": "ada"}).status_code == 415
    assert post("/api/state", content=b"{", headers=kind).status_code == 400
    assert post("/api/state", content=b"[]", headers=kind).status_code == 400
    assert post("/api/state", content=b"[" * 60_000, headers=kind).status_code == 400
    large = json.dumps({"listener": "x" * 70_000})
    assert post("/api/state", content=large, headers=kind).status_code == 413
    assert client.get("/", headers={"host": "evil.example"}).status_code == 400
    assert client.get("/", headers={"host": "localhost:7861"}).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/audio/x", "/audio/../ratings.jsonl", "/audio/..%2Fratings.jsonl", "/page.html.jinja",
        "/results.html.jinja", "/audio/%2Fetc%2Fpasswd", "/etc/passwd", "/audio/",
    ],
)  # fmt: skip
def test_no_path_leads_to_a_file_that_was_not_handed_out(client, path):
    state(client)
    assert client.get(path).status_code == 404


def test_sounds_can_be_read_in_parts_as_players_do(client):
    url = state(client)["trial"]["clips"][0]["url"]
    whole = client.get(url)
    part = client.get(url, headers={"range": "bytes=100-199"})
    assert whole.headers["content-type"] == "audio/wav"
    assert part.status_code == 206 and part.content == whole.content[100:200]


def test_every_answer_forbids_what_comes_from_elsewhere(client):
    for path in ("/", "/results", "/nowhere", state(client)["trial"]["melody"]["url"]):
        headers = client.get(path).headers
        assert {name: headers[name] for name in HEADERS} == HEADERS


def test_the_results_show_who_was_preferred_and_escape_names(client):
    assert "no ratings yet" in client.get("/results").text
    trial = state(client, "<i>bo</i>")["trial"]
    order = plan(client.test, "<i>bo</i>")[0].systems
    given = {q: [90, 20] for q in QUESTIONS}
    client.post("/api/ratings", json=answer(trial, ratings=given, listener="<i>bo</i>"))
    found = client.get("/results.json").json()
    assert found["questions"]["overall"]["systems"][order[0]]["mean"] == 90
    page = client.get("/results").text
    assert f"{order[0]} &gt; {order[1]}" in page and "<i>bo" not in page


def test_without_a_name_a_listener_gets_one_to_come_back_with(client):
    name = state(client, "  ")["listener"]
    assert name.startswith("anonymous-") and name != state(client, "")["listener"]
    assert state(client, name)["listener"] == name
    assert state(client, " Ada\u00a0 L ")["listener"] == "Ada L"


def test_a_clip_that_turns_out_to_be_broken_takes_its_trial_away_and_no_other(
    asked, tmp_path, capsys
):
    (tmp_path / "store").mkdir()
    first = plan(asked, "ada")[0].prompt
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF")
    clips = {**first.clips, next(iter(SYSTEMS)): broken}
    prompts = tuple(p._replace(clips=clips) if p == first else p for p in asked.prompts)
    client = client_of(ListeningTest(prompts, asked.systems, QUESTIONS), tmp_path)
    shown = state(client)
    assert (shown["done"], shown["total"]) == (0, 2) and shown["trial"]
    assert "broken.wav" in capsys.readouterr().err
