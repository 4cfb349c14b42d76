"""The form of the Fine-tune tab: songs, a base, and how it is to be trained."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from musicgen_train.app.finetune_options import (
    LONGEST_TRIGGER,
    METHODS,
    PRESETS,
    FinetuneOptions,
    Goal,
)
from musicgen_train.app.optional_number import as_typed, number_in, optional_number, whole_in
from musicgen_train.app.server_parts import ServerParts

_VOCALS = [
    ("take them out, if the songs come without stems", "auto"),
    ("take them out", "demucs"),
    ("there are none", "none"),
]
_BY_DEVICE = "by the device"


@dataclass(frozen=True)
class FinetuneForm:
    """The controls; `options_of` takes the values of `inputs`."""

    drop: gr.File
    gathered: gr.CheckboxGroup
    remove: gr.Button
    name: gr.Textbox
    base: gr.Dropdown
    trigger: gr.Textbox
    method: gr.Radio
    separator: gr.Radio
    preset: gr.Dropdown
    steps: gr.Textbox
    batch_size: gr.Textbox
    lr: gr.Textbox
    rank: gr.Textbox
    prior_share: gr.Textbox
    held_out: gr.Textbox
    clips: gr.Textbox

    @property
    def inputs(self) -> list[Any]:
        """The controls that make the options, in their order."""
        return [
            self.base, self.trigger, self.method, self.separator, self.preset, self.steps,
            self.batch_size, self.lr, self.rank, self.prior_share, self.held_out, self.clips,
        ]  # fmt: skip


def build_finetune_form(parts: ServerParts) -> FinetuneForm:
    """The controls, in the order in which one meets them. Made inside a column of a Blocks."""
    choices = parts.shelf.choices()
    drop = gr.File(
        label="Songs", file_count="multiple",
        type="filepath", height=160, elem_id="songs", file_types=["audio"],
    )  # fmt: skip
    gathered = gr.CheckboxGroup([], label="Songs", visible=False, elem_id="gathered")
    remove = gr.Button("Remove the checked songs", size="sm", visible=False, elem_id="remove-songs")
    name = gr.Textbox(
        label="Name", placeholder="my_songs", max_length=80, elem_id="run-name",
        info="of the result; the name of one that exists goes on with it",
    )  # fmt: skip
    base = gr.Dropdown(choices, value=choices[0], label="Model to start from", elem_id="base")
    trigger = gr.Textbox(
        label="Words that call the style", placeholder="my style", max_length=LONGEST_TRIGGER,
        info="put in front of every caption; may be empty", elem_id="trigger",
    )  # fmt: skip
    separator = gr.Radio(_VOCALS, value="auto", label="Voices", elem_id="separator")
    rest = _rest()
    return FinetuneForm(
        drop, gathered, remove, name, base, trigger, rest.pop("method"), separator, **rest
    )


def options_of(goal: Goal, values: Sequence[Any]) -> FinetuneOptions:
    """What the form asks for, unchecked but for numbers that are none."""
    (
        base, trigger, method, separator, preset, steps, batch_size, lr, rank, prior_share,
        held_out, clips,
    ) = values  # fmt: skip
    numbers: dict[str, Any] = {
        "steps": steps, "batch_size": batch_size, "rank": rank, "held_out": held_out,
        "clips": clips,
    }  # fmt: skip
    whole_numbers: Any = {name: whole_in(value, name) for name, value in numbers.items()}
    return FinetuneOptions(
        base=base or "",
        trigger=trigger or "",
        method=method or "lora",
        separator=separator or "auto",
        goal=goal,
        preset=None if preset in (None, _BY_DEVICE) else preset,
        lr=number_in(lr, "learning rate"),
        prior_share=number_in(prior_share, "share against forgetting"),
        **whole_numbers,
    )


def values_of(options: FinetuneOptions) -> list[Any]:
    """The values of `inputs` that ask for these options."""
    return [
        options.base, options.trigger, options.method, options.separator,
        options.preset or _BY_DEVICE, *map(as_typed, (
            options.steps, options.batch_size, options.lr, options.rank, options.prior_share,
            options.held_out, options.clips,
        )),
    ]  # fmt: skip


def _rest() -> dict[str, Any]:
    """The rarer controls, by their fields."""

    def number(label: str, name: str, info: str) -> gr.Textbox:
        return optional_number(label, "from the data", f"ft-{name}", info)

    with gr.Accordion("More settings", open=False, elem_id="ft-more"):
        method = gr.Radio(
            list(METHODS), value="lora", label="Method", elem_id="method",
            info="lora and dora: a small adapter; full: all weights, four times the memory",
        )  # fmt: skip
        preset = gr.Dropdown(
            [_BY_DEVICE, *PRESETS], value=_BY_DEVICE, label="Sizes for", elem_id="preset"
        )
        with gr.Row():
            steps = number("Steps", "steps", "more: nearer to the songs")
            batch_size = number("Segments per step", "batch", "memory follows the device")
        with gr.Row():
            lr = number("Learning rate", "lr", "higher: nearer to the songs")
            rank = number("Rank", "rank", "of the adapter")
        with gr.Row():
            share = number("Share against forgetting", "share", "0 to 0.9 of what it hears")
            held_out = number("Songs kept out", "held-out", "to measure with")
        clips = number("Clips to measure", "clips", "of each kind of text")
    return {
        "method": method, "preset": preset, "steps": steps, "batch_size": batch_size, "lr": lr,
        "rank": rank, "prior_share": share, "held_out": held_out, "clips": clips,
    }  # fmt: skip
