import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from musicgen_train.errors import UserError
from musicgen_train.evaluation.embedders import weights
from musicgen_train.evaluation.embedders.identity import sha256_of
from musicgen_train.evaluation.embedders.weights import (
    MissingWeights,
    PublishedWeights,
    find_weights,
    weights_folder,
)

CONTENT = bytes(range(256)) * 20_000  # several blocks
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OPTION = "weights.model"


class Publisher(BaseHTTPRequestHandler):
    """Serves the weights as the path asks: /whole, /short, /chunked, /broken, /stalled, /moved."""

    released = threading.Event()
    requests: tuple[str, ...] = ()

    def do_GET(self) -> None:
        Publisher.requests += (self.path,)
        if self.path == "/moved/model.pth":
            self.send_response(302)
            self.send_header("Location", "/whole/model.pth")
            self.end_headers()
        elif self.path == "/gone/model.pth":
            self.send_error(404)
        elif self.path.startswith(("/chunked", "/broken")):
            self.send_chunks(broken=self.path.startswith("/broken"))
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT if self.path.startswith("/whole") else CONTENT[:3_000_000])
            if self.path.startswith("/stalled"):
                self.released.wait(10)

    def send_chunks(self, broken: bool) -> None:
        self.protocol_version = "HTTP/1.1"
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(f"{len(CONTENT):x}\r\n".encode())
        self.wfile.write(CONTENT[:1000] if broken else CONTENT + b"\r\n0\r\n\r\n")
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "cache" / "musicgen_train" / "weights"


@pytest.fixture
def server() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Publisher)
    Publisher.requests = ()
    Publisher.released.clear()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    Publisher.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


def published(address: str, sha256: str = SHA256) -> PublishedWeights:
    return PublishedWeights("model.pth", f"{address}/model.pth", sha256)


@pytest.mark.parametrize("how", ["whole", "chunked", "moved"])
def test_weights_are_downloaded_once(server, cache, how):
    for _ in range(2):
        found = find_weights(published(f"{server}/{how}"), None, OPTION)
        assert found == cache / "model.pth" == weights_folder() / "model.pth"
        assert found.read_bytes() == CONTENT
    assert Publisher.requests.count(f"/{how}/model.pth") == 1
    assert [path.name for path in cache.iterdir()] == ["model.pth"]


def test_the_first_digits_of_a_hash_or_none_will_do(server, cache):
    for digits in (SHA256[:8], ""):
        assert find_weights(published(f"{server}/whole", digits), None, OPTION).is_file()
        (cache / "model.pth").unlink()


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("short", f"stopped after 3000000 of {len(CONTENT)} bytes"),
        ("broken", "broke off"),
        ("gone", "HTTP 404 Not Found"),
        ("stalled", "timed out"),
    ],
)
def test_a_failed_download_says_all_that_is_needed_and_leaves_nothing(
    server, cache, how, reason, monkeypatch
):
    monkeypatch.setattr(weights, "TIMEOUT", 0.2)
    with pytest.raises(MissingWeights) as caught:
        find_weights(published(f"{server}/{how}"), None, OPTION)
    message = str(caught.value)
    for word in (reason, "model.pth", f"{server}/{how}/model.pth", SHA256, OPTION, str(cache)):
        assert word in message
    assert "\n" not in message
    assert list(cache.iterdir()) == []


def test_other_weights_than_the_published_ones_are_not_kept(server, cache):
    with pytest.raises(MissingWeights, match=f"what came has sha256 {SHA256}"):
        find_weights(published(f"{server}/whole", "0" * 64), None, OPTION)
    assert list(cache.iterdir()) == []


def test_a_machine_without_network_is_told_what_to_get(server, cache, monkeypatch):
    wanted = published("http://127.0.0.1:1")  # nothing listens there
    with pytest.raises(MissingWeights, match="Connection refused") as caught:
        find_weights(wanted, None, OPTION)
    assert caught.value.wanted == wanted
    assert list(cache.iterdir()) == []


def test_an_interrupted_download_leaves_nothing(server, cache, monkeypatch):
    def interrupt(path: Path) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(weights, "sha256_of", interrupt)
    with pytest.raises(KeyboardInterrupt):
        find_weights(published(f"{server}/whole"), None, OPTION)
    assert list(cache.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(server, cache):
    cache.parents[1].write_text("a file in the way")
    with pytest.raises(MissingWeights, match="Not a directory") as caught:
        find_weights(published(f"{server}/whole"), None, OPTION)
    assert str(cache.parent) in str(caught.value)


def test_a_damaged_file_in_the_cache_is_not_used(cache):
    cache.mkdir(parents=True)
    (cache / "model.pth").write_bytes(CONTENT[:-1])
    with pytest.raises(UserError, match=f"not the published model.pth.*{SHA256}"):
        find_weights(published("http://127.0.0.1:1"), None, OPTION)


def test_given_weights_are_checked_unless_that_is_turned_off(tmp_path):
    mine = tmp_path / "mine.pth"
    mine.write_bytes(b"mine")
    with pytest.raises(UserError, match=r"weights.model=PATH check_weights=false"):
        find_weights(published("http://127.0.0.1:1"), mine, OPTION)
    assert find_weights(published("http://127.0.0.1:1"), mine, OPTION, check=False) == mine
    mine.write_bytes(CONTENT)
    assert find_weights(published("http://127.0.0.1:1"), str(mine), OPTION) == mine


def test_given_weights_must_exist(tmp_path):
    with pytest.raises(UserError, match=r"weights.model=.*gone.pth: no such file; get model.pth"):
        find_weights(published("http://127.0.0.1:1"), tmp_path / "gone.pth", OPTION)


def test_a_hash_is_that_of_the_bytes(tmp_path):
    (tmp_path / "file").write_bytes(CONTENT)
    assert sha256_of(tmp_path / "file") == SHA256
