"""Codec training: what it exports, logs, writes and refuses."""

import csv

import pytest
import torch

import train
from musicgen_train.errors import UserError
from musicgen_train.formats import load_codec
from tests.small_training import config, fit


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def last_state(run_dir):
    """What the last checkpoint holds, by its first name: codec, average, balancer, …"""
    state = torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]

    def part(prefix):
        return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}

    return part


def logged(run_dir):
    """One dictionary of numbers for each line that was logged."""
    rows = csv.DictReader((run_dir / "logs" / "version_0" / "metrics.csv").open())
    return [{key: float(value) for key, value in row.items() if value} for row in rows]


def test_the_exported_codec_has_averaged_weights_and_the_codebooks_as_they_are(datasets):
    run_dir = fit(config("codec_tiny", datasets, "max_steps=4"))
    exported, part = load_codec(run_dir / "model").state_dict(), last_state(run_dir)
    trained, averaged = part("codec."), part("average.module.")
    moved = 0
    for name, tensor in exported.items():
        assert torch.equal(tensor, averaged[name]), name
        if name.startswith("quantizer"):
            assert torch.equal(tensor, trained[name]), name
        else:
            moved += not torch.equal(tensor, trained[name])
    assert moved > 10


def test_the_average_follows_its_formula(datasets):
    cfg = config(
        "codec_tiny", datasets, "max_steps=3", "task.ema_decay=0.5", "trainer.val_check_interval=1",
        "callbacks.checkpoint.every_n_train_steps=1",
    )  # fmt: skip
    run_dir = fit(cfg)
    name, states = "encoder.layers.0.conv.bias", []
    for step in (1, 2, 3):
        path = run_dir / "checkpoints" / f"step={step}.ckpt"
        states.append(torch.load(path, weights_only=True)["state_dict"])
    average = states[0][f"codec.{name}"]  # the first step's weights begin it
    for state in states[1:]:
        average = 0.5 * average + 0.5 * state[f"codec.{name}"]
    torch.testing.assert_close(states[-1][f"average.module.{name}"], average)


def test_without_averages_the_trained_weights_are_exported(datasets):
    run_dir = fit(config("codec_tiny", datasets, "max_steps=2", "task.ema_decay=null"))
    exported, trained = load_codec(run_dir / "model").state_dict(), last_state(run_dir)("codec.")
    assert all(torch.equal(tensor, trained[name]) for name, tensor in exported.items())


def test_every_term_and_its_share_is_logged(datasets):
    run_dir = fit(config("codec_tiny", datasets, "max_steps=4"))
    rows = logged(run_dir)
    last = [row for row in rows if "train/l1" in row][-1]
    for term in ("l1", "msspec", "adv", "feat"):
        assert {f"train/{term}", f"train/grad_{term}", f"train/share_{term}"} <= last.keys()
    assert sum(value for key, value in last.items() if "share" in key) == pytest.approx(1)
    wanted = {"commitment", "discriminator", "grad_norm", "discriminator_grad_norm"}
    wanted |= {"discriminator_accuracy_fake", "discriminator_accuracy_real"}
    assert {f"train/{name}" for name in wanted} <= last.keys()
    valid = [row for row in rows if "valid/l1" in row][-1]
    assert {"valid/msspec", "valid/si_sdr", "valid/usage_q3", "valid/perplexity_q3"} <= valid.keys()
    assert 0 < valid["valid/usage_q0"] <= 1 and 1 <= valid["valid/perplexity_q0"] <= 16


def test_clips_and_spectrograms_are_written_at_each_validation(datasets):
    run_dir = fit(config("codec_tiny", datasets, "max_steps=4", "callbacks.samples.n_clips=1"))
    for step in (2, 4):
        (sound,) = (run_dir / "samples" / f"step_{step}").glob("*.flac")
        assert sound.stat().st_size > 100
        assert sound.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_the_discriminator_comes_in_at_its_step_and_rests_between_periods(datasets):
    timetable = ["task.adversary.start_step=2", "task.adversary.period=2"]
    run_dir = fit(config("codec_tiny", datasets, "max_steps=6", *timetable))
    by_step = {int(row["step"]): row for row in logged(run_dir) if "train/l1" in row}
    assert [step for step, row in by_step.items() if "train/adv" in row] == [2, 3, 4, 5]
    last = torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)
    steps = [state["state"][0]["step"].item() for state in last["optimizer_states"]]
    assert steps == [6, 2]
    assert last["global_step"] == 6


def test_quantizer_dropout_trains(datasets):
    run_dir = fit(config("codec_tiny", datasets, "max_steps=4", "+codec.quantizer_dropout=true"))
    codes = load_codec(run_dir / "model").encode(torch.randn(1, 1, 400))
    assert codes.shape == (1, 4, 20)


def test_a_training_that_diverges_stops_and_says_what_to_do(datasets):
    cfg = config("codec_tiny", datasets, "max_steps=6", "optim.lr=1e30")
    with pytest.raises(UserError, match=r"step 1: .*grad_norm is (nan|inf): lower optim\.lr"):
        train.run(cfg)


def test_crops_shorter_than_the_losses_look_are_refused(datasets):
    cfg = config("codec_tiny", datasets, "data.segment_duration=0.1")
    with pytest.raises(UserError, match=r"is 200 samples, but the losses look at 256"):
        train.run(cfg)


def test_a_batch_that_cannot_fit_is_refused_before_the_first_step(datasets, monkeypatch):
    from musicgen_train.training import estimate

    monkeypatch.setattr(estimate, "available_memory", lambda device: 1e6)
    with pytest.raises(UserError, match=r"but 0\.0 GB are there"):
        train.run(config("codec_tiny", datasets))
    assert not list((train.Path("runs")).glob("*/checkpoints"))


def test_half_precision_leaves_losses_and_gradients_whole(datasets):
    whole, half = (
        logged(fit(config("codec_tiny", datasets, "max_steps=1", f"name={name}", *overrides)))[-1]
        for name, overrides in (("whole", []), ("half", ["trainer.precision=bf16-mixed"]))
    )
    for name in ("l1", "msspec", "grad_msspec"):
        assert half[f"train/{name}"] == pytest.approx(whole[f"train/{name}"], rel=0.05)


def test_a_codec_that_normalises_starts_its_codebooks_on_what_it_will_quantize(datasets):
    normalising = ["+codec.normalize=true", "+codec.norm=group", "+codec.chunk_duration=0.5"]
    run_dir = fit(config("codec_tiny", datasets, "max_steps=3", *normalising))
    codec = load_codec(run_dir / "model")
    wav = torch.randn(4, 1, 1000, generator=torch.Generator().manual_seed(0)) / 8
    assert torch.equal(codec.encode(wav), codec.encode(wav / 2))  # loudness is no matter
    assert run_dir.joinpath("samples").is_dir()
