"""Checkpoints of train.py load like the model their run exports, and nothing in them is run."""

import copy
import os

import pytest
import torch

from musicgen_train.errors import UserError
from musicgen_train.formats import load_codec, load_lm, load_musicgen
from tests.small_training import config, fit


def trained(experiment, datasets, root, *overrides):
    """The directory of a run of two steps."""
    here = os.getcwd()
    os.chdir(root)
    try:
        return root / fit(config(experiment, datasets, "max_steps=2", *overrides))
    finally:
        os.chdir(here)


@pytest.fixture(scope="module")
def model_run(datasets, tmp_path_factory):
    return trained("lm_demo", datasets, tmp_path_factory.mktemp("lm"))


@pytest.fixture(scope="module")
def codec_run(datasets, tmp_path_factory):
    return trained("codec_tiny", datasets, tmp_path_factory.mktemp("codec"))


@pytest.fixture
def checkpoint(model_run, tmp_path):
    """A checkpoint and a function that writes it again with `task` changed."""
    content = torch.load(model_run / "checkpoints" / "last.ckpt", weights_only=True)

    def write(**changes):
        edited = copy.deepcopy(content)
        for key, value in changes.items():
            *sections, name = key.split("__")
            node = edited["config"]["task"]
            for section in sections:
                node = node[section]
            node[name] = value
        torch.save(edited, tmp_path / "edited.ckpt")
        return tmp_path / "edited.ckpt"

    return write


def equal_states(one, other):
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


@pytest.mark.parametrize(("n_averaged", "shift"), [(0, 0.0), (3, 1.0)])
def test_a_model_is_read_by_the_average_of_its_weights_once_there_is_one(
    model_run, tmp_path, n_averaged, shift
):
    content = torch.load(model_run / "checkpoints" / "last.ckpt", weights_only=True)
    state = content["state_dict"]
    plain = {n: t for n, t in state.items() if n.startswith(("lm.", "text_encoder."))}
    state |= {f"average.module.{name}": tensor + 1 for name, tensor in plain.items()}
    state["average.n_averaged"] = torch.tensor(n_averaged)
    torch.save(content, tmp_path / "averaged.ckpt")
    read = load_musicgen(tmp_path / "averaged.ckpt")
    for part, module in (("lm", read.lm), ("text_encoder", read.text_encoder)):
        for name, tensor in module.state_dict().items():
            assert torch.equal(tensor, plain[f"{part}.{name}"] + shift), name
    assert torch.equal(load_lm(tmp_path / "averaged.ckpt").heads.weight, read.lm.heads.weight)


def test_a_models_checkpoint_is_the_model_that_its_run_exports(model_run):
    loaded, exported = (
        load_musicgen(model_run / path) for path in ("checkpoints/last.ckpt", "model")
    )
    assert equal_states(loaded.lm, exported.lm) and equal_states(loaded.codec, exported.codec)
    assert equal_states(loaded.text_encoder, exported.text_encoder)
    assert loaded.chroma.config == exported.chroma.config
    assert loaded.lm.config == exported.lm.config
    assert (loaded.name, loaded.max_duration) == (exported.name, exported.max_duration)
    assert equal_states(load_lm(model_run / "checkpoints" / "last.ckpt"), exported.lm)


def test_it_generates_what_the_exported_model_generates(model_run):
    wavs = []
    for path in ("checkpoints/last.ckpt", "model"):
        model = load_musicgen(model_run / path)
        model.set_generation_params(duration=0.3)
        wavs.append(model.generate(["calm piano"], seeds=[3]))
    assert torch.equal(*wavs)


@pytest.mark.parametrize("ema", ["0.99", "null"])
def test_a_codecs_checkpoint_is_the_codec_that_its_run_exports(ema, datasets, tmp_path):
    run = trained("codec_tiny", datasets, tmp_path, f"task.ema_decay={ema}")
    loaded, exported = (load_codec(run / path) for path in ("checkpoints/last.ckpt", "model"))
    assert equal_states(loaded, exported) and loaded.identity() == exported.identity()


def test_a_models_checkpoint_leads_to_its_codec(model_run, datasets):
    codec = load_codec(model_run / "checkpoints" / "last.ckpt")
    assert codec.identity() == load_codec(datasets["codec"]).identity()


def test_a_codecs_checkpoint_is_no_language_model(codec_run):
    for load in (load_lm, load_musicgen):
        with pytest.raises(UserError, match=r"last\.ckpt holds a codec, not a language model"):
            load(codec_run / "checkpoints" / "last.ckpt")


def test_a_codec_that_has_moved_is_named_with_the_remedy(checkpoint):
    path = checkpoint(codec_path="runs/gone/model")
    with pytest.raises(UserError, match="was trained with the codec runs/gone/model, which cann"):
        load_musicgen(path)
    load_lm(path)  # which needs no codec


def test_the_model_of_a_run_directory_is_pointed_out(model_run):
    with pytest.raises(UserError, match=rf"no config\.json .*; give {model_run / 'model'}"):
        load_musicgen(model_run)


@pytest.mark.parametrize(
    "changes",
    [
        {"_target_": "os.system"},
        {"_target_": ["musicgen_train.training.lm_module.MusicGenModule"]},
        {"lm___target_": "os.system"},
        {"lm": {"_target_": "os.system", "command": "touch run"}},
        {"lm": None},
        {"lm": "os.system"},
        {"lm__num_layers": 10**9},
        {"lm__dim": 10**9},
        {"lm__quantum": True},
        {"text_encoder___target_": "subprocess.run"},
        {"text_encoder": {"_target_": {"a": 1}}},
        {"text_encoder__dim": 10**9},
        {"text_encoder__vocab_size": 10**12},
        {"text_encoder": None},
        {"chroma___target_": "os.system"},
        {"chroma__window": -1},
        {"chroma__window": 10**12},
        {"chroma__shell": True},
        {"max_duration": "for ever"},
        {"max_duration": float("nan")},
        {"name": 3},
        {"codec_path": None},
        {"codec_path": {"_target_": "os.system"}},
    ],
    ids=str,
)
def test_what_is_hostile_or_absurd_in_a_configuration_is_only_refused(
    changes, checkpoint, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    path = checkpoint(**changes)
    with pytest.raises(UserError) as refused:
        load_musicgen(path)
    message = str(refused.value)
    assert "edited.ckpt" in message and "\n" not in message and len(message) < 500
    assert sorted(p.name for p in tmp_path.iterdir()) == ["edited.ckpt"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1], "no checkpoint of train.py"),
        ({"config": {"task": 3}}, "no checkpoint of train.py"),
        ({"state_dict": {}, "hyper_parameters": {}}, "no checkpoint of train.py"),
    ],
)
def test_another_projects_checkpoint_is_refused(content, said, tmp_path):
    torch.save(content, tmp_path / "last.ckpt")
    for load in (load_lm, load_musicgen, load_codec):
        with pytest.raises(UserError, match=said):
            load(tmp_path / "last.ckpt")


def test_weights_that_do_not_fit_are_named(model_run, tmp_path):
    content = torch.load(model_run / "checkpoints" / "last.ckpt", weights_only=True)
    del content["state_dict"]["lm.heads.weight"]
    torch.save(content, tmp_path / "last.ckpt")
    with pytest.raises(UserError, match=r"last\.ckpt.*heads\.weight is missing"):
        load_lm(tmp_path / "last.ckpt")
