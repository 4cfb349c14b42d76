import gc
import json
import shutil
import weakref

import pytest
import torch
from safetensors.torch import load_file, save_file

from musicgen_train import MusicGen
from musicgen_train.app.model_facts import ModelFacts, facts_of
from musicgen_train.app.models import ModelShelf
from musicgen_train.errors import UserError
from musicgen_train.formats import save_audiocraft_musicgen, save_musicgen
from musicgen_train.formats.hub import MUSICGEN_NAMES
from tests.adapters.small_adapters import logits
from tests.app.small_shelf import write_runs
from tests.small_musicgen import tiny


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_runs(tmp_path_factory.mktemp("models"))


@pytest.fixture(autouse=True)
def no_hub(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def shelf(root):
    return ModelShelf([str(root / "base")], device="cpu", runs_dir=root / "runs")


def quietly(note):
    """Nobody waits."""


def music(model, **options):
    model.set_generation_params(duration=0.2)
    return model.generate(["a"], seeds=[1], **options)


def test_choices_are_what_was_given_then_what_was_trained_then_what_was_released(shelf):
    assert shelf.choices() == ["base", "runs/tuned", *MUSICGEN_NAMES]


def test_a_run_that_ends_while_the_server_is_up_can_be_picked(shelf, root):
    assert "runs/new" not in shelf.choices()
    shutil.copytree(root / "runs/tuned/model", root / "runs/new/model")
    try:
        assert "runs/new" in shelf.choices()
        assert shelf.facts("runs/new").takes_melody
    finally:
        shutil.rmtree(root / "runs/new")
    with pytest.raises(UserError, match="'runs/new' is not on the list"):
        shelf.facts("runs/new")


def test_a_given_model_of_a_run_is_offered_once(root):
    shelf = ModelShelf([str(root / "runs/tuned/model"), "tiny"], runs_dir=root / "runs")
    assert shelf.choices()[:2] == ["tuned", "tiny"]
    assert "runs/tuned" not in shelf.choices()


def test_equal_names_get_numbers(root, tmp_path):
    shutil.copytree(root / "base", tmp_path / "other" / "base")
    shelf = ModelShelf([str(root / "base"), str(tmp_path / "other" / "base")])
    assert shelf.choices()[:2] == ["base", "base (2)"]
    assert shelf.source("base (2)") == str(tmp_path / "other" / "base")


@pytest.mark.parametrize(
    "label", ["", "..", "/etc", "base/../base", None, 3, "runs/codec", "runs/begun", ["base"]]
)
def test_only_labels_are_known(shelf, root, label):
    for ask in (shelf.facts, shelf.adapters_of, lambda name: shelf.take(name, {}, quietly)):
        with pytest.raises(UserError, match="is not on the list"):
            ask(label)
    with pytest.raises(UserError, match="is not on the list"):
        shelf.take(str(root / "base"), {}, quietly)
    with pytest.raises(UserError, match="is not on the list"):
        shelf.take("base", {str(root / "runs/mine/adapter"): 1.0}, quietly)


def test_facts_are_those_of_the_model_without_loading_it(shelf, root, monkeypatch):
    model = MusicGen.get_pretrained(str(root / "base"), device="cpu")
    monkeypatch.setattr("musicgen_train.formats.files.safe_open", None)
    facts = shelf.facts("base")
    assert facts == ModelFacts(True, True, model.max_duration, model.sample_rate, 1)


@pytest.mark.parametrize(
    ("save", "options"),
    [
        (save_musicgen, {"melody": False}),
        (save_musicgen, {"text": False}),
        (save_musicgen, {"stereo": True}),
        (save_audiocraft_musicgen, {"text": False}),
        (save_audiocraft_musicgen, {"text": False, "stereo": True}),
    ],
)
def test_facts_tell_models_apart(save, options, tmp_path):
    model = tiny(**options)
    save(model, tmp_path / "model")
    facts = facts_of(str(tmp_path / "model"))
    assert facts.takes_text == (model.text_encoder is not None)
    assert facts.takes_melody == (model.chroma is not None)
    assert facts.channels == model.audio_channels
    assert facts.max_duration == model.max_duration


def test_released_models_are_known_before_they_are_downloaded():
    assert facts_of("small") == ModelFacts(True, False, 30.0, 32_000, 1, present=False)
    assert facts_of("facebook/musicgen-stereo-melody") == ModelFacts(
        True, True, 30.0, 32_000, 2, present=False
    )


def test_the_shipped_model_is_present():
    assert facts_of("tiny") == ModelFacts(True, True, 8.0, 16_000, 1)


@pytest.mark.parametrize(
    "damage",
    [
        lambda config: config.pop("codec"),
        lambda config: config.update(max_duration="long"),
        lambda config: config.update(max_duration=float("inf")),
        lambda config: config["codec"].update(sample_rate=[1]),
        lambda config: config.update(version=99),
    ],
)
def test_a_damaged_configuration_is_one_line_without_its_path(root, tmp_path, damage):
    shutil.copytree(root / "base", tmp_path / "base")
    shelf = ModelShelf([str(tmp_path / "base")])
    path = tmp_path / "base" / "config.json"
    config = json.loads(path.read_text())
    damage(config)
    path.write_text(json.dumps(config))
    with pytest.raises(UserError) as refused:
        shelf.facts("base")
    assert str(tmp_path) not in str(refused.value)
    assert "base" in str(refused.value)


def test_what_is_not_there_is_said_when_the_server_starts(tmp_path):
    with pytest.raises(UserError, match="no checkpoint at"):
        ModelShelf([str(tmp_path / "nothing")])
    with pytest.raises(UserError, match="no adapter at"):
        ModelShelf(["tiny"], {str(tmp_path): None})
    with pytest.raises(UserError, match="device"):
        ModelShelf(["tiny"], device="cuda:99")
    with pytest.raises(UserError, match="float16"):
        ModelShelf(["tiny"], device="cpu", weights="float16")


def test_adapters_are_offered_for_the_model_that_they_belong_to(shelf):
    assert shelf.adapters_of("base") == ["runs/mine"]
    assert shelf.adapters_of("runs/tuned") == ["runs/other"]
    assert shelf.adapters_of("small") == []
    assert shelf.trigger_of("runs/mine") == "my style"


def test_given_adapters_have_the_labels_that_were_given(root):
    shelf = ModelShelf(
        [str(root / "base")],
        {str(root / "runs/mine/adapter"): None, str(root / "runs/other/adapter"): "theirs"},
    )
    assert shelf.adapters_of("base") == ["mine"]
    with pytest.raises(UserError, match="adapter 'theirs' is none of base"):
        shelf.check("base", {"theirs": 1.0})
    assert shelf.check("base", {"mine": 1.0}) == shelf.facts("base")


def test_the_model_with_its_adapters_is_what_it_is_elsewhere(shelf, root):
    folder = str(root / "runs/mine/adapter")
    expected = music(MusicGen.get_pretrained(str(root / "base"), "cpu", adapters={folder: 0.5}))
    plain = music(MusicGen.get_pretrained(str(root / "base"), "cpu"))
    assert not torch.equal(expected, plain)
    assert torch.equal(music(shelf.take("base", {"runs/mine": 0.5}, quietly)), expected)
    assert torch.equal(music(shelf.take("base", {}, quietly)), plain)
    assert not torch.equal(music(shelf.take("base", {"runs/mine": 2.0}, quietly)), expected)
    assert torch.equal(music(shelf.take("base", {"runs/mine": 0.5}, quietly)), expected)


def test_a_rounded_model_sounds_the_same_whatever_it_was_asked_before(root):
    shelf = ModelShelf([str(root / "base")], weights="bfloat16", runs_dir=root / "runs")
    expected = logits(shelf.take("base", {"runs/mine": 1.0}, quietly).lm)
    shelf.release()
    shelf.take("base", {}, quietly)
    assert torch.equal(logits(shelf.take("base", {"runs/mine": 1.0}, quietly).lm), expected)


def test_a_model_is_loaded_once_and_only_one_is_in_memory(shelf, monkeypatch):
    notes = []
    model = shelf.take("base", {}, notes.append)
    assert shelf.take("base", {"runs/mine": 1.0}, notes.append) is model
    assert notes == ["loading base"]
    gone, load = weakref.ref(model), MusicGen.get_pretrained
    del model

    def load_into_free_memory(*given, **options):
        assert gone() is None
        return load(*given, **options)

    monkeypatch.setattr(MusicGen, "get_pretrained", load_into_free_memory)
    shelf.take("runs/tuned", {}, notes.append)
    assert notes == ["loading base", "loading runs/tuned"]


def test_a_released_model_is_gone_from_memory_and_loaded_again_when_asked_for(shelf):
    gone = weakref.ref(shelf.take("base", {}, quietly))
    shelf.release()
    gc.collect()
    assert gone() is None
    notes = []
    shelf.take("base", {}, notes.append)
    assert notes == ["loading base"]


def test_a_model_and_an_adapter_that_were_trained_again_are_loaded_again(root, tmp_path):
    runs = tmp_path / "runs"
    shutil.copytree(root / "runs", runs)
    shelf = ModelShelf([str(root / "base")], runs_dir=runs)
    before = music(shelf.take("base", {"runs/mine": 1.0}, quietly))
    path = runs / "mine" / "adapter" / "adapter_model.safetensors"
    tensors = {n: t * 2 if "lora_B" in n else t for n, t in load_file(path).items()}
    save_file(tensors, path)
    after = music(shelf.take("base", {"runs/mine": 1.0}, quietly))
    assert not torch.equal(before, after)
    first = shelf.take("runs/tuned", {}, quietly)
    assert shelf.take("runs/tuned", {}, quietly) is first
    save_musicgen(tiny(), runs / "tuned" / "model")
    assert shelf.take("runs/tuned", {}, quietly) is not first


def test_a_model_that_cannot_be_downloaded_is_one_line(shelf):
    notes = []
    with pytest.raises(UserError, match="is not in the hub's cache") as refused:
        shelf.take("small", {}, notes.append)
    assert notes == ["downloading small, which takes minutes once"]
    assert "\n" not in str(refused.value)


def test_a_broken_model_is_told_by_its_label_and_the_next_works(root, tmp_path):
    shutil.copytree(root / "base", tmp_path / "broken")
    (tmp_path / "broken" / "model.safetensors").write_bytes(b"nothing")
    shelf = ModelShelf([str(tmp_path / "broken"), str(root / "base")])
    with pytest.raises(UserError, match=r"^broken/model.safetensors is truncated"):
        shelf.take("broken", {}, quietly)
    assert shelf.take("base", {}, quietly).name == "tiny"
