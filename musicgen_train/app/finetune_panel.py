"""What is shown of a fine-tuning while it goes on, and of what it has made."""

import time
from contextlib import suppress
from typing import Any, NamedTuple

import gradio as gr
import pandas as pd

from musicgen_train.app.finetune_job import FinetuneJob
from musicgen_train.app.finetune_view import log_html, samples_html, songs_html, state_html
from musicgen_train.app.finetunings import Finetunings
from musicgen_train.app.following import line
from musicgen_train.app.plain import plain
from musicgen_train.app.server_parts import ServerParts
from musicgen_train.app.told_errors import told
from musicgen_train.errors import UserError

_PRIVATE: dict[str, Any] = {
    "api_visibility": "private", "show_progress": "hidden", "concurrency_limit": 8,
}  # fmt: skip
_SLOW: dict[str, Any] = {**_PRIVATE, "show_progress": "minimal"}
_TICK = 1.0  # seconds
_DOWNLOADS = [
    ("the adapter", "adapter"), ("the model", "model"), ("for transformers", "transformers"),
    ("the report", "report"),
]  # fmt: skip


class Panel(NamedTuple):
    """What the rest of the tab needs of it."""

    run: gr.Dropdown
    timer: gr.Timer
    use: gr.Button


def build_panel(parts: ServerParts, jobs: Finetunings, stop: gr.Button) -> Panel:
    """The column, kept up to date by a timer while its run is active; stop: usable only then."""
    names = [job.name for job in jobs.jobs()]
    run = gr.Dropdown(
        names, value=names[0] if names else None, label="Fine-tuning", elem_id="run",
        info="those of this page and of the command line",
    )  # fmt: skip
    state = plain(elem_id="ft-state")
    with gr.Row(visible=False, elem_id="ft-result") as result:
        use = gr.Button("Use in Generate", variant="primary", elem_id="ft-use", min_width=150)
        what = gr.Dropdown(
            [], label="Take away", elem_id="ft-what", min_width=150, interactive=True
        )
        pack = gr.Button("Make a file of it", elem_id="ft-pack", min_width=150)
    file = gr.File(label="To download", visible=False, interactive=False, elem_id="ft-file")
    with gr.Accordion("Songs", open=False, elem_id="ft-songs"):
        songs = plain()
    with gr.Accordion("Captions: what training is told of each song", open=False) as captions_box:
        captions, save = _captions()
    losses = gr.LinePlot(
        None, x="step", y="loss", color="of", title="Loss (cross entropy in nats)", height=240,
        visible=False, elem_id="losses", buttons=[],
    )  # fmt: skip
    samples = plain(elem_id="ft-samples")
    with gr.Accordion("Log", open=False, elem_id="ft-log"):
        log = plain()
    seen = gr.State({})
    timer = gr.Timer(_TICK, active=False)
    show = _shower(parts, jobs)
    outputs = [
        state, songs, log, captions, captions_box, losses, samples, result, what, seen, timer, stop,
    ]  # fmt: skip
    timer.tick(show, [run, seen], outputs, **_PRIVATE)
    run.change(show, [run, seen], outputs, **_PRIVATE)
    _bind_results(parts, jobs, run, captions, save, what, pack, file)
    return Panel(run, timer, use)


def _captions() -> tuple[gr.Dataframe, gr.Button]:
    captions = gr.Dataframe(
        headers=["song", "caption"], datatype="str", type="array", interactive=True,
        static_columns=[0], column_count=2, wrap=True, max_height=320, elem_id="captions",
        column_widths=["35%", "65%"], buttons=[],
    )  # fmt: skip
    save = gr.Button("Save the captions", size="sm", elem_id="save-captions")
    return captions, save


def _shower(parts: ServerParts, jobs: Finetunings) -> Any:
    """A run as it stands now; what has not changed since it was seen is left alone."""

    def show(name: str | None, seen: dict[str, Any]) -> list[Any]:
        try:
            if not name:
                raise UserError("")
            job = jobs.get(name)
        except UserError:
            empty = gr.update(value=None, visible=False)
            nothing = line("No fine-tuning yet: drop songs, and start one.", "stopped")
            return [
                nothing, songs_html([]), "", [], gr.skip(), empty, "", gr.update(visible=False),
                gr.skip(), {}, gr.update(active=False),
                gr.update(interactive=False),
            ]  # fmt: skip
        status = job.status()
        before = seen if isinstance(seen, dict) and seen.get("name") == name else {}
        now: dict[str, Any] = {"name": name}
        changed = _changed(parts, job, before, now)
        return [
            state_html(status), songs_html(status.songs), log_html(status.log), *changed, now,
            gr.update(active=status.active),
            gr.update(interactive=status.active and status.ours),
        ]  # fmt: skip

    return show


def _changed(
    parts: ServerParts, job: FinetuneJob, before: dict[str, Any], now: dict[str, Any]
) -> list[Any]:
    """Updates of captions, their box, losses, samples, result and downloads.

    before: what was seen of each; now: is filled with what there is.
    """
    rows: list[list[str]] = []
    with suppress(UserError):
        rows = [[row.song, row.caption] for row in job.captions()]
    curves = {which: job.losses(which) for which in ("train", "valid")}
    pairs, training = job.samples(), job.training_samples()
    result = job.result()
    there = [(label, key) for label, key in _DOWNLOADS if getattr(result, key) is not None]
    now |= {"captions": rows, "losses": curves, "samples": (pairs, training), "there": there}
    new = {key: before.get(key) != value for key, value in now.items()}
    return [
        rows if new["captions"] else gr.skip(),
        gr.update(label=f"Captions: what training is told of each song ({len(rows)})")
        if new["captions"]
        else gr.skip(),
        _plot(curves) if new["losses"] else gr.skip(),
        samples_html(pairs, training, parts.shown.copy) if new["samples"] else gr.skip(),
        gr.update(visible=bool(there)) if new["there"] else gr.skip(),
        gr.update(choices=there, value=there[0][1] if there else None)
        if new["there"]
        else gr.skip(),
    ]


def _plot(curves: dict[str, list[tuple[int, float]]]) -> Any:
    names = {"train": "training", "valid": "kept-out songs"}
    rows = [(step, loss, names[which]) for which, points in curves.items() for step, loss in points]
    if not rows:
        return gr.update(value=None, visible=False)
    return gr.update(value=pd.DataFrame(rows, columns=["step", "loss", "of"]), visible=True)


def _bind_results(
    parts: ServerParts,
    jobs: Finetunings,
    run: gr.Dropdown,
    captions: gr.Dataframe,
    save: gr.Button,
    what: gr.Dropdown,
    pack: gr.Button,
    file: gr.File,
) -> None:
    """Saving captions, and packing what is taken away."""

    def keep(name: str, rows: list[list[str]]) -> None:
        try:
            changed = jobs.get(name or "").save_captions({str(row[0]): row[1] for row in rows})
        except Exception as error:
            raise gr.Error(told(error), print_exception=False) from None
        gr.Info(f"{changed} captions changed: they count from the next start on.")

    def packed(name: str, what: str) -> Any:
        try:
            job = jobs.get(name or "")
            folder = parts.shown.new_folder(f"{name} {what} {time.time()}")
            made = parts.shown.added(job.packed(what, folder))  # type: ignore[arg-type]
        except Exception as error:
            raise gr.Error(told(error), print_exception=False) from None
        return gr.update(value=str(made), visible=True)

    save.click(keep, [run, captions], None, **_PRIVATE)
    pack.click(packed, [run, what], file, **_SLOW)
