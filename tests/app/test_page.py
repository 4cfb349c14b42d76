"""The page over HTTP: its one documented call, and all that it must refuse."""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import httpx
import pytest
import soundfile
from gradio_client import Client, handle_file

from musicgen_train.app.request import LONGEST_TEXT
from musicgen_train.app.takes import read_settings
from tests.app.finetunings_here import wav
from tests.app.served_page import served

CALL = "/generate"
META = {"_type": "gradio.FileData"}
SECRET = "nobody may read this"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def page(folder):
    with served(folder, max_duration=10.0, max_upload_bytes=2_000_000) as running:
        yield running


@pytest.fixture(scope="module")
def client(page, folder):
    return Client(page.url, verbose=False, download_files=str(folder / "downloads"))


@pytest.fixture(scope="module")
def secret(folder):
    path = folder / "secret.wav"
    path.write_text(SECRET)
    return path


def api(page, path):
    return f"{page.url}gradio_api{path}"


def asked(page, name, data, **headers):
    """What a call of any client ends with: (event, content)."""
    begun = httpx.post(api(page, f"/call/{name}"), json={"data": data}, headers=headers)
    if begun.status_code != 200:
        return begun.status_code, begun.text
    said = httpx.get(api(page, f"/call/{name}/{begun.json()['event_id']}"), timeout=120).text
    event, _, content = said.strip().rpartition("event: ")[2].partition("\ndata: ")
    return event, content


def words(**changed):
    """The data of a call, in its order."""
    values = {
        "text": "calm piano", "duration": 1.0, "model": "tiny", "melody": None, "prompt": None,
        "prompt_duration": None, "negative_text": "", "variants": 1, "seed": 5, "cfg_coef": 3.0,
        "temperature": 1.0, "top_k": 250, "top_p": 0.0, "adapters": {}, "separate": False,
        "format": "wav",
    }  # fmt: skip
    assert changed.keys() <= values.keys(), changed
    return list((values | changed).values())


def test_a_call_gives_a_file_for_each_variant_and_the_settings_that_make_it_again(client):
    files, settings = client.predict(
        text="calm piano", duration=1.0, seed=5, variants=2, api_name=CALL
    )
    assert [one["seed"] for one in settings] == [5, 6]
    assert [one["text"] for one in settings] == ["calm piano"] * 2
    for file, own in zip(files, settings, strict=True):
        assert soundfile.info(file).duration == pytest.approx(1.0, abs=0.05)
        assert read_settings(file) == own
    again, _ = client.predict(text="calm piano", duration=1.0, seed=6, format="flac", api_name=CALL)
    assert Path(again[0]).suffix == ".flac"
    first, second = soundfile.read(files[1])[0], soundfile.read(again[0])[0]
    assert first.shape == second.shape
    assert abs(first - second).max() < 1e-3


def test_a_call_takes_a_melody_and_a_clip_to_continue(client, folder):
    tune = wav(folder / "a tune.wav", 2.0, 16_000, 400)
    _, settings = client.predict(duration=1.0, melody=handle_file(tune), seed=1, api_name=CALL)
    assert settings[0]["melody"] == "a tune.wav"
    files, settings = client.predict(
        duration=2.0, prompt=handle_file(tune), prompt_duration=1.0, seed=1, api_name=CALL
    )
    assert settings[0]["prompt"] == "a tune.wav"
    assert soundfile.info(files[0]).duration == pytest.approx(2.0, abs=0.05)


def test_two_plain_requests_do_as_well(page):
    asked_for = {"text": "calm piano", "duration": 1}
    begun = httpx.post(api(page, "/call/v2/generate"), json=asked_for).json()
    said = httpx.get(api(page, f"/call/generate/{begun['event_id']}"), timeout=60).text
    files, settings = json.loads(said.strip().rpartition("data: ")[2])
    assert settings[0]["text"] == "calm piano"
    assert httpx.get(files[0]["url"]).content[:4] == b"RIFF"


