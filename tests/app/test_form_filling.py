"""Settings that nobody vouches for fill the form, and nothing of another take stays in it."""

import gradio as gr
import pytest

from musicgen_train.app.form_filling import filling, told_of_filling
from musicgen_train.app.generate_form import build_form, whole
from musicgen_train.app.server_parts import Offer, ServerParts
from musicgen_train.errors import UserError

HUGE = 10**400


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    parts = ServerParts(Offer(), root=tmp_path_factory.mktemp("form"))
    yield parts
    parts.close()


@pytest.fixture(scope="module")
def names(parts):
    with gr.Blocks():
        form = build_form(parts)
    fields = {id(value): name for name, value in vars(form).items()}
    return [fields.get(id(control), "weight") for control in form.filled]


def filled(parts, names, settings):
    updates = filling(parts, settings)
    assert len(updates) == len(names)
    return dict(zip(names, updates, strict=True))


@pytest.mark.parametrize("value", [HUGE, -HUGE, float("nan"), float("inf"), True, "1", None, []])
def test_what_is_no_number_is_refused_by_name(value):
    with pytest.raises(UserError, match="variants: give a number"):
        whole(value, "variants")


def test_settings_of_any_kind_fill_the_form(parts, names):
    odd = [HUGE, float("nan"), [], {}, "x", None, True]
    keys = ("model", "text", "duration", "seed", "top_k", "adapters", "melody", "prompt_duration")
    for value in odd:
        for key in keys:
            filled(parts, names, {key: value})
    assert filled(parts, names, {"duration": HUGE})["duration"] == 8.0


def test_a_sound_that_a_take_had_not_leaves_the_form(parts, names):
    updates = filled(parts, names, {"model": "tiny", "melody": "tune.wav", "prompt": None})
    assert updates["prompt"] == gr.update(value=None)
    assert updates["melody"] == gr.skip()
    said = told_of_filling(parts, {"model": "tiny", "melody": "tune.wav", "prompt": None})
    assert said.endswith("Add tune.wav again.")


def test_a_model_that_is_not_offered_is_named(parts, names):
    assert filled(parts, names, {"model": "gone"})["model"] == gr.skip()
    assert "'gone' is not offered" in told_of_filling(parts, {"model": "gone"})
    assert "offered" not in told_of_filling(parts, {"model": "tiny"})
