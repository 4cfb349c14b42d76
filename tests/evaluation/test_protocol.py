from pathlib import Path

import pytest
import yaml

from musicgen_train.errors import UserError
from musicgen_train.evaluation.listeners import load_listeners, possible_metrics
from musicgen_train.evaluation.protocol import METRICS, make_protocol

PRESETS = sorted((Path(__file__).parents[2] / "conf" / "protocol").glob("*.yaml"))
DEFAULT = {
    "name": "default", "metrics": ["fad", "kl"], "embedders": ["judge"], "tagger": "judge",
    "compat": False, "loudness": None,
}  # fmt: skip


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_every_preset_is_a_protocol_of_its_name(path):
    protocol = make_protocol(yaml.safe_load(path.read_text()), None, None)
    assert protocol.name == path.stem and set(protocol.metrics) <= set(METRICS)


def test_the_presets_are_there():
    assert {path.stem for path in PRESETS} == {"default", "judge", "musicgen_compat"}


def test_metrics_that_are_impossible_are_left_out_unless_they_were_asked_for():
    protocol = make_protocol(DEFAULT, None, None)
    assert possible_metrics(protocol, {"kl": "why", "clap": "no"}, False) == (
        ("fad",),
        {"kl": "why"},
    )
    with pytest.raises(UserError, match="metrics names kl, which needs a tagger: why"):
        possible_metrics(protocol, {"kl": "why"}, True)
    with pytest.raises(UserError, match="nothing can be measured: why; no"):
        possible_metrics(protocol, {"kl": "why", "fad": "no"}, False)


def test_one_model_serves_every_metric_that_asks_for_it():
    protocol = make_protocol(DEFAULT, ["fad", "kl", "text"], None)
    found = load_listeners(protocol, protocol.metrics, {}, {"judge": None}, True)
    assert found.embedders == [found.tagger] == [found.text_judge] == found.everybody
    assert found.judge is found.tagger


def test_who_is_not_needed_does_not_listen():
    protocol = make_protocol(DEFAULT, ["chroma"], ["vggish", "clap"])
    found = load_listeners(protocol, protocol.metrics, {}, {}, True)
    assert found.everybody == [found.chroma] and found.judge is None
