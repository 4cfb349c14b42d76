"""The Evaluate tab: finished evaluations side by side, with figures and players."""

from collections.abc import Sequence
from typing import Any

import gradio as gr

from musicgen_train.app.finetune_view import play
from musicgen_train.app.following import line
from musicgen_train.app.markup import paragraph, table, text
from musicgen_train.app.plain import plain
from musicgen_train.app.runs import EvaluationRun, find_evaluations, shared_clips
from musicgen_train.app.runs import table as table_of
from musicgen_train.app.server_parts import ServerParts
from musicgen_train.app.told_errors import told

_MOST_RUNS, _MOST_CLIPS = 6, 24
_PRIVATE: dict[str, Any] = {
    "api_visibility": "private", "show_progress": "hidden", "concurrency_limit": 4,
}  # fmt: skip
_NONE = (
    "No evaluations yet: python evaluate.py ckpt=… dataset=… output_dir=runs/NAME makes one, and "
    "so does each fine-tuning."
)


def build_evaluate_tab(parts: ServerParts, tab: gr.Tab) -> None:
    """The tab, with all that its controls do. Made inside a Tab of a Blocks."""
    plain(
        "<p>Choose one evaluation to read it, or several to compare them: figures with 95 % "
        "intervals, and the same prompts side by side.</p>"
    )
    chosen = gr.Dropdown(
        [], value=[], multiselect=True, max_choices=_MOST_RUNS, label="Evaluations",
        elem_id="evaluations",
    )  # fmt: skip
    shown = plain(line("Reads the runs …"), elem_id="evaluation")

    def found() -> dict[str, EvaluationRun]:
        return {} if parts.runs_dir is None else _by_label(find_evaluations(parts.runs_dir))

    def again(labels: Sequence[str]) -> list[Any]:
        there = found()
        kept = [label for label in labels or [] if label in there] or list(there)[:2]
        return [gr.update(choices=list(there), value=kept), _shown(parts, there, kept)]

    def show(labels: Sequence[str]) -> str:
        return _shown(parts, found(), labels)

    chosen.input(show, chosen, shown, **_PRIVATE)
    tab.select(again, chosen, [chosen, shown], **_PRIVATE)


def _by_label(runs: Sequence[EvaluationRun]) -> dict[str, EvaluationRun]:
    """Each under a label of its own."""
    named: dict[str, EvaluationRun] = {}
    for run in runs:
        label, number = run.label, 2
        while label in named:
            label, number = f"{run.label} ({number})", number + 1
        named[label] = run
    return named


def _shown(parts: ServerParts, there: dict[str, EvaluationRun], labels: Sequence[str]) -> str:
    """The tables of the chosen runs, as HTML."""
    runs = [there[label] for label in (labels or [])[:_MOST_RUNS] if label in there]
    if not there:
        return line(_NONE, "stopped")
    if not runs:
        return line("Choose an evaluation.", "stopped")
    try:
        return "".join([*_figures(runs), _clips(parts, runs), *(_protocol(run) for run in runs)])
    except Exception as error:
        return line(told(error), "failed")


def _figures(runs: list[EvaluationRun]) -> list[str]:
    made = table_of(runs)
    rows = [[text(cell) for cell in row] for row in made.rows]
    return [
        table(made.columns, rows, "figures"),
        *(paragraph(note, "hint") for note in made.notes),
    ]


def _clips(parts: ServerParts, runs: list[EvaluationRun]) -> str:
    clips = [clip for clip in shared_clips(runs) if clip.audio]
    if not clips:
        return paragraph("No clips that all of these have.", "hint")
    titles = list(dict.fromkeys(title for clip in clips for title in clip.audio))
    rows = [
        [
            text(clip.text),
            *(play(clip.audio.get(title), title, parts.shown.copy) for title in titles),
        ]
        for clip in clips[:_MOST_CLIPS]
    ]
    more = "" if len(clips) <= _MOST_CLIPS else f" (the first {_MOST_CLIPS} of {len(clips)})"
    return table([f"Prompt{more}", *titles], rows, "players")


def _protocol(run: EvaluationRun) -> str:
    rows = [[text(name), text(value)] for name, value in run.protocol]
    if not rows:
        return ""
    return (
        f"<details><summary>How {text(run.label)} was measured</summary>"
        f"{paragraph(run.subtitle, 'hint')}{table(['Setting', 'Value'], rows)}</details>"
    )