def test_without_a_seed_a_random_one_is_told(client):
    seeds = [
        client.predict(duration=0.5, api_name=CALL)[1][0]["seed"],
        client.predict(duration=0.5, api_name=CALL)[1][0]["seed"],
    ]
    assert all(isinstance(seed, int) and seed >= 0 for seed in seeds)
    assert seeds[0] != seeds[1]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"text": "x" * (LONGEST_TEXT + 1)}, "letters"),
        ({"duration": 11}, "at most 10 s"),
        ({"duration": -1}, "duration"),
        ({"duration": "long"}, ""),
        ({"duration": None}, "duration"),
        ({"variants": 99}, "variants"),
        ({"variants": 1.5}, "whole"),
        ({"seed": 2**60}, "seed"),
        ({"seed": "x"}, ""),
        ({"temperature": -1}, "temperature"),
        ({"top_k": -1}, "top"),
        ({"top_p": 2}, "top_p"),
        ({"cfg_coef": 1e99}, ""),
        ({"model": "/etc/passwd"}, "list"),
        ({"model": "../tiny"}, "list"),
        ({"model": None}, "list"),
        ({"model": ["tiny"]}, ""),
        ({"adapters": {"/etc": 1}}, "adapter"),
        ({"adapters": [1]}, "adapters"),
        ({"format": "exe"}, "format"),
        ({"melody": "/etc/passwd"}, ""),
        ({"melody": {"path": 5, "meta": META}}, ""),
    ],
)
def test_what_cannot_be_is_refused_in_a_line_without_places_of_the_server(
    page, folder, changed, said
):
    event, content = asked(page, "generate", words(**changed))
    assert event == "error", (event, content)
    assert said in content
    assert str(folder) not in content and "Traceback" not in content
    assert "\\n" not in content or "validation error for FileData" in content  # Gradio's own


def test_the_server_answers_after_all_that(client):
    assert client.predict(duration=0.5, api_name=CALL)[0]


@pytest.mark.parametrize(
    "path",
    [
        "",
        "\0",
        "nothing.wav",
        "../" * 30 + "etc/passwd",
        "/proc/self/environ",
        "/dev/zero",
        "SECRET",
    ],
)
@pytest.mark.parametrize("name", ["melody", "prompt"])
def test_no_call_reads_a_file_that_was_not_uploaded_or_tells_where_it_looked(
    page, secret, name, path
):
    given = {"path": path.replace("SECRET", str(secret)), "meta": META}
    status, said = asked(page, "generate", words(**{name: given}))
    assert status == 400 and said == "a file is named that was not uploaded: upload it"


def test_no_call_reads_a_file_beside_the_uploads_or_a_link_among_them(page, secret):
    link = page.parts.uploads / "link.wav"
    link.symlink_to(secret)
    for path in (page.parts.uploads / "../../../secret.wav", page.parts.uploads / "no.wav", link):
        event, said = asked(page, "generate", words(melody={"path": str(path), "meta": META}))
        assert event == "error" and SECRET not in said and str(Path.cwd()) not in said
    assert SECRET not in httpx.get(api(page, f"/file={link}")).text
    link.unlink()


@pytest.mark.parametrize(
    "make",
    [
        lambda here, secret: f"/file={secret}",
        lambda here, secret: f"/file=//{secret}",
        lambda here, secret: f"/file={here.parts.uploads}/../../../secret.wav",
        lambda here, secret: f"/file={here.parts.uploads}/..%2f..%2f..%2fsecret.wav",
        lambda here, secret: "/file=/etc/passwd",
        lambda here, secret: "/file=../../../../../etc/passwd",
        lambda here, secret: f"/file={here.parts.uploads}",
        lambda here, secret: f"/file={here.parts.uploads}/takes/",
        lambda here, secret: "/file=file:///etc/passwd",
        lambda here, secret: f"/file/{secret}",
        lambda here, secret: "/file=pyproject.toml",
        lambda here, secret: "/file=%00",
        lambda here, secret: "/proxy=http://127.0.0.1:1/",
        lambda here, secret: "/file=http://127.0.0.1:1/x",
        lambda here, secret: "/file=HTTPS://example.org/x",
        lambda here, secret: "/openapi.json",
        lambda here, secret: "/vibe-code",
        lambda here, secret: "/runs",
        lambda here, secret: "/token",
        lambda here, secret: "/profiling/traces",
    ],
)
def test_no_address_shows_a_file_of_the_server(page, secret, make):
    answer = httpx.get(api(page, make(page, secret)))
    assert answer.status_code in (400, 403, 404), answer.text[:200]
    assert SECRET not in answer.text and "root:" not in answer.text


