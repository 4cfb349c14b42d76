"""The Generate tab: a form, what becomes of it, and the takes that came of it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, NamedTuple

import gradio as gr

from musicgen_train.app import take_cards
from musicgen_train.app.events import Chunk, Done
from musicgen_train.app.examples import build_examples
from musicgen_train.app.following import follow, line, playable, status_line
from musicgen_train.app.form_filling import weight_sliders
from musicgen_train.app.generate_form import Form, build_form, request_of, told_of
from musicgen_train.app.generating import Generation
from musicgen_train.app.plain import plain
from musicgen_train.app.server_parts import ServerParts
from musicgen_train.app.take_actions import bind_refill, bind_take_actions
from musicgen_train.app.told_errors import told
from musicgen_train.app.visitor import checked
from musicgen_train.errors import UserError


class GenerateTab(NamedTuple):
    """What the rest of the page needs of the tab."""

    form: Form
    outputs: list[Any]  # of `resume`
    resume: Callable[..., AsyncIterator[list[Any]]]  # of a visitor


def build_generate_tab(parts: ServerParts, visitor: gr.BrowserState) -> GenerateTab:
    """The tab, with all that its controls do. Made inside a Tab of a Blocks."""
    job = gr.State("")
    with gr.Row(elem_classes="two-columns"):
        with gr.Column(scale=5, min_width=320):
            form = build_form(parts)
            with gr.Row():
                start = gr.Button("Generate", variant="primary", elem_id="generate", min_width=120)
                stop = gr.Button(
                    "Cancel", variant="stop", elem_id="cancel", min_width=120, interactive=False
                )
            status = plain(elem_id="status")
            live = gr.Audio(
                label="Live: the first variant, while it is made", streaming=True, autoplay=True,
                visible=False, interactive=False, elem_id="live", buttons=[],
            )  # fmt: skip
            build_examples(form, parts.uploads / "examples", _takes_melody(parts))
            refill = gr.UploadButton(
                "Fill the form from a downloaded take", size="sm", elem_id="refill",
                file_types=[".wav", ".flac", ".mp3"],
            )  # fmt: skip
        with gr.Column(scale=7, min_width=320):
            takes = take_cards.cards()
    shown = [job, status, live, takes, start, stop]
    follower = _follower(parts)
    _bind_generation(parts, visitor, form, shown, follower)
    _bind_form(parts, form)
    bind_take_actions(parts, visitor, form, takes, status)
    bind_refill(parts, form, refill, status)
    return GenerateTab(form, shown, follower)


def _follower(parts: ServerParts) -> Callable[..., AsyncIterator[list[Any]]]:
    """Show a job from now to its end; without one show the newest that still goes on."""

    async def show(visitor: str, id: str = "") -> AsyncIterator[list[Any]]:
        skip = gr.skip()
        job = _job(parts, visitor, id)
        # In a thread: it reads files, and waits for one who converts a download.
        takes = await asyncio.to_thread(take_cards.shown, parts.store, visitor)
        if job is None:
            yield [skip, skip, skip, takes, skip, skip]
            return
        yield [
            job.id, status_line(job.state, parts.queue.jobs()), gr.update(visible=True), takes,
            *_buttons(True),
        ]  # fmt: skip
        told_last = None
        async for event in follow(job):
            if isinstance(event, Chunk):
                yield [skip, skip, playable(event), skip, skip, skip]
            elif event is not told_last and not job.ended:
                told_last = event
                said = status_line(event, parts.queue.jobs())
                yield [skip, said, skip, skip, skip, skip]
        fresh = isinstance(job.state, Done)
        takes = await asyncio.to_thread(take_cards.shown, parts.store, visitor, fresh=fresh)
        said = status_line(job.state, [])
        yield [skip, said, skip, takes, *_buttons(False)]

    return show


def _job(parts: ServerParts, visitor: str, id: str) -> Generation | None:
    """The job of this id, or else the newest that has not ended."""
    own = parts.generations.of(visitor)
    if id:
        return next((job for job in own if job.id == id), None)
    return next((job for job in own if not job.ended), None)


def _buttons(busy: bool) -> list[Any]:
    return [gr.update(interactive=not busy), gr.update(interactive=busy)]


def _bind_generation(
    parts: ServerParts, visitor: Any, form: Form, shown: list[Any], follower: Callable[..., Any]
) -> None:
    """Generate and Cancel."""
    job, status, live, _, start, stop = shown

    def begin(visitor: str, *values: Any) -> list[Any]:
        try:
            made = parts.generations.start(checked(visitor), request_of(parts, values))
        except Exception as error:
            return ["", line(told(error), "failed"), *_buttons(False)]
        return [made.id, line("Begins …"), *_buttons(True)]

    async def show(visitor: str, id: str) -> AsyncIterator[list[Any]]:
        if not id:  # refused; without any values all outputs would become empty
            yield [gr.skip()] * len(shown)
            return
        async for values in follower(visitor, id):
            yield values

    def cancel(visitor: str, id: str) -> Any:
        found = _job(parts, visitor, id)
        if found is None or found.ended:
            return gr.skip()
        found.cancel()
        return line("Stops …")

    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    begun = start.click(
        begin, [visitor, *form.inputs], [job, status, start, stop], concurrency_limit=8, **private
    )
    # The one before is still in the player, which must not go on into the new one.
    begun.then(lambda: gr.update(value=None), None, live, **private).then(
        show, [visitor, job], shown, concurrency_limit=None, **private
    )
    stop.click(cancel, [visitor, job], status, concurrency_limit=None, **private)


def _bind_form(parts: ServerParts, form: Form) -> None:
    """What controls do to other controls."""

    def model_chosen(model: str, chosen: Sequence[str]) -> list[Any]:
        try:
            facts, fitting = parts.shelf.facts(model), parts.shelf.adapters_of(model)
        except UserError as error:
            return [gr.update(info=told(error)), *[gr.skip()] * 2]
        kept = [name for name in chosen or [] if name in fitting]
        return [
            gr.update(info=told_of(facts)),
            gr.update(visible=facts.takes_melody),
            gr.update(choices=fitting, value=kept, visible=bool(fitting)),
        ]

    def adapters_chosen(adapters: Sequence[str]) -> list[Any]:
        try:
            return weight_sliders(parts, adapters or [])
        except UserError:  # removed since
            return [gr.skip()] * len(form.weights)

    def labels(model: str) -> Any:
        return gr.update(choices=parts.shelf.choices())

    private: dict[str, Any] = {
        "api_visibility": "private", "show_progress": "hidden", "concurrency_limit": 8,
    }  # fmt: skip
    form.model.focus(labels, form.model, form.model, **private)
    form.model.change(
        model_chosen, [form.model, form.adapters], [form.model, form.melody_box, form.adapters],
        **private,
    )  # fmt: skip
    form.adapters.change(adapters_chosen, form.adapters, list(form.weights), **private)
    for sound, box in ((form.melody, form.melody_box), (form.prompt, form.prompt_box)):
        sound.change(
            lambda file: gr.update(open=True) if file else gr.skip(), sound, box, **private
        )


def _takes_melody(parts: ServerParts) -> bool:
    return parts.shelf.facts(parts.shelf.choices()[0]).takes_melody
