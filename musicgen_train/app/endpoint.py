"""The call `/generate` of the page's HTTP API: settings in, files out."""

import asyncio
import secrets
from collections.abc import Mapping
from typing import Any

import gradio as gr

from musicgen_train.app.events import Done, Failed
from musicgen_train.app.generate_form import chosen_seed, whole
from musicgen_train.app.generating import Generation
from musicgen_train.app.request import SEPARATORS, Request
from musicgen_train.app.server_parts import ServerParts
from musicgen_train.app.sounds import read_sound
from musicgen_train.app.told_errors import told
from musicgen_train.errors import UserError

_LOOK = 0.1  # seconds


def build_endpoint(parts: ServerParts) -> None:
    """Add the call to the Blocks around; docs/app.md says how it is used."""
    first = parts.shelf.choices()[0]
    with gr.Group(visible=False):
        inputs = _inputs(first)
        outputs = [gr.File(label="music", file_count="multiple"), gr.JSON(label="settings")]
        button = gr.Button("generate")

    async def generate(
        text: str = "",
        duration: float = 8.0,
        model: str = first,
        melody: Any = None,
        prompt: Any = None,
        prompt_duration: float | None = None,
        negative_text: str = "",
        variants: float = 1,
        seed: float = -1,
        cfg_coef: float = 3.0,
        temperature: float = 1.0,
        top_k: float = 250,
        top_p: float = 0.0,
        adapters: Any = None,
        separate: bool = False,
        format: str = "wav",
    ) -> tuple[list[str], list[dict[str, Any]]]:
        """Generate music; returns one file for each variant, and the settings of each."""
        asked = {
            "text": text, "negative_text": negative_text, "model": model, "melody": melody,
            "prompt": prompt, "prompt_duration": prompt_duration, "duration": duration,
            "variants": variants, "seed": seed, "cfg_coef": cfg_coef, "temperature": temperature,
            "top_k": top_k, "top_p": top_p, "adapters": adapters, "separate": separate,
        }  # fmt: skip
        return await answer(parts, asked, format)

    button.click(
        generate, inputs, outputs, api_name="generate", concurrency_limit=None,
        show_progress="hidden",
    )  # fmt: skip


def _inputs(first: str) -> list[Any]:
    """What the call takes, in its order; first: the model that is used if none is named."""
    return [
        gr.Textbox("", label="text"),
        gr.Number(8, label="duration"),
        gr.Textbox(first, label="model"),
        gr.File(label="melody"),
        gr.File(label="prompt"),
        gr.Number(None, label="prompt_duration"),
        gr.Textbox("", label="negative_text"),
        gr.Number(1, label="variants"),
        gr.Number(-1, label="seed"),
        gr.Number(3, label="cfg_coef"),
        gr.Number(1, label="temperature"),
        gr.Number(250, label="top_k"),
        gr.Number(0, label="top_p"),
        gr.JSON({}, label="adapters"),
        gr.Checkbox(False, label="separate"),
        gr.Textbox("wav", label="format"),
    ]


async def answer(
    parts: ServerParts, asked: Mapping[str, Any], format: str
) -> tuple[list[str], list[dict[str, Any]]]:
    """Files and settings; whatever goes wrong is a `gr.Error` of one line."""
    visitor = secrets.token_hex(32)  # its takes are in nobody's history
    try:
        if format not in ("wav", "flac", "mp3"):
            raise UserError("format: choose wav, flac or mp3")
        job = await asyncio.to_thread(_start, parts, visitor, asked)
        await _ended(job)
        state = job.state
        if not isinstance(state, Done):
            raise UserError(state.message if isinstance(state, Failed) else "it was stopped")
        files = [
            str(await asyncio.to_thread(parts.store.download, take, format)) for take in state.takes
        ]
    except Exception as error:
        raise gr.Error(told(error), print_exception=False) from None
    return files, [take.settings for take in state.takes]


async def _ended(job: Generation) -> None:
    """Wait for the end, holding no thread; who gives up the call stops the job."""
    try:
        while not job.ended:
            await asyncio.sleep(_LOOK)
    except asyncio.CancelledError:
        job.cancel()
        raise


def _start(parts: ServerParts, visitor: str, asked: Mapping[str, Any]) -> Generation:
    return parts.generations.start(visitor, _request(parts, asked))


def _request(parts: ServerParts, asked: Mapping[str, Any]) -> Request:
    sounds = {
        name: None if asked[name] is None else read_sound(asked[name], parts.uploads, parts.limits)
        for name in ("melody", "prompt")
    }
    adapters = asked["adapters"] or {}
    if not isinstance(adapters, dict):
        raise UserError('adapters: give weights by labels, such as {"runs/my_songs": 0.7}')
    return Request(
        model=asked["model"],
        adapters=adapters,
        text=asked["text"] or "",
        negative_text=asked["negative_text"] or "",
        melody=sounds["melody"],
        melody_separator=SEPARATORS[0] if asked["separate"] and sounds["melody"] else None,
        prompt=sounds["prompt"],
        prompt_duration=asked["prompt_duration"] if sounds["prompt"] else None,
        duration=asked["duration"],
        variants=whole(asked["variants"], "variants"),
        seed=chosen_seed(asked["seed"]),
        cfg_coef=asked["cfg_coef"],
        temperature=asked["temperature"],
        top_k=whole(asked["top_k"], "top_k"),
        top_p=asked["top_p"],
    )
