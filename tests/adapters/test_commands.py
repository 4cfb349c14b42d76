"""Adapters on the command lines: generate, export, evaluate."""

import json
import shlex
from pathlib import Path

import hydra
import pytest
import torch

import evaluate
from musicgen_train import export, generate
from musicgen_train.adapters.options import parse_adapters
from musicgen_train.data.audio import read_audio
from musicgen_train.errors import UserError
from musicgen_train.formats import load_lm, load_musicgen, save_codec, save_musicgen
from tests.adapters.small_adapters import logits, trained, write
from tests.conditioning.small_t5 import save_t5
from tests.formats.small_lms import our_model
from tests.small_musicgen import tiny

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A base, and two adapters of it whose runs were called alike."""
    root, lm = tmp_path_factory.mktemp("folders"), tiny().lm
    save_musicgen(tiny(), root / "base")
    for name, kind, seed in (("a", "lora", 1), ("b=2", "dora", 2)):
        write(lm, trained(lm, kind, seed), root / name, "mine")
    return root


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([], {}),
        (["a", "b=0.4"], {"a": 1.0, "b": 0.4}),
        (["a=b=-2"], {"a=b": -2.0}),
        (["a=b/c"], {"a=b/c": 1.0}),
        (["runs/lr=1e-4=0"], {"runs/lr=1e-4": 0.0}),
    ],
)
def test_the_last_equals_sign_splits_if_a_number_follows(words, found):
    assert parse_adapters(words) == found


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a=nan"], "give a number, such as a=0.7"),
        (["a=inf"], "give a number"),
        (["=1"], "give PATH or PATH=WEIGHT"),
        (["a", "a=0.5"], "--adapter a is given twice"),
    ],
)
def test_what_is_no_adapter_and_weight_is_refused(words, message):
    with pytest.raises(UserError, match=message):
        parse_adapters(words)


@pytest.fixture
def made(folders, tmp_path, capsys):
    """Generate; the only file."""

    def call(out, *options):
        fixed = ["--text", "rock", "--duration", "0.4", "--device", "cpu", "--strategy", "peak"]
        where = ["--checkpoint", str(folders / "base"), "--output", str(tmp_path / out)]
        generate.main([*where, *fixed, *options])
        return Path(capsys.readouterr().out.strip())

    return call


def test_adapters_are_heard_and_the_sidecar_makes_the_music_again(made, folders, capsys):
    options = [f"--adapter={folders / 'a'}=0.7", f"--adapter={folders / 'b=2'}=-0.4"]
    plain, mixed = made("plain"), made("mixed", *options)
    assert not torch.equal(read_audio(plain)[0], read_audio(mixed)[0])
    settings = json.loads(mixed.with_name(mixed.name + ".json").read_text())
    assert settings["adapter"] == [option.removeprefix("--adapter=") for option in options]
    before = mixed.read_bytes()
    mixed.unlink()
    _, module, *words = shlex.split(settings["command"])[1:]
    assert module == "musicgen_train.generate"
    generate.main(words)
    assert Path(capsys.readouterr().out.strip()) == mixed and mixed.read_bytes() == before
    other = made("mixed", options[0])
    assert other != mixed and mixed.read_bytes() == before


def test_weights_of_0_generate_what_the_base_does(made, folders):
    assert made("a").read_bytes() == made("b", "--adapter", f"{folders / 'a'}=0").read_bytes()


def test_int8_rounds_the_mix(made, folders):
    option = ["--adapter", str(folders / "a"), "--weights", "int8"]
    assert made("a", *option).read_bytes() != made("b", "--weights", "int8").read_bytes()


def test_what_is_no_adapter_is_refused_before_the_model_is_loaded(folders, tmp_path, capsys):
    for main, words in (
        (generate.main, ["--checkpoint", "no/model/at/all"]),
        (export.main, ["no/model/at/all", str(tmp_path / "out"), "--format", "native"]),
    ):
        with pytest.raises(SystemExit):
            main([*words, "--adapter", f"{folders / 'base'}=0.5"])
        error = capsys.readouterr().err
        assert error.startswith(f"error: no adapter at {folders / 'base'}: ")
        assert error.count("\n") == 1


def test_an_export_contains_its_adapters_and_says_so(folders, tmp_path, capsys):
    options = [f"--adapter={folders / 'a'}=0.7", f"--adapter={folders / 'b=2'}=1"]
    export.main([str(folders / "base"), str(tmp_path / "out"), "--format", "native", *options])
    assert "adapters are merged into its weights: mine=0.7, mine=1" in capsys.readouterr().out
    model = load_musicgen(folders / "base")
    model.load_adapter(folders / "a", 0.7, name="a")
    model.load_adapter(folders / "b=2", name="b")
    assert torch.equal(logits(load_lm(tmp_path / "out")), logits(model.lm))
    assert "mine=0.7, mine=1" in (tmp_path / "out" / "README.md").read_text()
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["training"]["adapters"] == "mine=0.7, mine=1"


def test_what_was_measured_without_adapters_is_not_said_of_the_merged_model(
    folders, tmp_path, capsys
):
    measured = tmp_path / "measured"
    save_musicgen(load_musicgen(folders / "base"), measured)
    (measured / "metrics.json").write_text('{"format": "musicgen_train metrics", "metrics": []}')
    for out, options in (("plain", []), ("merged", [f"--adapter={folders / 'a'}=0.7"])):
        export.main([str(measured), str(tmp_path / out), "--format", "native", *options])
        assert (tmp_path / out / "metrics.json").exists() == (out == "plain")


def test_a_pointer_to_a_codec_takes_no_adapters(folders, tmp_path, capsys):
    words = ["facebook/encodec_32khz", str(tmp_path / "out"), "--format", "audiocraft"]
    with pytest.raises(SystemExit):
        export.main([*words, "--pointer", "--adapter", str(folders / "a")])
    assert "--pointer for codecs: leave one out" in capsys.readouterr().err


def test_transformers_gets_the_merged_model(tmp_path, capsys):
    model = our_model("text", save_t5(tmp_path / "t5", 12))
    save_musicgen(model, tmp_path / "base")
    adapter = write(model.lm, trained(model.lm, "dora", rank=2), tmp_path / "adapter")
    words = [tmp_path / "base", tmp_path / "out", "--adapter", adapter, "--format", "transformers"]
    export.main([str(word) for word in words])
    assert "verified: transformers" in capsys.readouterr().out
    model.load_adapter(adapter)
    torch.testing.assert_close(
        logits(load_lm(tmp_path / "out")), logits(model.lm), rtol=0, atol=1e-5
    )


def test_a_codec_has_no_adapters(folders, tmp_path, capsys):
    save_codec(tiny().codec, tmp_path / "codec")
    with pytest.raises(SystemExit):
        export.main([str(tmp_path / "codec"), str(tmp_path / "out"), "--format", "native",
                     "--adapter", str(folders / "a")])  # fmt: skip
    assert "--adapter is for models, this is a codec" in capsys.readouterr().err


def evaluation(*overrides):
    with hydra.initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return hydra.compose("evaluate", ["output_dir=out", "protocol=judge", *overrides])


def test_evaluate_measures_the_mix(folders):
    cfg = evaluation(
        f"ckpt={folders / 'base'}", f"adapters={{{folders / 'a'}: 0.7}}", "duration=0.5"
    )
    parts = evaluate.read_model(cfg, torch.device("cpu"))[0]
    model = load_musicgen(folders / "base")
    model.load_adapter(folders / "a", 0.7)
    torch.testing.assert_close(logits(parts.lm), logits(model.lm), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("ckpt=m", "dataset=.", "adapters={nowhere: 1}"), "no adapter at nowhere"),
        (("ckpt=m", "dataset=.", "adapters=much"), r"adapters=much: give \{PATH: WEIGHT"),
        (("generated=.", "reference=.", "adapters={a: 1}"), "adapters are of a model"),
    ],
)
def test_evaluate_refuses_adapters_that_cannot_be_meant(overrides, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = evaluation(*overrides, f"output_dir={tmp_path.with_name('out')}")
    with pytest.raises(UserError, match=message):
        evaluate.check_request(cfg)
