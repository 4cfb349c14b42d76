"""Codec training: what it exports, logs, writes and refuses."""

import csv
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

import train
from musicgen_train.codec.encodec import Encodec
from musicgen_train.data.batches import AudioBatch
from musicgen_train.errors import UserError
from musicgen_train.formats import load_codec
from musicgen_train.training.codec_module import CodecModule
from tests.conftest import TINY_CODEC
from tests.small_training import config, fit


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def small_module(codec):
    adam = partial(torch.optim.Adam, lr=1e-3)
    return CodecModule(codec, adam, weights={"l1": 1.0, "msspec": 1.0}, kmeans_batches=1)


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
        with Image.open(sound.with_suffix(".png")) as picture:
            assert picture.height == 80  # bands of the mel spectrogram


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
    run_dir = fit(config("codec_tiny", datasets, "max_steps=4", "codec.quantizer_dropout=true"))
    codes = load_codec(run_dir / "model").encode(torch.randn(1, 1, 400))
    assert codes.shape == (1, 4, 20)


def test_a_training_that_diverges_stops_and_says_what_to_do(datasets):
    cfg = config("codec_tiny", datasets, "max_steps=6", "optim.lr=1e30")
    with pytest.raises(UserError, match=r"step 1: .* is (nan|inf).*: lower .*lr, "):
        train.run(cfg)


def test_crops_shorter_than_the_losses_look_are_refused(datasets):
    cfg = config("codec_tiny", datasets, "data.segment_duration=0.1")
    with pytest.raises(UserError, match=r"is 200 samples, but the losses look at 512"):
        train.run(cfg)


def test_a_batch_that_cannot_fit_is_refused_before_the_first_step(datasets, monkeypatch):
    from musicgen_train.training.estimating import run_estimate

    monkeypatch.setattr(run_estimate, "available_memory", lambda device: 1e6)
    with pytest.raises(UserError, match=r"but 0\.0 GB are there"):
        train.run(config("codec_tiny", datasets))
    assert not list((train.Path("runs")).glob("*/checkpoints"))


def test_half_precision_ends_at_the_waveform_and_never_reaches_a_loss(codec):
    module = small_module(codec.train())
    wav = torch.randn(2, 1, 1000, generator=torch.Generator().manual_seed(0)) / 8
    with torch.autocast("cpu", torch.bfloat16):
        output = module.codec(wav, quantize=False).wav
        inside = module.reconstruction_losses(output, wav)
    assert output.dtype == torch.float32
    assert not torch.equal(output, module.codec(wav, quantize=False).wav)  # it was half before
    assert inside == module.reconstruction_losses(output, wav)


@pytest.mark.parametrize("normalize", [True, False])
def test_codebooks_start_on_what_they_will_quantize(normalize):
    started = []
    for level in (1.0, 100.0):
        torch.manual_seed(0)
        module = small_module(Encodec(**TINY_CODEC, normalize=normalize))
        wav = level * torch.randn(4, 1, 2000, generator=torch.Generator().manual_seed(0))
        batch = AudioBatch(wav, torch.full((4,), 2000), [], None, [], [], [])
        data = SimpleNamespace(train_dataloader=lambda batch=batch: [batch])
        module._trainer = SimpleNamespace(datamodule=data)
        module._start_codebooks()
        started.append(module.codec.quantizer.codebooks[0].embed)
    # Loudness is no matter to a codec that normalises, and to another it is.
    assert torch.allclose(*started, rtol=1e-3, atol=1e-4) == normalize


def test_the_commitment_pulls_on_the_encoder(datasets):
    encoders = []
    for commitment in (0, 1):
        name = [f"name=c{commitment}", f"task.commitment={commitment}", "task.ema_decay=null"]
        part = last_state(fit(config("codec_tiny", datasets, "max_steps=2", *name)))
        encoders.append(part("codec.encoder."))
    assert not all(torch.equal(tensor, encoders[1][name]) for name, tensor in encoders[0].items())


def test_no_codebook_moves_before_the_warm_up_is_over(datasets):
    run_dir = fit(config("codec_tiny", datasets, "max_steps=4", "task.warmup_steps=2"))
    inited = [
        torch.load(run_dir / "checkpoints" / f"step={step}.ckpt", weights_only=True)["state_dict"][
            "codec.quantizer.layers.0.codebook.inited"
        ].item()
        for step in (2, 4)
    ]
    assert inited == [0, 1]


def test_codebooks_from_elsewhere_start_anew_after_a_warm_up(datasets):
    given = load_codec(datasets["codec"]).state_dict()
    for warmup_steps, anew in ((0, False), (1, True)):
        run_dir = fit(
            config(
                "codec_tiny", datasets, "max_steps=2", f"task.warmup_steps={warmup_steps}",
                f"init_from={datasets['codec']}", f"name=w{warmup_steps}", "codec.lstm=0",
                "optim.lr=0", "codec.decay=1.0", "codec.dead_code_threshold=0",
            )
        )  # fmt: skip
        name = "quantizer.layers.0.codebook.embed"
        started = load_codec(run_dir / "model").state_dict()[name]
        assert torch.allclose(started, given[name], atol=1e-3) != anew


