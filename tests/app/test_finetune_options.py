"""What a visitor asks for reaches the recipe as it stands, and nothing else does."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from musicgen_train.app.finetune_options import FinetuneOptions, read_options
from musicgen_train.app.run_names import checked_name, slug
from musicgen_train.errors import UserError
from recipes.finetuning.command_line import as_overrides
from recipes.finetuning.settings import _slug, checked_trigger

TRIGGERS = [
    "my style", "a, b=c", "$HOME", "$(x)", "{x}", "'", '"', "it's \\'", "\\",
    "\\\\'", "x method=full", "--help", "+name=x", "~trigger", "[a,b]", "{a: b}",
    " nullish", "true", "!!python/object:os.system", "`id`; $(id)", "🎵 style", "أسلوبي",
    "name=other\ninput_dir=/", "@file", "%s{0}", "a:b", "choice(a,b)", "1e5",
]  # fmt: skip


def parsed(words):
    """Keys and values as Hydra reads them behind the recipe's own quoting."""
    overrides = OverridesParser.create().parse_overrides(as_overrides(words))
    return {override.key_or_group: override.value() for override in overrides}


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_a_trigger_is_one_value_whatever_it_holds(trigger):
    values = parsed(FinetuneOptions(trigger=trigger).words())
    text = str(values.pop("trigger"))
    assert text == " ".join(trigger.split()) == checked_trigger(text)
    assert values == {"method": "lora", "separator": "auto", "seed": 0}


@pytest.mark.parametrize("trigger", ["null", " null ", "???", "${x}", "a ${oc.env:HOME}", "\\${"])
def test_what_would_not_reach_it_as_it_stands_is_refused(trigger):
    with pytest.raises(UserError, match="use other words"):
        FinetuneOptions(trigger=trigger).words()
    if "null" not in trigger:
        with pytest.raises(UserError, match="use other words"):
            checked_trigger(trigger)


def test_all_options_reach_the_recipe():
    options = FinetuneOptions(
        trigger="x", method="dora", separator="none", preset="gpu8", steps=7, batch_size=2,
        lr=1e-5, rank=4, prior_share=0.0, held_out=0, clips=3, seed=5, goal="captions",
    )  # fmt: skip
    assert parsed(options.words()) == {
        "trigger": "x", "method": "dora", "separator": "none", "preset": "gpu8", "steps": 7,
        "batch_size": 2, "lr": 1e-5, "rank": 4, "prior_share": 0.0, "held_out": 0, "clips": 3,
        "seed": 5, "stage": ["prepare", "tokenize", "captions"],
    }  # fmt: skip
    assert parsed(FinetuneOptions(goal="estimate").words())["estimate"] is True


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "full trigger=x"}, {"method": ["lora"]}, {"separator": "stems"},
        {"separator": None}, {"preset": "gpu9"}, {"goal": "report"}, {"base": ""}, {"base": 3},
        {"trigger": "a\0b"}, {"trigger": "half \ud83c"},
        {"trigger": "x" * 101},
        {"trigger": None}, {"steps": 0}, {"steps": 10**9}, {"steps": "9"}, {"steps": 1.5},
        {"steps": True}, {"lr": float("nan")}, {"lr": -1.0}, {"rank": float("inf")},
        {"prior_share": 1.0}, {"prior_share": 1e-9}, {"seed": -1}, {"seed": 2**31},
        {"clips": 10**6},
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_in_one_line(changes):
    with pytest.raises(UserError) as told:
        FinetuneOptions(**changes).words()
    assert "\n" not in str(told.value) and len(str(told.value)) < 200


def test_options_come_back_from_their_record_and_damage_does_not():
    options = FinetuneOptions(trigger="x", steps=3)
    assert read_options(options.as_settings()) == options
    for damage in (None, [], {}, {"base": 1}, {"steps": "3"}, {"input_dir": "/"}, {"trigger": {}}):
        assert read_options(damage) is None


@pytest.mark.parametrize(
    "name",
    ["", " ", "null", ".", "..", "../x", "a/b", "a\0", "-x", "x" * 61, "a b", "x=y", "${x}", "🎵",
     "a\n", None, 3],
)  # fmt: skip
def test_a_name_that_is_no_plain_folder_is_refused(name):
    with pytest.raises(UserError) as told:
        checked_name(name)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("name", ["mine", "my_songs-2", "v1.5", "песни", "歌"])
def test_names_are_those_that_the_recipe_takes(name):
    assert checked_name(name) == name == _slug(name)


@pytest.mark.parametrize("wish", ["My Songs!", "../../x", "🎵", "null", "x" * 300, "a\0b\n"])
def test_any_wish_gives_a_name(wish):
    assert checked_name(slug(wish)) == _slug(slug(wish))