@pytest.mark.parametrize("path", ["docs", "redoc", "openapi.json", "monitoring", "monitoring/x"])
def test_what_the_page_does_not_need_is_not_there(page, path):
    assert httpx.get(page.url + path).status_code == 404


def test_a_file_of_another_server_is_not_fetched(page):
    given = {"path": "http://127.0.0.1:1/a.wav", "meta": META}
    status, said = asked(page, "generate", words(melody=given))
    assert status == 400 and "upload" in said


def test_only_generate_is_documented_and_only_it_has_a_name(client):
    assert list(client.view_api(return_format="dict")["named_endpoints"]) == [CALL]


def test_other_machines_pages_cannot_ask_by_a_name_that_leads_here(page):
    assert httpx.get(page.url, headers={"host": "evil.example:7860"}).status_code == 403
    assert httpx.get(page.url, headers={"host": "localhost:7860"}).status_code == 200


def test_that_holds_at_every_address_that_needs_no_password(tmp_path):
    with served(tmp_path, host="127.0.0.2") as page:
        assert httpx.get(page.url).status_code == 200
        assert httpx.get(page.url, headers={"host": "evil.example:7860"}).status_code == 403


@pytest.mark.parametrize(
    "told",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
        {"sec-fetch-site": "same-site", "origin": "http://127.0.0.1:1"},
    ],
)
def test_pages_of_other_sites_can_ask_nothing(page, told):
    asks = {"json": {"data": words()}, "headers": told}
    answers = [
        httpx.post(api(page, "/call/generate"), **asks),
        httpx.post(api(page, "/upload"), files={"files": ("a.wav", b"x")}, headers=told),
        httpx.options(api(page, "/upload"), headers=told),
        httpx.get(page.url + "config", headers=told),
    ]
    assert [answer.status_code for answer in answers] == [403] * 4


def test_a_link_of_another_site_leads_here_and_a_frame_in_it_does_not(page):
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert httpx.get(page.url, headers=link | {"sec-fetch-dest": "document"}).status_code == 200
    assert httpx.get(page.url, headers=link | {"sec-fetch-dest": "iframe"}).status_code == 403


def test_the_page_itself_may_ask_also_behind_a_proxy(page):
    own = page.url.rstrip("/")
    proxied = {"origin": "https://music.example", "x-forwarded-host": "music.example"}
    for told in ({"origin": own}, {"origin": own, "sec-fetch-site": "same-origin"}, proxied):
        assert httpx.get(page.url + "config", headers=told).status_code == 200


@pytest.mark.parametrize(
    "path", ["login", "gradio_api/component_server", "gradio_api/call/generate"]
)
def test_only_an_upload_may_be_large_whatever_its_type(page, path):
    def pieces():
        yield b'--x\r\nContent-Disposition: form-data; name="a"; filename="b"\r\n\r\n'
        for _ in range(8):
            yield bytes(1_000_000)
        yield b"\r\n--x--\r\n"

    form = {"content-type": "multipart/form-data; boundary=x"}
    assert httpx.post(page.url + path, content=pieces(), headers=form).status_code == 413


def test_an_upload_that_is_too_large_is_refused(page):
    big = {"files": ("a.wav", b"\0" * 2_500_000)}
    assert httpx.post(api(page, "/upload"), files=big).status_code == 413
    told = HTTPConnection("127.0.0.1", int(page.url.rstrip("/").rpartition(":")[2]), timeout=30)
    told.putrequest("POST", "/gradio_api/upload")
    told.putheader("Content-Type", "multipart/form-data; boundary=x")
    told.putheader("Content-Length", str(10**12))
    told.endheaders(b"x")  # refused by what it announces
    assert told.getresponse().status == 413
    told.close()