@pytest.mark.parametrize("dropout", [False, True])
def test_a_decoder_that_is_trained_alone_leaves_all_codes_as_they_are(datasets, dropout):
    given = load_codec(datasets["codec"])
    before = given.state_dict()
    run_dir = fit(
        config(
            "codec_tiny", datasets, "max_steps=3", f"init_from={datasets['codec']}",
            "codec.lstm=0", "task.decoder_only=true", "task.warmup_steps=0", "optim.lr=0.1",
            f"codec.quantizer_dropout={str(dropout).lower()}",
        )
    )  # fmt: skip
    trained = load_codec(run_dir / "model")
    moved = {name for name, x in trained.state_dict().items() if not torch.equal(x, before[name])}
    assert moved and not {name for name in moved if not name.startswith("decoder.")}
    wav = torch.rand(2, given.channels, given.sample_rate, generator=torch.manual_seed(0)) - 0.5
    assert torch.equal(trained.encode(wav), given.encode(wav))
    assert not torch.equal(trained.decode(given.encode(wav)), given.decode(given.encode(wav)))


def test_init_from_reaches_what_is_exported(datasets):
    cfg = config("codec_tiny", datasets, "max_steps=0", f"init_from={datasets['codec']}")
    exported = load_codec(fit(cfg) / "model").state_dict()
    given = load_codec(datasets["codec"]).state_dict()
    assert all(torch.equal(tensor, exported[name]) for name, tensor in given.items())


def test_what_is_validated_is_the_average(datasets):
    kinds = (0.99, "null")
    rows = [
        logged(
            fit(config("codec_tiny", datasets, "max_steps=4", f"name=e{d}", f"task.ema_decay={d}"))
        )
        for d in kinds
    ]
    averaged, plain = ([row for row in of if "valid/l1" in row][-1] for of in rows)
    trained, same = ([row for row in of if "train/l1" in row][-1] for of in rows)
    assert trained["train/l1"] == same["train/l1"]
    assert averaged["valid/l1"] != plain["valid/l1"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.precision=bf16-true", "precision=bf16-true does not train a codec: use 32-true"),
        ("trainer.gradient_clip_val=1.0", "leave out gradient_clip_val"),
        ("trainer.accumulate_grad_batches=2", "a codec does not accumulate gradients"),
        ("task.weights.l1=-1", r"task\.weights is .*: give losses numbers from 0 up"),
        ("task.weights.l1=abc", r"task\.weights is .*: give losses numbers from 0 up"),
        ("task.weights=null", r"task\.weights is None: give losses numbers"),
        ("task.weights={l1: 0, msspec: 0}", "one of them above 0"),
        ("+task.adversary.weights.foo=1", "give adv and feat, and no other"),
        ("+task.adversary.foo=1", "unexpected keyword argument 'foo'"),
        ("task.adversary.period=0", "use at least 0 and 1"),
        ("task.adversary.start_step=-5", "use at least 0 and 1"),
        ("task.adversary.discriminator.n_ffts=[]", "use at least one of each"),
        ("task.adversary.discriminator.n_ffts=[2]", "multiples of 4"),
        ("task.adversary.discriminator.filters=0", "a discriminator of 0 filters"),
        ("task.kmeans_batches=0", "use at least 0 and 1"),
        ("task.warmup_steps=-1", "use at least 0 and 1"),
        ("task.decoder_only=true", "keeps a codec's codes: give init_from"),
        ("codec.card=0", "card is 0, but should be a whole number from 1"),
        ("codec.norm=foo", "unknown norm 'foo'"),
        ("optim.lr=-1", "Invalid learning rate: -1"),
        ("data.segment_duration=0", "segment_duration is 0; use seconds above 0"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(datasets, override, message):
    if override.startswith("codec.norm"):
        override = f"+{override}"
    with pytest.raises(UserError, match=message) as refused:
        train.run(config("codec_tiny", datasets, "max_steps=1", override))
    assert "\n" not in str(refused.value)
    assert not train.Path("runs").exists()


def test_a_resumed_run_keeps_the_set_of_losses_the_discriminator_and_the_averages(datasets):
    run_dir = fit(config("codec_tiny", datasets, "max_steps=2"))
    resume = f"resume={run_dir / 'checkpoints' / 'last.ckpt'}"
    # Without an adversary there is nothing of it to make small.
    for overrides, name in (
        (["+task.weights.mel=2"], "set of losses"),
        (["~task.adversary", "+task.adversary=null"], "discriminator"),
        (["task.adversary.discriminator.n_ffts=[256,512]"], "discriminator"),
        (["task.ema_decay=null"], "choice about ema_decay"),
    ):
        with pytest.raises(UserError, match=f"was trained with another {name}"):
            train.run(config("codec_tiny", datasets, resume, *overrides))
    fit(config("codec_tiny", datasets, resume, "max_steps=3", "task.adversary.weights.adv=2.0"))


def test_the_estimate_is_made_in_the_precision_of_the_run(datasets, monkeypatch):
    seen = []

    def spy(self, wav):
        seen.append(torch.is_autocast_enabled("cpu"))
        return own(self, wav)

    own = CodecModule._trial_loss
    monkeypatch.setattr(CodecModule, "_trial_loss", spy)
    fit(config("codec_tiny", datasets, "max_steps=1", "trainer.precision=bf16-mixed"))
    assert seen and all(seen)
