"""A web server on the loopback device that answers range requests, or fails as real ones do."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class RangeServer:
    """Serves a folder; every `fail_every`th answer is an error: a status, or a broken body."""

    folder: Path
    fail_every: int = 0
    with_ranges: bool = True
    port: int = 0
    n_bytes: int = 0
    requests: list[str] = field(default_factory=list)
    dead: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def url(self, name: str = "") -> str:
        return f"http://127.0.0.1:{self.port}/{name}".rstrip("/")


@contextmanager
def serving(folder: Path, **options) -> Iterator[RangeServer]:
    served = RangeServer(folder, **options)
    handler = type("Handler", (_Handler,), {"served": served})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    served.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield served
    finally:
        served.dead = True  # also for connections that are open
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet
    served: RangeServer

    def log_message(self, *_) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        if self.served.dead:
            self.close_connection = True
            return
        path = self.served.folder / self.path.split("?")[0].lstrip("/")
        with self.served.lock:
            self.served.requests.append(f"{self.command} {path.name}")
            number = len(self.served.requests)
        failing = self.served.fail_every and number % self.served.fail_every == 0
        if failing and number % (2 * self.served.fail_every):
            return self._error(503)
        if not path.is_file():
            return self._error(404)
        data = path.read_bytes()
        size = len(data)
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        self.send_response(206 if wanted and self.served.with_ranges else 200)
        if wanted and self.served.with_ranges:
            first, last = int(wanted[1]), min(int(wanted[2]), size - 1)
            data = data[first : last + 1]
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if with_body:
            with self.served.lock:
                self.served.n_bytes += len(data)
            if failing:  # the connection breaks in the midst of the body
                self.wfile.write(data[: len(data) // 2])
                self.close_connection = True
            else:
                self.wfile.write(data)

    def _error(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()
