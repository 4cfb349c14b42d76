"""What Gradio's server would do for anybody and this page needs of nobody is refused here."""

import ipaddress
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from musicgen_train.app.cross_site import is_foreign
from musicgen_train.app.upload_room import UploadRoom

_API = "/gradio_api"
_UPLOAD = f"{_API}/upload"
_PAGE = ("/assets/", "/static/", "/svelte/", "/custom_component/")
_PAGE_EXACT = (
    "", "/config", "/login", "/login_check", "/logout", "/theme.css", "/favicon.ico", "/robots.txt",
    "/manifest.json",
)  # fmt: skip
_CALLS = ("/file=", "/stream/", "/heartbeat/", "/call/", "/queue/", "/run/")
_CALLS_EXACT = (
    "/info", "/upload", "/upload_progress", "/cancel", "/reset", "/startup-events", "/login_check",
    "/user", "/app_id", "/theme.css", "/component_server",
)  # fmt: skip
_MOST_JSON = 4_000_000  # bytes of a call: a table of captions is the largest


class Guard:
    """ASGI middleware: this page's own requests only, known routes, bounded bodies, no other files.

    Gradio would fetch an address that a visitor names in a file's place, and say where on the disk
    it looked for another; only what lies in uploads may be named. max_upload: bytes of one request
    to /upload, for which there must be room. local: whether only this machine may ask, whatever
    name a web page gives it (DNS rebinding).
    """

    def __init__(
        self, app: ASGIApp, uploads: Path, max_upload: int, room: UploadRoom, local: bool
    ) -> None:
        self.app, self.max_upload, self.room, self.local = app, max_upload, room, local
        self.places = tuple(f"{folder}/" for folder in (uploads, uploads.resolve()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what is refused, and pass on the rest."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        path, method = scope["path"].rstrip("/"), scope["method"]
        refusal = self._refusal(path, method, headers)
        if refusal is None and path == _UPLOAD:
            refusal = await anyio.to_thread.run_sync(self._refusal_of_upload, headers)
        elif refusal is None and method == "POST":
            body = await _body(receive)
            refusal = self._refusal_of_body(body)
            receive = _replay(body or b"", receive)
        if refusal is not None:
            await PlainTextResponse(refusal[1], refusal[0])(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _refusal(self, path: str, method: str, headers: Headers) -> tuple[int, str] | None:
        if self.local and not _is_local(headers.get("host", "")):
            return 403, "this page answers on this machine only: open http://127.0.0.1"
        if is_foreign(method, headers):
            return 403, "another site asks for this: open the page itself"
        if not _is_known(path):
            return 404, "there is nothing here"
        length = headers.get("content-length", "0")
        most = self.max_upload if path == _UPLOAD else _MOST_JSON
        if not length.isdecimal() or int(length) > most:
            return 413, f"too large: send at most {most / 1e6:g} MB at once"
        return None

    def _refusal_of_upload(self, headers: Headers) -> tuple[int, str] | None:
        if "content-length" not in headers:  # in pieces of no announced number
            return 411, "say how long the upload is"
        if not self.room.make(int(headers["content-length"])):
            return 507, "there is no room for uploads now: try again in some minutes"
        return None

    def _refusal_of_body(self, body: bytes | None) -> tuple[int, str] | None:
        if body is None:
            return 413, f"too large: send at most {_MOST_JSON / 1e6:g} MB at once"
        try:
            content = json.loads(body) if body else None
        except RecursionError:
            return 400, "nested too deeply"
        except ValueError:
            return None  # a login's form; what should be JSON is refused by who reads it
        if all(path.startswith(self.places) for path in _paths(content)):
            return None
        return 400, "a file is named that was not uploaded: upload it"


def _is_known(path: str) -> bool:
    if path.startswith(_API):
        call = path.removeprefix(_API)
        remote = call.removeprefix("/file=").lower().startswith(("http:", "https:", "//"))
        return not remote and (call in _CALLS_EXACT or call.startswith(_CALLS))
    return path in _PAGE_EXACT or path.startswith(_PAGE)


def _is_local(host: str) -> bool:
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    name = name.strip("[]").lower()
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


async def _body(receive: Receive) -> bytes | None:
    """The whole body, whatever it is; None if it is too large, whatever its header said."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > _MOST_JSON:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    """What was read, once more."""
    sent = False

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _paths(content: Any) -> Iterator[str]:
    """Every text called path, at any depth: Gradio takes files by them."""
    left = [content]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            if isinstance(path := value.get("path"), str):
                yield path
            left.extend(value.values())
        elif isinstance(value, list):
            left.extend(value)
