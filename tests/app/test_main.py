"""The command that serves the page: what it refuses, and how it ends."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from musicgen_train.app.__main__ import check, is_loopback, main, parser
from musicgen_train.errors import UserError
from tests.app.served_page import free_port

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("host", "only_here"),
    [
        ("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("[::1]", True),
        ("localhost", True), ("0.0.0.0", False), ("::", False), ("192.168.0.2", False),
        ("", False), ("my-machine", False), ("localhost.example.org", False),
    ],
)  # fmt: skip
def test_only_addresses_of_this_machine_need_no_password(host, only_here):
    assert is_loopback(host) is only_here
    args = parser().parse_args(["--host", host])
    if only_here:
        check(args, None)
    else:
        with pytest.raises(UserError, match="password"):
            check(args, None)
    check(args, "a long password")


@pytest.mark.parametrize(
    ("words", "password", "said"),
    [
        ([], "short", "too short"),
        ([], "  spaces  ", "too short"),
        (["--port", "0"], None, "--port 0"),
        (["--port", "70000"], None, "--port 70000"),
        (["--max-duration", "0"], None, "--max-duration 0"),
        (["--max-duration", "nan"], None, "--max-duration nan"),
        (["--max-upload-mb", "1e9"], None, "--max-upload-mb"),
        (["--user", " "], None, "--user"),
    ],
)
def test_options_that_cannot_be_are_refused_in_a_line(words, password, said):
    with pytest.raises(UserError, match=said):
        check(parser().parse_args(words), password)


def test_a_password_comes_from_the_environment_too(monkeypatch, capsys):
    monkeypatch.setenv("MUSICGEN_TRAIN_PASSWORD", "short")
    with pytest.raises(SystemExit) as end:
        main([])
    assert end.value.code == 2
    assert "too short" in capsys.readouterr().err


def started(folder, *words):
    command = [sys.executable, "-m", "musicgen_train.app", *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder)}
    return subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.slow
def test_it_says_where_it_is_and_leaves_nothing_at_its_end(tmp_path):
    port = free_port()
    server = started(tmp_path, "--port", str(port))
    try:
        assert f"http://127.0.0.1:{port}/" in server.stdout.readline()
        assert httpx.get(f"http://127.0.0.1:{port}/").status_code == 200
        second = started(tmp_path, "--port", str(port))
        _, told = second.communicate(timeout=120)
        assert second.returncode == 2 and told.count("\n") == 1
        assert f"port {port} is in use" in told
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
    finally:
        server.kill()
    [place] = tmp_path.glob("musicgen_train-*")
    assert not list(place.iterdir())


@pytest.mark.slow
def test_a_server_that_was_killed_is_cleaned_up_by_the_next(tmp_path):
    port = str(free_port())
    first = started(tmp_path, "--port", port)
    first.stdout.readline()
    first.kill()
    first.wait()
    [place] = tmp_path.glob("musicgen_train-*")
    [left] = place.iterdir()
    second = started(tmp_path, "--port", port)
    second.stdout.readline()
    assert not left.exists()
    second.terminate()
    second.wait(60)


def test_a_port_in_use_is_said_in_a_line(tmp_path):
    from tests.app.served_page import served

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} is in use"), served(tmp_path, port=port):
            pass
