"""The form of the Generate tab: its controls, and what they ask for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from musicgen_train.app.model_facts import ModelFacts
from musicgen_train.app.optional_number import number_in, optional_number, whole_in
from musicgen_train.app.request import LONGEST_TEXT, SEPARATORS, Limits, Request, random_seed
from musicgen_train.app.server_parts import ServerParts
from musicgen_train.app.sounds import read_sound
from musicgen_train.app.untrusted_files import as_number
from musicgen_train.errors import UserError

MOST_ADAPTERS = 4


@dataclass(frozen=True)
class Form:
    """The controls; `values` of `request_of` come in the order of `inputs`."""

    model: gr.Dropdown
    text: gr.Textbox
    negative_text: gr.Textbox
    melody_box: gr.Accordion
    melody: gr.Audio
    separate: gr.Checkbox
    prompt_box: gr.Accordion
    prompt: gr.Audio
    prompt_duration: gr.Textbox
    adapters: gr.Dropdown
    weights: Sequence[gr.Slider]
    duration: gr.Slider
    variants: gr.Slider
    seed: gr.Textbox
    cfg_coef: gr.Slider
    temperature: gr.Slider
    top_k: gr.Slider
    top_p: gr.Slider

    @property
    def inputs(self) -> list[Any]:
        """The controls that make a request."""
        return [
            self.model, self.text, self.negative_text, self.melody, self.separate, self.prompt,
            self.prompt_duration, self.duration, self.variants, self.seed, self.cfg_coef,
            self.temperature, self.top_k, self.top_p, self.adapters, *self.weights,
        ]  # fmt: skip

    @property
    def filled(self) -> list[Any]:
        """The controls that `form_filling.filling` fills, in its order."""
        return [
            self.model, self.text, self.negative_text, self.prompt_duration, self.duration,
            self.seed, self.cfg_coef, self.temperature, self.top_k, self.top_p, self.separate,
            self.melody, self.prompt, self.adapters, *self.weights,
        ]  # fmt: skip


def build_form(parts: ServerParts) -> Form:
    """The controls, in the order in which one meets them. Made inside a column of a Blocks."""
    choices = parts.shelf.choices()
    first = choices[0]
    facts = parts.shelf.facts(first)
    text = gr.Textbox(
        label="Describe the music", lines=2, max_length=LONGEST_TEXT, elem_id="text",
        placeholder="calm piano, slow, warm",
    )  # fmt: skip
    model = gr.Dropdown(
        choices, value=first, label="Model", info=told_of(facts), elem_id="model", filterable=True
    )
    adapters, weights = _adapters(parts.shelf.adapters_of(first))
    with gr.Accordion(
        "Melody to follow (optional)", open=False, visible=facts.takes_melody,
        elem_id="melody-box",
    ) as melody_box:  # fmt: skip
        melody = _sound("Melody", "melody")
        separate = gr.Checkbox(
            False, label="Take drums and bass out of it first",
            info="for a recording of a band; downloads HT-Demucs once", elem_id="separate",
        )  # fmt: skip
    with gr.Accordion(
        "Clip to continue (optional)", open=False, elem_id="prompt-box"
    ) as prompt_box:
        prompt = _sound("Clip", "prompt")
        prompt_duration = optional_number(
            "Use only its first seconds", "all of it", "prompt-duration",
            "the duration of the music includes it",
        )  # fmt: skip
    duration, variants = _amounts(parts.limits)
    more = _more()
    return Form(
        model, text, more["negative_text"], melody_box, melody, separate, prompt_box, prompt,
        prompt_duration, adapters, weights, duration, variants, more["seed"], more["cfg_coef"],
        more["temperature"], more["top_k"], more["top_p"],
    )  # fmt: skip


def told_of(facts: ModelFacts) -> str:
    """What a model can do, as a line."""
    takes = " and ".join(
        name for name, can in (("text", facts.takes_text), ("melody", facts.takes_melody)) if can
    )
    kind = "stereo" if facts.channels == 2 else "mono"
    place = "" if facts.present else "; downloaded when it is first used"
    window = f"{facts.max_duration:g} s at a time, longer music piece by piece"
    return f"takes {takes or 'nothing'}; {facts.sample_rate / 1000:g} kHz {kind}; {window}{place}"


def request_of(parts: ServerParts, values: Sequence[Any]) -> Request:
    """What the form asks for; `UserError` in one line for what cannot be."""
    (
        model, text, negative_text, melody, separate, prompt, prompt_duration, duration, variants,
        seed, cfg_coef, temperature, top_k, top_p, adapters, *weights,
    ) = values  # fmt: skip
    facts = parts.shelf.facts(model)
    if not facts.takes_melody:
        melody = None  # hidden, perhaps left from another model
    return Request(
        model=model,
        adapters=dict(zip(adapters or [], weights, strict=False)),
        text=text or "",
        negative_text=negative_text or "",
        melody=None if melody is None else read_sound(melody, parts.uploads, parts.limits),
        melody_separator=SEPARATORS[0] if separate and melody is not None else None,
        prompt=None if prompt is None else read_sound(prompt, parts.uploads, parts.limits),
        prompt_duration=None
        if prompt is None
        else number_in(prompt_duration, "seconds of the clip"),
        duration=_float(duration, "duration"),
        variants=whole(variants, "variants"),
        seed=chosen_seed(whole_in(seed, "seed")),
        cfg_coef=_float(cfg_coef, "guidance"),
        temperature=_float(temperature, "temperature"),
        top_k=whole(top_k, "top-k"),
        top_p=_float(top_p, "top-p"),
    )


def chosen_seed(seed: Any) -> int:
    """The seed of the form; empty or negative: a random one."""
    if seed is None or (isinstance(seed, int | float) and seed < 0):
        return random_seed()
    return whole(seed, "seed")


def whole(value: Any, name: str) -> int:
    """A whole number from a browser, where all numbers are floats."""
    number = _float(value, name)
    if not number.is_integer():
        raise UserError(f"{name} {number:g}: give a whole number")
    return int(number)


def _sound(label: str, name: str) -> gr.Audio:
    return gr.Audio(
        label=label, sources=["upload", "microphone"], type="filepath", editable=True,
        elem_id=name, buttons=[], show_label=False,
    )  # fmt: skip


def _adapters(fitting: list[str]) -> tuple[gr.Dropdown, list[gr.Slider]]:
    adapters = gr.Dropdown(
        fitting, value=[], multiselect=True, max_choices=MOST_ADAPTERS, label="Adapters",
        info="fine-tuned styles of this model, mixed", visible=bool(fitting), elem_id="adapters",
    )  # fmt: skip
    weights = [
        gr.Slider(-1, 2, value=1.0, step=0.05, visible=False, label="Weight", elem_id=f"weight-{i}")
        for i in range(MOST_ADAPTERS)
    ]
    return adapters, weights


def _amounts(limits: Limits) -> tuple[gr.Slider, gr.Slider]:
    with gr.Row():
        duration = gr.Slider(
            1, limits.max_duration, value=min(8.0, limits.max_duration), step=0.5,
            label="Duration (s)", elem_id="duration", min_width=180, buttons=[],
        )  # fmt: skip
        variants = gr.Slider(
            1, limits.max_variants, value=1, step=1, label="Variants", elem_id="variants",
            min_width=180, buttons=[],
        )  # fmt: skip
    return duration, variants


def _more() -> dict[str, Any]:
    """The rarer controls."""
    with gr.Accordion("More settings", open=False, elem_id="more"):
        negative = gr.Textbox(
            label="What it should not be", max_length=LONGEST_TEXT, elem_id="negative-text",
            placeholder="drums, distortion",
        )  # fmt: skip
        with gr.Row():
            seed = optional_number("Seed", "random", "seed", "the same seed, the same music")
            cfg = gr.Slider(
                0, 10, value=3.0, step=0.1, label="Guidance", info="more: closer to the text",
                elem_id="cfg-coef", min_width=140, buttons=[],
            )  # fmt: skip
        with gr.Row():
            temperature = gr.Slider(
                0.1, 2, value=1.0, step=0.05, label="Temperature", info="more: wilder",
                elem_id="temperature", min_width=180, buttons=[],
            )  # fmt: skip
            top_k = gr.Slider(
                0, 2000, value=250, step=1, label="Top-k", info="0: all codes", elem_id="top-k",
                min_width=180, buttons=[],
            )  # fmt: skip
            top_p = gr.Slider(
                0, 1, value=0.0, step=0.01, label="Top-p", info="above 0: instead of top-k",
                elem_id="top-p", min_width=180, buttons=[],
            )  # fmt: skip
    return {
        "negative_text": negative, "seed": seed, "cfg_coef": cfg, "temperature": temperature,
        "top_k": top_k, "top_p": top_p,
    }  # fmt: skip


def _float(value: Any, name: str) -> float:
    if not _is_number(value):
        raise UserError(f"{name}: give a number")
    return float(value)


def _is_number(value: Any) -> bool:
    return as_number(value) is not None
