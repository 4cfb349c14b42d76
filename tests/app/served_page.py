"""The page on a port of its own, in a folder of the test's own, with nothing to download."""

import os
import shutil
import socket
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from musicgen_train.app.finetunings import Finetunings
from musicgen_train.app.page import Access, build_page, serve
from musicgen_train.app.request import Limits
from musicgen_train.app.server_parts import Offer, ServerParts

STAND_IN = Path(__file__).parent / "stand_in/finetune.py"


@dataclass(frozen=True)
class Served:
    """A running page."""

    url: str
    parts: ServerParts


@contextmanager
def served(
    folder, password=None, recipe: Path | None = STAND_IN, port=None, host="127.0.0.1", **limits
):
    """Serve tiny and the runs of `folder`/runs; fine-tunings are those of a stand-in."""
    runs = folder / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    before = os.environ.get("GRADIO_TEMP_DIR")
    parts = ServerParts(Offer(runs_dir=runs, limits=Limits(**limits)), root=folder / "server")
    if recipe is not None:
        parts.finetunings = Finetunings(runs, parts.queue, parts.shelf, recipe=recipe)
    page = build_page(parts)
    try:
        url = serve(page, parts, Access(host, port or free_port(), password=password))
        yield Served(url, parts)
    finally:
        page.close(verbose=False)
        parts.close()
        os.environ.pop("GRADIO_TEMP_DIR", None)
        if before is not None:
            os.environ["GRADIO_TEMP_DIR"] = before


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def chromium() -> str | None:
    """The system's browser."""
    return shutil.which("chromium") or shutil.which("chromium-browser")
