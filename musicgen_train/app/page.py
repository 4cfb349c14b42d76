"""The page: its tabs, its looks, and how it is served."""

import asyncio
import hmac
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from gradio.themes import Base, Default
from gradio.themes.utils.colors import red
from starlette.middleware import Middleware

from musicgen_train.app.endpoint import build_endpoint
from musicgen_train.app.evaluate_tab import build_evaluate_tab
from musicgen_train.app.ffmpeg_path import put_ffmpeg_on_path
from musicgen_train.app.finetune_tab import build_finetune_tab
from musicgen_train.app.generate_tab import GenerateTab, build_generate_tab
from musicgen_train.app.guard import Guard
from musicgen_train.app.server_parts import ServerParts
from musicgen_train.app.upload_room import UploadRoom
from musicgen_train.app.visitor import STORAGE_KEY, known_or_new
from musicgen_train.errors import UserError

_STYLE = Path(__file__).parent / "style.css"
_HEADER = """# Music from text
Describe music, press **Generate**, and hear it while it is made.
Compare takes, fine-tune a model on your songs, and see how models measure up."""
_WRONG_PASSWORD = 1.0  # seconds until the next try
_SESSIONS = 256  # tabs and calls whose state Gradio keeps, a quarter of a MB each
_CLEANING = (3600, 24 * 3600)  # seconds: how often, and the age of what goes


class Access(NamedTuple):
    """Where the page is reached, and by whom: anybody on this machine if there is no password.

    Without one it answers to this machine's own names only, so that `host` is a loopback address.
    """

    host: str = "127.0.0.1"
    port: int = 7860
    user: str = "musicgen"
    password: str | None = None


def build_page(parts: ServerParts) -> gr.Blocks:
    """All tabs; nothing is served yet."""
    put_ffmpeg_on_path(parts.uploads.parent / "bin")
    os.environ["GRADIO_TEMP_DIR"] = str(parts.uploads)  # read when a component is made
    with gr.Blocks(
        title="musicgen_train", analytics_enabled=False, delete_cache=_CLEANING, fill_width=True
    ) as page:
        gr.Markdown(_HEADER, elem_id="header")
        visitor = gr.BrowserState("", storage_key=STORAGE_KEY)
        with gr.Tabs() as tabs:
            with gr.Tab("Generate", id="generate"):
                generate = build_generate_tab(parts, visitor)
            with gr.Tab("Fine-tune", id="finetune") as tab:
                build_finetune_tab(parts, visitor, tab, tabs, generate.form)
            with gr.Tab("Evaluate", id="evaluate") as tab:
                build_evaluate_tab(parts, tab)
        build_endpoint(parts)
        _bind_arrival(page, parts, visitor, generate)
    return page


def serve(page: gr.Blocks, parts: ServerParts, access: Access) -> str:
    """Serve in the background, and return the address; `close` of the page ends it."""
    room = UploadRoom(parts.uploads, parts.limits.max_disk_bytes)
    guard = Middleware(
        Guard, uploads=parts.uploads, max_upload=parts.limits.max_disk_bytes // 2, room=room,
        local=access.password is None,
    )  # fmt: skip
    page.queue(api_open=False, max_size=512, default_concurrency_limit=8)
    try:
        _, address, _ = page.launch(
            server_name=access.host,
            server_port=access.port,
            auth=None if access.password is None else _check(access.user, access.password),
            css_paths=_STYLE,
            theme=_theme(),
            share=False,
            quiet=True,
            show_error=True,
            footer_links=[],
            run_history=False,
            allowed_paths=[],
            enable_monitoring=False,
            ssr_mode=False,
            mcp_server=False,
            pwa=False,
            max_file_size=parts.limits.max_upload_bytes,
            state_session_capacity=_SESSIONS,
            prevent_thread_lock=True,
            app_kwargs={
                "middleware": [guard], "docs_url": None, "redoc_url": None, "openapi_url": None,
            },
        )  # fmt: skip
    except OSError:
        raise UserError(
            f"port {access.port} is in use: choose another with --port, or end what uses it"
        ) from None
    return address


def _bind_arrival(
    page: gr.Blocks, parts: ServerParts, visitor: gr.BrowserState, tab: GenerateTab
) -> None:
    """A visitor arrives or comes back: takes, a job that goes on, and new models are there."""
    form, outputs = tab.form, tab.outputs

    def fresh(model: str) -> list[Any]:
        fitting = parts.shelf.adapters_of(model)
        return [
            gr.update(choices=parts.shelf.choices()),
            gr.update(choices=fitting, visible=bool(fitting)),
        ]

    async def again(token: str) -> AsyncIterator[list[Any]]:
        async for values in tab.resume(token):
            yield values

    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    page.load(known_or_new, visitor, visitor, **private).then(
        again, visitor, outputs, concurrency_limit=None, **private
    )
    page.load(fresh, form.model, [form.model, form.adapters], **private)


def _check(user: str, password: str) -> Any:
    """Whether a login is right; a wrong one has to wait, so that nobody tries a million."""

    async def right(given_user: str, given_password: str) -> bool:
        same_user = hmac.compare_digest(given_user.encode(), user.encode())
        same_password = hmac.compare_digest(given_password.encode(), password.strip().encode())
        if same_user and same_password:
            return True
        await asyncio.sleep(_WRONG_PASSWORD)
        return False

    return right


def _theme() -> Base:
    """Gradio's own, with words that stand out from what is behind them by 4.5 to 1 and more."""
    system = ["ui-sans-serif", "system-ui", "sans-serif"]  # nothing is downloaded for a font
    return Default(
        primary_hue="teal", secondary_hue="teal", neutral_hue="slate", font=system,
        font_mono=["ui-monospace", "monospace"],
    ).set(
        color_accent="*primary_700", body_text_color_subdued="*neutral_600",
        input_placeholder_color="*neutral_500",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_hover_dark="*primary_800",
        button_cancel_background_fill=red.c600, button_cancel_background_fill_hover=red.c700,
    )  # fmt: skip
