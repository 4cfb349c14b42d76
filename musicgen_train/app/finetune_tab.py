"""The Fine-tune tab: songs in, a fine-tuned model out, by the recipe of the command line."""

from contextlib import suppress
from typing import Any, NamedTuple

import gradio as gr

from musicgen_train.app.finetune_form import (
    FinetuneForm,
    build_finetune_form,
    options_of,
    values_of,
)
from musicgen_train.app.finetune_job import FinetuneJob
from musicgen_train.app.finetune_options import Goal
from musicgen_train.app.finetune_panel import Panel, build_panel
from musicgen_train.app.finetune_songs import bind_songs, listed
from musicgen_train.app.finetunings import Finetunings
from musicgen_train.app.following import line
from musicgen_train.app.form_filling import weight_sliders
from musicgen_train.app.generate_form import Form
from musicgen_train.app.markup import paragraph
from musicgen_train.app.plain import plain
from musicgen_train.app.server_parts import ServerParts
from musicgen_train.app.told_errors import told
from musicgen_train.app.visitor import checked
from musicgen_train.errors import UserError

_PRIVATE: dict[str, Any] = {
    "api_visibility": "private", "show_progress": "hidden", "concurrency_limit": 8,
}  # fmt: skip


_INTRODUCTION = paragraph(
    "Ten minutes of your music are enough to begin with. Drop songs (mp3, m4a, flac, ogg, opus, "
    "wav, aiff), ask for an estimate, look at the captions if you like, and start: it can be "
    "stopped and goes on, also when this page is closed."
)


class _Buttons(NamedTuple):
    """What begins and ends a fine-tuning, and the line that says why it does not."""

    estimate: gr.Button
    captions: gr.Button
    start: gr.Button
    stop: gr.Button
    said: gr.HTML


def build_finetune_tab(
    parts: ServerParts, visitor: gr.BrowserState, tab: gr.Tab, tabs: gr.Tabs, generate: Form
) -> None:
    """The tab, with all that its controls do. Made inside a Tab of a Blocks."""
    jobs = parts.finetunings
    why_not = jobs.unavailable() if jobs is not None else "Fine-tuning is switched off here."
    if jobs is None or why_not:
        plain(line(why_not))
        return
    plain(_INTRODUCTION)
    with gr.Row(elem_classes="two-columns"):
        with gr.Column(scale=5, min_width=320):
            form = build_finetune_form(parts)
            buttons = _buttons()
        with gr.Column(scale=7, min_width=320):
            panel = build_panel(parts, jobs, buttons.stop)
    bind_songs(parts, visitor, form, buttons.said, tab)
    _bind_work(parts, jobs, visitor, form, buttons, panel)
    _bind_stop(jobs, buttons, panel)
    _bind_choice(jobs, form, panel, tab)
    _bind_use(parts, jobs, panel, tabs, generate)


def _buttons() -> _Buttons:
    with gr.Row():
        estimate = gr.Button("Estimate", elem_id="estimate", min_width=120)
        captions = gr.Button("Captions only", elem_id="only-captions", min_width=120)
    with gr.Row():
        start = gr.Button("Start", variant="primary", elem_id="ft-start", min_width=120)
        stop = gr.Button(
            "Stop", variant="stop", elem_id="ft-stop", min_width=120, interactive=False
        )
    said = plain(elem_id="ft-said")
    return _Buttons(estimate, captions, start, stop, said)


def _bind_work(
    parts: ServerParts,
    jobs: Finetunings,
    visitor: Any,
    form: FinetuneForm,
    buttons: _Buttons,
    panel: Panel,
) -> None:
    """Estimate, captions only, and start."""

    def begin(goal: Goal) -> Any:
        def act(visitor: str, name: str, *values: Any) -> list[Any]:
            try:
                options = options_of(goal, values)
                options.checked()
                parts.shelf.source(options.base)  # a label of the list
                job = _job(parts, jobs, visitor, name, options.trigger)
                job.start(options)
            except Exception as error:
                songs = listed(parts, visitor)  # they may have moved into the run
                return [line(told(error), "failed"), gr.skip(), *songs, gr.skip(), gr.skip()]
            chosen = gr.update(choices=[one.name for one in jobs.jobs()], value=job.name)
            return ["", job.name, *listed(parts, visitor), chosen, gr.update(active=True)]

        return act

    goals: list[tuple[gr.Button, Goal]] = [
        (buttons.estimate, "estimate"), (buttons.captions, "captions"), (buttons.start, "all"),
    ]  # fmt: skip
    for button, goal in goals:
        button.click(
            begin(goal),
            [visitor, form.name, *form.inputs],
            [buttons.said, form.name, form.gathered, form.remove, panel.run, panel.timer],
            **_PRIVATE,
        )