def test_a_call_that_is_too_large_or_no_json_is_refused(page):
    at = api(page, "/call/generate")
    assert httpx.post(at, content=b"x" * 5_000_000).status_code == 413
    deep = "[" * 100_000 + "]" * 100_000
    for body in (b"{", b"\xff\xfe", b"[]", b"null", b'{"data": 5}', deep.encode(), b""):
        answer = httpx.post(at, content=body, headers={"content-type": "application/json"})
        assert 400 <= answer.status_code < 600 and "Traceback" not in answer.text
    assert asked(page, "generate", words(duration=0.5))[0] == "complete"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.wav", b""),
        ("text.wav", b"this is no music"),
        ("zeros.wav", bytes(2000)),
        ("riff.wav", b"RIFF\xff\xff\xff\xffWAVEfmt "),
        ("riff64.wav", b"RF64\xff\xff\xff\xffWAVEds64" + b"\xff" * 64),
        ("id3.mp3", b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + b"\xff" * 500),
        ("frames.mp3", b"\xff\xfb\x90\x00" * 20),
        ("flac.flac", b"fLaC\x00\x00\x00\x22" + b"\xff" * 34),
        ("ogg.ogg", b"OggS\x00\x02" + bytes(50)),
        ("opus.opus", b"OggS" + b"OpusHead" * 9),
        ("m4a.m4a", b"\x00\x00\x00\x20ftypM4A " + b"\xff" * 99),
        ("aiff.aiff", b"FORM\x7f\xff\xff\xffAIFFCOMM" + b"\xff" * 20),
        ("list.m3u8", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"),
        ("list.wav", b"ffconcat version 1.0\nfile /etc/passwd\n"),
        ("page.html", b"<script>alert(1)</script>"),
        ("code.py", b"import os"),
        ("picture.png", b"\x89PNG\r\n\x1a\n" + bytes(64)),
        ("archive.zip", b"PK\x03\x04" + bytes(64)),
        ("pickle.pt", b"\x80\x04cos\nsystem\n(S'true'\ntR."),
        ("../../up.wav", b"x"),
        ("a" * 240 + ".wav", b"x"),
        ("name\nwith\tbreaks.wav", b"x"),
        ("🎵 عربي.wav", b"x"),
        (".hidden", b"x"),
        ("con.wav;rm -rf", b"$(true)`true`"),
    ],
)
def test_uploads_that_are_no_music_are_refused_by_name(page, folder, name, content):
    sent = httpx.post(api(page, "/upload"), files={"files": (name, content)})
    if sent.status_code != 200:  # Gradio refuses some names itself
        assert sent.status_code in (400, 413, 500)
        return
    [path] = sent.json()
    assert Path(path).resolve().is_relative_to(page.parts.uploads.resolve())
    event, said = asked(page, "generate", words(melody={"path": path, "meta": META}))
    assert event == "error" and str(folder) not in said and "Traceback" not in said


@pytest.mark.parametrize(
    "text", ["🎹🎻 émotion", "موسيقى هادئة للبيانو", "שקט", "<b>x</b>&{{y}}${z}"]
)
def test_any_text_is_taken_and_told_as_it_is(client, text):
    _, settings = client.predict(text=text, duration=0.5, api_name=CALL)
    assert settings[0]["text"] == text


def test_a_password_is_asked_of_all_that_shows_anything(tmp_path):
    with served(tmp_path, password="open sesame") as page:
        for path in ("config", "gradio_api/info", "gradio_api/file=/etc/passwd"):
            assert httpx.get(page.url + path).status_code == 401
        assert httpx.post(api(page, "/call/generate"), json={"data": words()}).status_code == 401
        assert httpx.post(api(page, "/upload"), files={"files": b"x"}).status_code == 401
        begun = time.monotonic()
        wrong = httpx.post(page.url + "login", data={"username": "musicgen", "password": "guess"})
        assert wrong.status_code == 400 and time.monotonic() - begun > 0.9
        client = Client(page.url, auth=("musicgen", "open sesame"), verbose=False)
        assert client.predict(duration=0.5, api_name=CALL)[0]


def test_nothing_stays_when_the_server_ends(tmp_path):
    with served(tmp_path) as page:
        sent = httpx.post(api(page, "/upload"), files={"files": ("a.wav", b"x")})
        assert Path(sent.json()[0]).is_file()
    assert not [path for path in (tmp_path / "server").rglob("*") if path.is_file()]


@pytest.mark.slow
def test_fifty_calls_at_once_are_all_answered_and_memory_returns(page):
    def resident() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def call(seed: int) -> str:
        return asked(page, "generate", words(duration=0.5, seed=seed))[0]

    after = []
    for _ in range(3):  # in the first one threads and libraries take their share once
        with ThreadPoolExecutor(50) as pool:
            ends = list(pool.map(call, range(50)))
        assert len(ends) == 50 and set(ends) <= {"complete", "error"}
        assert ends.count("complete") >= 32
        after.append(resident())
    assert after[-1] - after[0] < 80e6
    assert json.loads(httpx.get(page.url + "config").text)["title"] == "musicgen_train"
