"""The pages of the test over HTTP, for this machine only."""

from __future__ import annotations

import json
import signal
import socket
import sys
from typing import Any

import uvicorn
from jinja2 import Environment, PackageLoader
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from musicgen_train.errors import UserError
from musicgen_train.evaluation.listening_test.questions import QUESTIONS
from musicgen_train.evaluation.listening_test.results import results, results_page
from musicgen_train.evaluation.listening_test.sessions import Refused, Sessions, listener_name

HOST = "127.0.0.1"
LARGEST_REQUEST = 1 << 16  # bytes
HEADERS = {
    # Nothing from elsewhere, and nobody else may frame or read the pages.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "media-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


class Pages:
    """What is answered to each address; nothing is read but templates and clips of open trials."""

    def __init__(self, sessions: Sessions) -> None:
        self.sessions = sessions
        templates = Environment(
            loader=PackageLoader("musicgen_train.evaluation.listening_test"), autoescape=True
        )
        test = sessions.test
        self._page = templates.get_template("page.html.jinja").render(
            test=test,
            total=len(test.prompts) + min(test.repeats, len(test.prompts)),
            questions=[QUESTIONS[key] for key in test.questions],
        )
        self._script, self._style = (
            templates.get_template(name).render() for name in ("page.js", "page.css")
        )
        self._results = templates.get_template("results.html.jinja")

    async def page(self, request: Request) -> Response:
        """The start, the trials and the end."""
        return HTMLResponse(self._page)

    async def script(self, request: Request) -> Response:
        """What moves the page."""
        return Response(self._script, media_type="text/javascript")

    async def style(self, request: Request) -> Response:
        """How all pages look."""
        return Response(self._style, media_type="text/css")

    async def state(self, request: Request) -> Response:
        """Where a listener is: {"listener"} -> the trial that is next."""
        body = await small_json(request)
        listener = listener_name(body.get("listener"))
        return JSONResponse(await run_in_threadpool(self.sessions.state, listener))

    async def ratings(self, request: Request) -> Response:
        """Take the ratings of a trial in, and answer as `state` does."""
        body = await small_json(request)
        listener = listener_name(body.get("listener"))
        try:
            await run_in_threadpool(self.sessions.take, listener, body)
        except OSError as error:
            print(f"ratings could not be stored: {error}", file=sys.stderr)
            raise Refused(507, f"Could not be stored ({error.strerror}). Try again.") from None
        return JSONResponse(await run_in_threadpool(self.sessions.state, listener))

    async def audio(self, request: Request) -> Response:
        """A clip or melody of a trial that somebody has on the page."""
        path = await run_in_threadpool(self.sessions.sound, request.path_params["sound_id"])
        # Dates and tags of the file would tell which clips were made together.
        headers = {"last-modified": "Thu, 01 Jan 1970 00:00:00 GMT", "etag": f'"{path.stem}"'}
        return FileResponse(path, media_type="audio/wav", headers=headers)

    async def results(self, request: Request) -> Response:
        """The results so far, as a page."""
        return HTMLResponse(self._results.render(results_page(await self._found())))

    async def results_json(self, request: Request) -> Response:
        """The results so far, as --report writes them."""
        return JSONResponse(await self._found())

    async def _found(self) -> dict[str, Any]:
        return await run_in_threadpool(results, self.sessions.ratings, self.sessions.test.systems)


def create_app(sessions: Sessions) -> Starlette:
    """The application, for browsers on this machine."""
    pages = Pages(sessions)
    return Starlette(
        routes=[
            Route("/", pages.page),
            Route("/page.js", pages.script),
            Route("/page.css", pages.style),
            Route("/api/state", pages.state, methods=["POST"]),
            Route("/api/ratings", pages.ratings, methods=["POST"]),
            Route("/audio/{sound_id}", pages.audio),
            Route("/results", pages.results),
            Route("/results.json", pages.results_json),
        ],
        middleware=[
            # Another site whose name resolves to this machine is not this site.
            Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"]),
            Middleware(SafeHeaders),
        ],
        exception_handlers={Refused: refused, UserError: user_error},
    )


async def small_json(request: Request) -> dict[str, Any]:
    """The body, an object of at most 64 KiB; only pages of this server can send its type."""
    if request.headers.get("content-type", "").split(";")[0].strip() != "application/json":
        raise Refused(415, "Send JSON.")
    data = b""
    async for chunk in request.stream():
        data += chunk
        if len(data) > LARGEST_REQUEST:
            raise Refused(413, "That is too much at once.")
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        raise Refused(400, "Send JSON.") from None
    if not isinstance(body, dict):
        raise Refused(400, "Send a JSON object.")
    return body


async def refused(request: Request, error: Exception) -> Response:
    """A refusal as the page reads it."""
    assert isinstance(error, Refused)
    return JSONResponse({"error": error.message}, status_code=error.status)


async def user_error(request: Request, error: Exception) -> Response:
    """A fault of a file, which whoever runs the server must mend."""
    print(f"error: {error}", file=sys.stderr)
    return JSONResponse({"error": "The server has a fault: ask whoever runs it."}, 500)


class SafeHeaders:
    """Adds HEADERS to every response."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self.app(scope, receive, send_with_headers)


def bind(port: int) -> socket.socket:
    """A socket on the loopback interface; port 0 takes a free one."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
    except OSError as error:
        listening.close()
        raise UserError(
            f"--port {port} cannot be used ({error.strerror}); give another, or 0 for a free one"
        ) from None
    return listening


def serve(app: Starlette, listening: socket.socket) -> None:
    """Answer until Ctrl-C or SIGTERM, and return, so that the caller can clean up."""
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, lifespan="off", server_header=False,
        timeout_graceful_shutdown=2,
    )  # fmt: skip
    # uvicorn raises the signal that ended it once more: then this must not end the process.
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        uvicorn.Server(config).run(sockets=[listening])
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
        listening.close()