def _bind_stop(jobs: Finetunings, buttons: _Buttons, panel: Panel) -> None:
    """Stop: what is shown goes on being looked at until it has ended."""

    def stop(name: str) -> list[Any]:
        try:
            jobs.get(name).stop()
        except UserError as error:
            return [line(told(error), "failed"), gr.skip()]
        return ["", gr.update(active=True)]

    buttons.stop.click(stop, panel.run, [buttons.said, panel.timer], **_PRIVATE)


def _job(
    parts: ServerParts, jobs: Finetunings, visitor: str, name: str, trigger: str
) -> FinetuneJob:
    """The one of this name, with the songs that were dropped since; or a new one of them."""
    dropped = parts.songs_of(checked(visitor))
    name = (name or "").strip()
    if not name:
        return jobs.create(jobs.free_name(trigger or "my_songs"), dropped)
    known = [job.name for job in jobs.jobs()]
    if name not in known:
        return jobs.create(name, dropped)
    job = jobs.get(name)
    if dropped.songs():
        job.add_songs(dropped)
    return job


def _bind_choice(jobs: Finetunings, form: FinetuneForm, panel: Panel, tab: gr.Tab) -> None:
    """A fine-tuning that is chosen is shown, and the form has what it was begun with."""

    def chosen(name: str | None) -> list[Any]:
        skips = [gr.skip()] * len(form.inputs)
        if not name:
            return [gr.skip(), *skips]
        try:
            options = jobs.get(name).options()
        except UserError:
            return [gr.skip(), *skips]
        return [name, *(skips if options is None else values_of(options))]

    def again(name: str | None) -> list[Any]:
        names = [job.name for job in jobs.jobs()]
        value = name if name in names else (names[0] if names else None)
        return [gr.update(choices=names, value=value), gr.update(active=True)]

    def unfinished(name: str | None, typed: str) -> list[Any]:
        """After a reload; a form that is begun, and one for another after a success, stay."""
        if name and not typed:
            with suppress(UserError):
                if jobs.get(name).status().state not in ("done", "new"):
                    return chosen(name)
        return [gr.skip()] * (1 + len(form.inputs))

    filled = [form.name, *form.inputs]
    panel.run.input(chosen, panel.run, filled, **_PRIVATE)
    tab.select(again, panel.run, [panel.run, panel.timer], **_PRIVATE).then(
        unfinished, [panel.run, form.name], filled, **_PRIVATE
    )


def _bind_use(
    parts: ServerParts, jobs: Finetunings, panel: Panel, tabs: gr.Tabs, generate: Form
) -> None:
    """What was made is in the Generate tab's form at once."""

    def use(name: str) -> list[Any]:
        try:
            job = jobs.get(name)
            label, choices = job.result().label, parts.shelf.choices()
            base = _base_of(parts, job, label)
            if base is None and label not in choices:
                raise UserError(f"{name} has made no model yet: wait for it, or start it")
            adapters = [] if base is None else [label]
            updates = weight_sliders(parts, adapters, [1.0] * len(adapters))
            trigger = parts.shelf.trigger_of(label) if adapters else None
        except UserError as error:
            gr.Info(told(error))
            return [gr.skip()] * (4 + len(generate.weights))
        fitting = parts.shelf.adapters_of(base or label)
        return [
            gr.update(selected="generate"),
            gr.update(choices=choices, value=base or label),
            gr.update(choices=fitting, value=adapters, visible=bool(fitting)),
            trigger or gr.skip(),
            *updates,
        ]

    panel.use.click(
        use, panel.run,
        [tabs, generate.model, generate.adapters, generate.text, *generate.weights], **_PRIVATE,
    )  # fmt: skip


def _base_of(parts: ServerParts, job: FinetuneJob, label: str) -> str | None:
    """The model on the list that the adapter of a fine-tuning belongs to, if it has one."""
    options, choices = job.options(), parts.shelf.choices()
    first = [options.base] if options is not None and options.base in choices else []
    for base in [*first, *choices]:
        try:
            if label in parts.shelf.adapters_of(base):
                return base
        except UserError:  # one of the list is damaged
            continue
    return None
