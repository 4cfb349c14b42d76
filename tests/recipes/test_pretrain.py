"""The recipes that train from nothing, in miniature: the same scripts, stages and settings."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from musicgen_train.codec.stereo import StereoCodec
from musicgen_train.formats import load_codec, load_lm, save_codec
from tests.conditioning.small_t5 import save_t5
from tests.small_training import ROOT

TINY = [
    "num_threads=1", "max_steps=2", "data.batch_size=2", "data.num_workers=0",
    "trainer.accelerator=cpu", "trainer.devices=1", "trainer.precision=32-true",
    "trainer.val_check_interval=2", "trainer.limit_val_batches=1", "trainer.log_every_n_steps=1",
    "callbacks.checkpoint.every_n_train_steps=2",
]  # fmt: skip
TINY_CODEC = [
    "sample_rate=2000", "card=16", "ratios=[4,5]", "n_filters=4", "dimension=8", "lstm=0"
]  # fmt: skip
TINY_LM = [
    "model.dim=16", "model.num_heads=2", "model.num_layers=1", "schedule.warmup_steps=0",
    "conditioning.text_dim=16", "codec.frame_rate=100", "task.compile=false",
    "task.ema_every=1", "callbacks.samples.n_prompts=1",
]  # fmt: skip
MELODY = [
    "conditioning.chroma.window=1024", "conditioning.chroma.hop=256",
    "conditioning.chroma_length=8", "conditioning.chroma_rate=0.078125",
]  # fmt: skip


def recipe(script, dataset, *overrides, **environment):
    """Run a recipe as its user does, and return what it printed."""
    python = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", str(ROOT / "recipes" / script), str(dataset), *TINY, *overrides],
        env={**os.environ, "PATH": python, **environment}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def run_names(tmp_path_factory):
    """Runs land in the repository's runs/, from which they are taken away afterwards."""
    import shutil

    names = []
    yield lambda name: names.append(f"test_{os.getpid()}_{name}") or names[-1]
    for name in names:
        shutil.rmtree(ROOT / "runs" / name, ignore_errors=True)


@pytest.fixture(scope="module")
def text_encoder(tmp_path_factory):
    return f"conditioning.text_encoder.name_or_path={save_t5(tmp_path_factory.mktemp('t5'))}"


@pytest.fixture(scope="module")
def language_model(datasets, text_encoder, run_names):
    """A function that trains by one of the language models' recipes: -> its run directory."""

    def train(script, *overrides, dataset=datasets["audio"], codec=datasets["codec"]):
        name = run_names(script.removesuffix(".sh"))
        printed = recipe(
            script, dataset, text_encoder, *TINY_LM, *overrides, NAME=name, CODEC=str(codec),
            TOKENIZE="num_workers=0", GENERATE="--duration 0.5",
        )  # fmt: skip
        run_dir = ROOT / "runs" / name
        assert list((run_dir / "music").glob("*.wav")), printed
        assert (run_dir / "checkpoints" / "last.ckpt").exists()
        return run_dir

    return train


@pytest.fixture(scope="module")
def small(language_model):
    return language_model("pretrain_small.sh", *(f"codec.{key}" for key in TINY_CODEC))


def test_small_trains_from_codes_and_makes_music(small):
    lm = load_lm(small / "model")
    assert lm.config["text_dim"] == 16 and lm.config["fuse_text"] == "cross"


def test_medium_trains_sharded_on_two_processes(language_model):
    run_dir = language_model(
        "pretrain_medium.sh", *(f"codec.{key}" for key in TINY_CODEC), "trainer.devices=2"
    )
    assert (run_dir / "checkpoints" / "step=2.ckpt" / "__1_0.distcp").is_file()
    load_lm(run_dir / "model")


def test_melody_trains_with_melody_and_text_in_front_of_the_music(language_model):
    run_dir = language_model("pretrain_melody.sh", *(f"codec.{key}" for key in TINY_CODEC), *MELODY)
    config = load_lm(run_dir / "model").config
    assert config["fuse_text"] == config["fuse_chroma"] == "prepend"
    assert config["chroma_length"] == 8


def test_stereo_starts_from_the_mono_model(small, language_model, datasets, tmp_path_factory):
    from data_prep.prepare import prepare

    root = tmp_path_factory.mktemp("stereo")
    prepare(
        datasets["audio"].parent / "library", root / "audio", sample_rate=2000, channels=2,
        segment_duration=1.0, min_duration=0.5, chroma_window=1024, chroma_hop=256,
        num_workers=0, duplicates="none",
    )  # fmt: skip
    save_codec(StereoCodec(load_codec(datasets["codec"])), root / "codec")
    run_dir = language_model(
        "stereo_from_mono.sh", *(f"codec.mono.{key}" for key in TINY_CODEC),
        "codec.sample_rate=2000", "codec.card=16", f"init_from={small}/model", "optim.lr=0",
        dataset=root / "audio", codec=root / "codec",
    )  # fmt: skip
    lm, mono = load_lm(run_dir / "model"), load_lm(small / "model")
    codes = torch.randint(16, (1, 4, 9), generator=torch.Generator().manual_seed(0))
    ours, theirs = lm.logits(codes.repeat_interleave(2, dim=1))[0], mono.logits(codes)[0]
    torch.testing.assert_close(ours[:, ::2], theirs)
    torch.testing.assert_close(ours[:, 1::2], theirs)


def test_the_codec_trains_and_its_round_trip_is_measured(datasets, run_names):
    name = run_names("codec")
    printed = recipe(
        "pretrain_codec.sh", datasets["audio"], *(f"codec.{key}" for key in TINY_CODEC),
        "codec.frame_rate=100", "data.segment_duration=0.5", "task.kmeans_batches=1",
        "task.adversary.discriminator.filters=4", "task.adversary.discriminator.n_ffts=[256]",
        NAME=name, EVALUATE="n_clips=2 duration=1",
    )  # fmt: skip
    assert "SI-SDR" in printed
    assert (ROOT / "runs" / name / "evaluation" / "metrics.json").is_file()
