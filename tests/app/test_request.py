import json
import math

import pytest
import torch

from musicgen_train.app.model_facts import ModelFacts
from musicgen_train.app.request import LARGEST_SEED, Limits, Request, random_seed
from musicgen_train.app.sounds import Sound
from musicgen_train.errors import UserError

LIMITS = Limits()
FACTS = ModelFacts(True, True, 8.0, 16_000, 1)
BARE = ModelFacts(False, False, 8.0, 16_000, 1)
SOUND = Sound(torch.ones(1, 40), 10, "hum.wav", 4.0)


def request(**options):
    return Request(model="tiny", **options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"text": "x" * 2000, "negative_text": "noise"},
        {"text": "ピアノ 🎹 مرحبا"},
        {"seed": LARGEST_SEED - 4, "variants": 4},
        {"seed": 2**31},
        {"duration": 120.0},
        {"melody": SOUND, "melody_separator": "htdemucs"},
        {"prompt": SOUND, "duration": 4.1},
        {"prompt": SOUND, "prompt_duration": 1.0, "duration": 2},
        {"adapters": {"mine": -0.5}},
        {"top_k": 0, "top_p": 1.0, "temperature": 0.0, "cfg_coef": -2},
    ],
)
def test_what_can_work_is_allowed(options):
    request(**options).checked(LIMITS, FACTS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text": "x" * 2001}, "the text has 2001 letters"),
        ({"negative_text": "x" * 10**6}, "the negative text has 1000000 letters"),
        ({"text": "half \ud83d"}, "not UTF-8"),
        ({"text": None}, "the text is None"),
        ({"duration": 0}, "duration 0 s"),
        ({"duration": 121.0}, "at most 120 s"),
        ({"duration": math.nan}, "duration nan"),
        ({"duration": "8"}, "duration '8'"),
        ({"variants": 0}, "variants 0"),
        ({"variants": 5}, "from 1 to 4"),
        ({"variants": 1.5}, "variants 1.5"),
        ({"seed": -1}, "seed -1"),
        ({"seed": 2**53}, "seed"),
        ({"seed": 1.0}, "seed 1.0"),
        ({"top_k": -1}, "top_k -1"),
        ({"top_p": 1.1}, "top_p 1.1"),
        ({"temperature": math.inf}, "temperature inf"),
        ({"cfg_coef": math.nan}, "cfg_coef nan"),
        ({"cfg_coef": 10**400}, "cfg_coef inf"),
        ({"melody": SOUND, "melody_separator": "/etc"}, "separator '/etc'"),
        ({"melody": SOUND, "melody_separator": "../models"}, "choose htdemucs or none"),
        ({"prompt": SOUND, "duration": 4.0}, "the prompt lasts 4 s"),
        ({"prompt": SOUND, "prompt_duration": 0}, "prompt duration 0 s"),
        ({"prompt": SOUND, "prompt_duration": math.nan}, "prompt duration nan"),
        ({"adapters": {"mine": math.nan}}, "weight of 'mine' nan"),
        ({"adapters": {"mine": 11}}, "from -10 to 10"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(options, message):
    with pytest.raises(UserError, match=message) as refused:
        request(**options).checked(LIMITS, FACTS)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("options", [{"text": "a"}, {"negative_text": "a"}, {"melody": SOUND}])
def test_what_the_model_does_not_take_is_refused(options):
    with pytest.raises(UserError, match="tiny takes no"):
        request(**options).checked(LIMITS, BARE)
    request(text="  ").checked(LIMITS, BARE)


def test_limits_are_those_of_the_server():
    with pytest.raises(UserError, match="at most 3 s"):
        request().checked(Limits(max_duration=3.0), FACTS)
    with pytest.raises(UserError, match="from 1 to 1"):
        request(variants=2).checked(Limits(max_variants=1), FACTS)


def test_the_settings_come_back_from_json_whole():
    asked = request(text="ピアノ", adapters={"mine": 0.5}, seed=2**40, melody=SOUND)
    settings = json.loads(json.dumps(asked.as_settings()))
    assert settings["melody"] == "hum.wav"
    plain = settings | {"melody": SOUND}
    assert Request(**plain) == asked


def test_a_seed_for_whoever_does_not_care_is_a_seed():
    seeds = {random_seed() for _ in range(20)}
    assert len(seeds) > 10
    for seed in seeds:
        request(seed=seed).checked(LIMITS, FACTS)
