"""A model card shows what strangers wrote as text, whatever it is."""

import json

import pytest

from musicgen_train.formats.model_card import codec_card, musicgen_card
from musicgen_train.formats.provenance import Provenance
from tests.formats.small_lms import our_model

EVIL = "<img src=x>\n# big | [a](http:b) `c`"
SHOWN = "&lt;img src=x> # big / &#91;a](http:b) &#96;c&#96;"


@pytest.fixture
def source(tmp_path):
    """A record of a training and metrics that someone else wrote."""
    row = {"title": EVIL, "value": 1.0, "unit": EVIL, "good_end": EVIL, "good_end_is": EVIL}
    (tmp_path / "metrics.json").write_text(json.dumps({"metrics": [row]}))
    return Provenance("mit", {EVIL: EVIL}, tmp_path / "metrics.json")


def test_no_text_of_a_stranger_is_markup(source):
    model = our_model("text", EVIL)
    model.name = EVIL
    whole = musicgen_card(model, "native", "out", source, [EVIL])
    for card in (whole, codec_card(model.codec, "native", "out", source)):
        assert "<img" not in card and "[a]" not in card and "`c`" not in card
        assert "\n# big" not in card
        rows = [line for line in card.splitlines() if line.startswith("|")]
        assert {row.count("|") for row in rows} == {3, 5}
        assert f"| {SHOWN} | {SHOWN} |" in card
        assert f"| {SHOWN} | 1 {SHOWN} | {SHOWN} ({SHOWN}) | – |" in card
    assert f"# {SHOWN}\n" in whole and f"- Note: {SHOWN}." in whole
    assert f"text ({SHOWN}, by cross-attention)" in whole
