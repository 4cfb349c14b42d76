"""init_from in runs of train.py: the first losses are the source's where they can be."""

import csv
import math
from pathlib import Path

import pytest
import torch

import train
from data_prep.prepare import prepare
from data_prep.tokenize import tokenize
from musicgen_train.codec.stereo import StereoCodec
from musicgen_train.errors import UserError
from musicgen_train.formats import load_codec, load_lm, load_musicgen, save_codec
from tests.data_prep.small_library import write_track
from tests.small_training import config, fit, losses

STILL = ["optim.lr=0", "max_steps=2", "model.dropout=0"]  # a run that only says where it starts
WORDS_ONLY = ["conditioning.chroma=null", "conditioning.chroma_dim=null"]


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def source(datasets, tmp_path_factory):
    """A run of a text model that has learnt something, with an average of its weights."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("source"))
        overrides = ["max_steps=4", "optim.lr=0.01", "schedule.warmup_steps=1",
                     "task.ema_decay=0.5", "task.ema_every=2"]  # fmt: skip
        return fit(config("lm_demo", datasets, *WORDS_ONLY, *overrides)).absolute()


def start(datasets, name, source, *overrides):
    """Where a run that starts from the source is: its training and validation losses."""
    cfg = config("lm_demo", datasets, *STILL, f"name={name}", f"init_from={source}", *overrides)
    run_dir = fit(cfg)
    return losses(run_dir)[0][1], valid_ce(run_dir)


def valid_ce(run_dir):
    (log,) = run_dir.glob("logs/version_*/metrics.csv")
    values = [row.get("valid/ce") for row in csv.DictReader(log.open())]
    return next(float(value) for value in values if value)


@pytest.fixture(scope="module")
def expected(datasets, source, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("expected"))
        return start(datasets, "same", source / "model", *WORDS_ONLY)


@pytest.mark.slow
def test_a_model_has_learnt_something_and_is_no_fresh_one(datasets, expected):
    fresh = fit(config("lm_demo", datasets, *STILL, *WORDS_ONLY, "name=fresh"))
    assert expected[1] < valid_ce(fresh) - 0.05


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("layers", [*WORDS_ONLY, "model.num_layers=3"]),
        ("melody", []),  # added to the steps
    ],
)
def test_a_larger_model_starts_with_the_losses_of_the_source(
    name, overrides, datasets, source, expected
):
    found = start(datasets, name, source / "model", *overrides)
    assert found == pytest.approx(expected, abs=1e-5)


def test_stereo_starts_on_mono_music_with_the_losses_of_the_mono_model(
    datasets, source, expected, tmp_path
):
    for artist in ("ada", "bo", "cy", "dee"):
        for title in ("one", "two"):
            write_track(tmp_path / "library", artist, title, 5.0)
    prepare(tmp_path / "library", tmp_path / "audio", sample_rate=2000, channels=2,
            segment_duration=1.0, min_duration=0.5, chroma_window=1024, chroma_hop=256,
            num_workers=0, duplicates="none")  # fmt: skip
    codec = StereoCodec(load_codec(datasets["codec"]))
    save_codec(codec, tmp_path / "codec")
    tokenize(tmp_path / "audio", tmp_path / "codes", codec)
    overrides = [f"data.path={tmp_path}/codes", f"codec_path={tmp_path}/codec", "codec.n_q=8"]
    found = start(
        datasets, "stereo", source / "model", *WORDS_ONLY, *overrides,
        "model.delays=[0,0,1,1,2,2,3,3]",
    )  # fmt: skip
    assert found == pytest.approx(expected, abs=1e-5)
    assert load_lm("runs/stereo/model").config["n_q"] == 8


@pytest.mark.slow
def test_text_to_prepended_melody_is_told_and_does_not_start_as_the_source(
    datasets, source, capsys
):
    start(datasets, "melody", source / "model", "conditioning.fuse_text=prepend",
          "conditioning.fuse_chroma=prepend")  # fmt: skip
    shown = capsys.readouterr().out
    assert "does not start as the source: text enters by prepend, there by cross" in shown
    assert "chroma stands in front of the music" in shown and "left out: cross-attention" in shown


def test_a_checkpoint_starts_a_run_from_its_average(datasets, source, expected):
    last = source / "checkpoints" / "last.ckpt"
    state = torch.load(last, weights_only=True)["state_dict"]
    assert not torch.equal(state["lm.heads.weight"], state["average.module.lm.heads.weight"])
    read = load_musicgen(last)
    assert torch.equal(read.lm.heads.weight, state["average.module.lm.heads.weight"])
    assert torch.equal(
        read.text_encoder.embedding.weight, state["average.module.text_encoder.embedding.weight"]
    )
    assert start(datasets, "ckpt", last, *WORDS_ONLY) == pytest.approx(expected, abs=1e-5)


@pytest.mark.slow
def test_the_average_starts_where_the_weights_do(datasets, source):
    cfg = config("lm_demo", datasets, *STILL, *WORDS_ONLY, f"init_from={source}/model",
                 "task.ema_decay=0.999", "task.ema_every=100", "name=ema")  # fmt: skip
    state = torch.load(fit(cfg) / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    for name, tensor in state.items():
        if name.startswith(("lm.", "text_encoder.")):
            assert torch.equal(tensor, state[f"average.module.{name}"]), name


@pytest.mark.slow
def test_resume_wins_over_init_from_and_says_so(datasets, source, capsys):
    first = fit(config("lm_demo", datasets, *WORDS_ONLY, "max_steps=2", "name=first"))
    last = first / "checkpoints" / "last.ckpt"
    fit(config("lm_demo", datasets, *WORDS_ONLY, "max_steps=2", "name=second", f"resume={last}",
               f"init_from={source}/model"))  # fmt: skip
    assert f"init_from {source}/model is not read: {last}" in capsys.readouterr().out
    ours, theirs = (load_lm(f"runs/{name}/model") for name in ("first", "second"))
    assert torch.equal(ours.heads.weight, theirs.heads.weight)


def test_what_cannot_be_a_start_is_refused_before_anything_is_written(datasets, source):
    for overrides, message in (
        ([f"init_from={datasets['codec']}"], "holds a codec, not a language model"),
        ([f"init_from={source}/model", "model.dim=32"], "is 16 wide .* set model.dim=16"),
    ):
        with pytest.raises(UserError, match=message):
            train.run(config("lm_demo", datasets, *WORDS_ONLY, *overrides))
    with pytest.raises(UserError, match=r"n_filters 4.*this one n_filters 6"):
        train.run(config("codec_demo", datasets, "codec.n_filters=6"))
    assert not Path("runs").exists()


def test_a_codec_of_more_codebooks_starts_as_the_source_and_learns_them(datasets, capsys):
    run_dir = fit(config("codec_demo", datasets, "max_steps=2", "codec.n_q=6", "optim.lr=0"))
    assert "4 -> 6 codebooks" in capsys.readouterr().out
    books = load_codec(run_dir / "model").quantizer.codebooks
    assert len(books) == 6 and all(book.inited and book.embed.any() for book in books)
    assert all(math.isfinite(value) for _, value in losses(run_dir))
