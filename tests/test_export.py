"""The export command writes each layout, checks it, and says in one line what it will not do."""

import json
import os
import re
import signal
from pathlib import Path

import huggingface_hub
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from musicgen_train import export, formats
from musicgen_train.codec.stereo import StereoCodec
from musicgen_train.conditioning.text import WordTextEncoder
from musicgen_train.evaluation.measurement import Measurement
from musicgen_train.evaluation.metrics_file import write_metrics
from musicgen_train.formats import (
    load_codec,
    load_lm,
    load_musicgen,
    save_audiocraft_codec,
    save_codec,
    save_musicgen,
    save_transformers_codec,
)
from musicgen_train.formats.native import ASSETS
from musicgen_train.formats.provenance import read_provenance
from musicgen_train.musicgen import MusicGen
from tests.conditioning.small_t5 import save_t5
from tests.formats.small_codecs import CHUNKED, assert_same_codec, trained
from tests.formats.small_lms import KINDS, our_model
from tests.small_training import config, fit

GOLDEN = Path(__file__).parent / "golden"


def run(checkpoint, output, layout, *options):
    export.main([str(checkpoint), str(output), "--format", layout, *map(str, options)])
    return output


def refused(capsys, *arguments):
    """The one line that is said instead."""
    with pytest.raises(SystemExit) as stopped:
        export.main([str(argument) for argument in arguments])
    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert error.startswith("error: ") and error.count("\n") == 1, error
    return error


def front_matter(folder):
    return yaml.safe_load((folder / "README.md").read_text().split("---")[1])


@pytest.fixture(scope="module")
def t5(tmp_path_factory):
    return save_t5(tmp_path_factory.mktemp("text") / "small_t5", 12)


@pytest.fixture(scope="module")
def models(t5, tmp_path_factory):
    """A native folder of every kind."""
    root = tmp_path_factory.mktemp("models")
    return {kind: save_musicgen(our_model(kind, t5), root / kind) for kind in KINDS}


@pytest.mark.parametrize("layout", ["audiocraft", "transformers", "native"])
def test_every_layout_of_a_codec_is_written_and_loads_again(layout, tmp_path, capsys):
    codec = trained(lstm=1)
    save_codec(codec, tmp_path / "codec")
    output = run(tmp_path / "codec", tmp_path / "out", layout)
    assert_same_codec(load_codec(output), codec)
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(f"codec: {output}")
    assert re.match(r"verified: .* the same latents and audio \(largest difference", said[1])
    assert front_matter(output)["library_name"] in (layout, "musicgen_train")


def test_codecs_go_round_all_layouts_unchanged(tmp_path):
    codec = trained(lstm=1, causal=True, quantizer_dropout=True, decay=0.9)
    save_codec(codec, tmp_path / "0")
    for i, layout in enumerate(["audiocraft", "transformers", "audiocraft", "native"]):
        run(tmp_path / str(i), tmp_path / str(i + 1), layout)
    assert_same_codec(load_codec(tmp_path / "4"), codec)


def test_a_pointer_needs_no_weights(tmp_path):
    run("encodec_32khz", tmp_path / "out", "audiocraft", "--pointer")
    content = torch.load(tmp_path / "out" / "compression_state_dict.bin", weights_only=True)
    assert content == {
        "pretrained": "facebook/encodec_32khz", "exported": True, "version": "1.3.0"
    }  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", ["native", "transformers"])
def test_every_kind_of_model_is_written_and_verified(kind, layout, models, tmp_path, capsys):
    output = run(models[kind], tmp_path / "out", layout)
    said = capsys.readouterr().out
    same = "musicgen_train computes the same logits"
    if layout == "transformers":
        same = r"transformers 5\S+ computes the same logits, latents and audio, text states"
    assert re.search(rf"verified: {same} \(largest", said)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    ours, theirs = load_lm(models[kind]).state_dict(), load_lm(output).state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert load_musicgen(output).audio_channels == KINDS[kind][1]
    assert output.stat().st_mode & 0o055 == 0o055


@pytest.mark.parametrize("name", ["audiocraft_text", "audiocraft_melody"])
def test_a_published_model_comes_back_through_audiocrafts_layout(name, tmp_path, capsys):
    output = run(GOLDEN / name, tmp_path / "out", "audiocraft")
    assert "computes the same logits" in capsys.readouterr().out
    ours, theirs = load_lm(GOLDEN / name).state_dict(), load_lm(output).state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert sorted(path.name for path in output.iterdir()) == [
        "README.md", "compression_state_dict.bin", "state_dict.bin"
    ]  # fmt: skip


def test_the_codec_of_a_model_is_exported_alone(models, tmp_path, capsys):
    run(models["melody"], tmp_path / "out", "native", "--codec-only")
    assert capsys.readouterr().out.startswith("codec: ")
    assert_same_codec(load_codec(tmp_path / "out"), load_musicgen(models["melody"]).codec)
    run(models["stereo text"], tmp_path / "wide", "native", "--codec-only")
    assert isinstance(load_codec(tmp_path / "wide"), StereoCodec)
    error = refused(capsys, models["stereo text"], tmp_path / "no", "--codec-only",
                    "--format", "transformers")  # fmt: skip
    assert "no stereo codec of a mono one" in error


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_written_and_its_cost_is_said(dtype, models, tmp_path, capsys):
    output = run(models["text"], tmp_path / "out", "native", "--dtype", dtype)
    said = capsys.readouterr().out
    assert "(largest difference 0.0e+00)" in said
    assert re.search(rf"{dtype}: rounding the weights changes logits by up to \d", said)
    stored = load_file(output / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {getattr(torch, dtype)}


def test_an_added_melody_is_left_out_on_demand_and_card_and_command_say_so(
    t5, models, tmp_path, capsys
):
    added = our_model("melody", t5, fuse_text="cross", fuse_chroma="sum", chroma_rate=0.125)
    save_musicgen(added, tmp_path / "added")
    error = refused(capsys, tmp_path / "added", tmp_path / "no", "--format", "transformers")
    assert "adds a melody to its steps: give --without-melody" in error
    output = run(tmp_path / "added", tmp_path / "out", "transformers", "--without-melody")
    said, card = capsys.readouterr().out, (output / "README.md").read_text()
    note = "its melody was left out: here the model follows texts alone"
    same = r"transformers 5\S+ computes the same logits, latents and audio, text states"
    assert re.search(rf"verified: {same} \(largest", said)
    assert note in said and note in card
    assert "import AutoProcessor, MusicgenForConditionalGeneration as Model" in card
    assert "melody" not in front_matter(output)["tags"]
    assert load_musicgen(output).chroma is None
    for kind in ("text", "melody"):
        error = refused(capsys, models[kind], tmp_path / "no", "--format", "transformers",
                        "--without-melody")  # fmt: skip
        assert "leave --without-melody out" in error


def test_a_melody_that_was_left_out_wrongly_is_found(t5, tmp_path, capsys, monkeypatch):
    added = our_model("melody", t5, fuse_text="cross", fuse_chroma="sum", chroma_rate=0.125)
    save_musicgen(added, tmp_path / "added")
    fold = formats.without_melody

    def wrong(model):
        folded = fold(model)
        with torch.no_grad():
            folded.lm.embedding.weight.mul_(1.1)
        return folded

    monkeypatch.setattr(formats, "without_melody", wrong)
    error = refused(capsys, tmp_path / "added", tmp_path / "out", "--format", "transformers",
                    "--without-melody")  # fmt: skip
    assert "computes other logits from the export" in error and not (tmp_path / "out").exists()


def test_a_codec_is_rounded_on_demand_and_card_and_command_say_so(models, tmp_path, capsys):
    codec = trained(lstm=1)
    save_codec(codec, tmp_path / "codec")
    output = run(tmp_path / "codec", tmp_path / "out", "native", "--codec-dtype", "float16")
    rounded = load_codec(output)
    note = f"float16, which made codec {rounded.identity()} of codec {codec.identity()}"
    assert note in capsys.readouterr().out and note in (output / "README.md").read_text()
    assert load_file(output / "codec.safetensors")["decoder.layers.0.conv.bias"].dtype == torch.half
    # Once more changes nothing, and nothing is said.
    again = run(output, tmp_path / "again", "native", "--codec-dtype", "float16")
    assert_same_codec(load_codec(again), rounded)
    assert "which made codec" not in capsys.readouterr().out
    error = refused(capsys, models["text"], tmp_path / "no", "--format", "native",
                    "--codec-dtype", "float16")  # fmt: skip
    assert "--codec-dtype is for codecs" in error and "add --codec-only" in error
    run(models["text"], tmp_path / "yes", "native", "--codec-dtype", "float16", "--codec-only")


@pytest.mark.parametrize(
    ("weight", "said"),
    [
        ("decoder.lm_heads.1.weight", "logits"),
        ("audio_encoder.decoder.layers.0.conv.bias", "latents and audio"),
        ("text_encoder.encoder.final_layer_norm.weight", "text states"),
    ],
)
def test_an_export_that_computes_something_else_is_an_error_and_leaves_nothing(
    weight, said, models, tmp_path, capsys, monkeypatch
):
    from musicgen_train import formats

    real = formats.save_transformers_musicgen

    def spoilt(model, folder):
        real(model, folder)
        state = load_file(folder / "model.safetensors")
        state[weight].view(-1)[2] += 0.1
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})

    monkeypatch.setattr(formats, "save_transformers_musicgen", spoilt)
    error = refused(capsys, models["text"], tmp_path / "out", "--format", "transformers")
    assert re.search(rf"transformers 5\S+ computes other {said} from the export \(largest", error)
    assert not list(tmp_path.iterdir())


def test_the_licence_is_the_given_the_recorded_or_unknown_one(models, tmp_path):
    first = run(models["text"], tmp_path / "1", "native")
    assert front_matter(first)["license"] == "unknown"
    second = run(models["text"], tmp_path / "2", "native", "--licence", "CC-BY-NC-4.0")
    assert front_matter(second)["license"] == "cc-by-nc-4.0"
    third = run(second, tmp_path / "3", "transformers")  # recorded in config.json
    fourth = run(third, tmp_path / "4", "native")  # recorded in the model card
    assert front_matter(third)["license"] == front_matter(fourth)["license"] == "cc-by-nc-4.0"
    fifth = run(second, tmp_path / "5", "native", "--licence", "ask me: first")
    matter = front_matter(fifth)
    assert (matter["license"], matter["license_name"]) == ("other", "ask me: first")
    sixth = run(fifth, tmp_path / "6", "transformers")
    assert front_matter(run(sixth, tmp_path / "7", "native"))["license_name"] == "ask me: first"


def test_the_card_says_what_the_model_is(models, tmp_path):
    output = run(models["stereo melody"], tmp_path / "out", "transformers")
    card, matter = (output / "README.md").read_text(), front_matter(output)
    assert matter["pipeline_tag"] == "text-to-audio" and matter["library_name"] == "transformers"
    assert {"musicgen", "melody", "stereo"} <= set(matter["tags"])
    for fact in (
        "2 layers, width 16, 2 heads",
        "8 codebooks of 16 at 100 frames/s (3.2 kbit/s)",
        "3200 Hz, stereo",
        "text (small_t5, prepended), melody (chroma, prepended)",
        "| 2 s |",
    ):
        assert fact in card
    assert "## Training" not in card and "## Metrics" not in card


@pytest.mark.parametrize("layout", ["native", "transformers"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_code_of_the_card_runs(kind, layout, models, tmp_path, monkeypatch):
    output = run(models[kind], tmp_path / "out", layout)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (output / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == (2 if layout == "transformers" else 1)
    for block in blocks:
        assert len(block.strip().splitlines()) <= 4
        names = {}
        exec(block, names)
        assert names["wavs"].shape[:2] == (1, KINDS[kind][1])
        assert abs(names["wavs"].shape[-1] / 3200 - 2.0) < 0.1


def test_metrics_are_copied_and_shown(models, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = load_musicgen(models["text"])
    save_musicgen(model, "runs/a/model")
    save_musicgen(model, "runs/a/other")
    row = Measurement("ce", "Cross | entropy", 6.25, "lower", 4, "nats", good_end=1.5,
                      good_end_is="perfect")  # fmt: skip
    write_metrics(Path("runs/a"), "", [row], [], {}, {"ckpt": "runs/a/model"}, {})
    first = run("runs/a/model", Path("1"), "native")
    second = run(first, Path("2"), "transformers")
    for folder in (first, second):
        line = "| Cross / entropy | 6.25 nats | 1.5 (perfect) | – |"
        assert line in (folder / "README.md").read_text()
        assert (folder / "metrics.json").read_bytes() == Path("runs/a/metrics.json").read_bytes()
    # They are about their own model and no other.
    assert not (run("runs/a/other", Path("3"), "native") / "metrics.json").exists()


def test_a_checkpoint_of_a_training_is_exported_with_its_record(datasets, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_dir = fit(config("lm_demo", datasets, "max_steps=2", "name=mine"))
    for i, checkpoint in enumerate((run_dir / "checkpoints" / "last.ckpt", run_dir / "model")):
        output = run(checkpoint, Path(str(i)), "native")
        training = json.loads((output / "config.json").read_text())["training"]
        assert (training["run"], training["steps"]) == ("mine", 2)
        assert training["dataset"] == datasets["codes"].name
        assert "| steps | 2 |" in (output / "README.md").read_text()
        assert str(datasets["codes"]) not in (output / "README.md").read_text()


@pytest.mark.parametrize("name", ["codec_tiny", "encodec_32khz", "small"])
def test_a_name_takes_nothing_from_the_current_directory(name, tmp_path, monkeypatch):
    """Of a codec that ships, of one in the hub's cache, and of a model's there."""
    repository = {"small": "facebook/musicgen-small"}.get(name, f"facebook/{name}")
    root = tmp_path / f"models--{repository.replace('/', '--')}"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text("0" * 40)
    snapshot = root / "snapshots" / ("0" * 40)
    save = save_audiocraft_codec if name == "small" else save_transformers_codec
    save(trained(lstm=1), snapshot)
    (snapshot / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    Path("README.md").write_text("---\nlicense: gpl-3.0\n---\n")
    Path("metrics.json").write_text('{"metrics": [{"title": "of another model"}]}')
    output = run(name, Path("out"), "native", "--codec-only")
    shipped = read_provenance(ASSETS / "codec_tiny").licence or "unknown"
    expected = shipped if name == "codec_tiny" else "cc-by-nc-4.0"
    assert front_matter(output)["license"] == expected
    assert not (output / "metrics.json").exists()


def test_a_model_in_the_current_directory_is_called_after_it(models, tmp_path, monkeypatch):
    folder = run(models["text"], tmp_path / "mine", "transformers")
    monkeypatch.chdir(folder)
    for i, typed in enumerate((".", "../mine", str(folder))):
        assert load_musicgen(run(typed, tmp_path / str(i), "native")).name == "mine"


def test_half_precision_of_a_trained_text_encoder_counts(models, tmp_path, capsys):
    """The words are rounded with the language model, and the change that is said is of both."""
    model = load_musicgen(models["text"])
    with torch.no_grad():  # a language model that loses nothing
        for parameter in model.lm.parameters():
            parameter.copy_(parameter.bfloat16())
    encoder = WordTextEncoder(dim=12)
    words = MusicGen("words", model.codec, model.lm, encoder, max_duration=model.max_duration)
    save_musicgen(words, tmp_path / "words")
    output = run(tmp_path / "words", tmp_path / "out", "native", "--dtype", "bfloat16")
    change = re.search(r"changes logits by up to (\S+) of", capsys.readouterr().out)
    assert change is not None and float(change[1]) > 0
    stored = load_file(output / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.bfloat16}


def test_what_cannot_be_read_is_said_not_where_it_should_go(tmp_path, capsys, monkeypatch):
    from musicgen_train import formats

    def denied(_):
        raise PermissionError(13, "Permission denied", "codec/codec.safetensors")

    save_codec(trained(lstm=1), tmp_path / "codec")
    monkeypatch.setattr(formats, "load_codec", denied)
    error = refused(capsys, tmp_path / "codec", tmp_path / "new", "--format", "native")
    assert "codec/codec.safetensors cannot be read (Permission denied)" in error


@pytest.mark.parametrize("target", ["nothing", "empty"])
def test_a_link_as_output_is_refused_before_anything_is_loaded(target, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / target)
    error = refused(capsys, tmp_path / "nowhere", tmp_path / "link", "--format", "native")
    assert "link is a link: name a new folder" in error


def test_a_failure_takes_the_folders_with_it_that_it_made(tmp_path, capsys):
    (tmp_path / "there").mkdir()
    refused(capsys, tmp_path / "nowhere", tmp_path / "there/a/b/out", "--format", "native")
    assert list(tmp_path.rglob("*")) == [tmp_path / "there"]
    save_codec(trained(lstm=1), tmp_path / "codec")
    assert run(tmp_path / "codec", tmp_path / "there/a/b/out", "native").is_dir()


def test_a_termination_leaves_nothing(tmp_path, monkeypatch):
    from musicgen_train import formats

    def terminated(*_):
        assert any(path.name.startswith(".out.") for path in tmp_path.iterdir())
        os.kill(os.getpid(), signal.SIGTERM)

    save_codec(trained(lstm=1), tmp_path / "codec")
    monkeypatch.setattr(formats, "save_codec", terminated)
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)  # so that a fault ends no test run
    try:
        with pytest.raises(SystemExit) as stopped:
            run(tmp_path / "codec", tmp_path / "out", "native")
        assert stopped.value.code == 128 + signal.SIGTERM
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)
    assert [path.name for path in tmp_path.iterdir()] == ["codec"]


def test_a_checkpoint_of_a_codecs_training_is_exported(datasets, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_dir = fit(config("codec_tiny", datasets, "max_steps=2"))
    output = run(run_dir / "checkpoints" / "last.ckpt", Path("out"), "native")
    assert_same_codec(load_codec(output), load_codec(run_dir / "model"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere", "new", "--format", "native"], "no checkpoint at"),
        (["smal", "new", "--format", "native"], "small, medium, large"),
        (["codec", "codec", "--format", "native"], "is not empty"),
        (["codec", "file", "--format", "native"], "is not empty"),
        (["codec", "file/new", "--format", "native"], "cannot be written"),
        (
            ["chunked", "new", "--format", "audiocraft"],
            "no codec that works in chunks: export to transformers",
        ),
        (["codec", "new", "--format", "native", "--pointer"], "--pointer is for --format audi"),
        (["codec", "new", "--format", "audiocraft", "--pointer"], "--pointer needs a name of the"),
        (["codec", "new", "--format", "native", "--dtype", "float16"], "--dtype is for models"),
        (
            ["codec", "new", "--format", "transformers", "--dtype", "float16"],
            "--dtype is for --format native",
        ),
        (
            ["codec", "new", "--format", "transformers", "--codec-dtype", "float16"],
            "--codec-dtype is for --format native",
        ),
        (["codec", "new", "--format", "native", "--without-melody"], "is for --format transform"),
        (["codec", "new", "--format", "transformers", "--without-melody"], "this is a codec"),
        (["codec", "new", "--format", "native", "--licence", " "], "--licence is empty"),
        (["broken", "new", "--format", "native"], "broken/config.json is no JSON"),
        (["bad_metrics", "new", "--format", "native"], "metrics.json is no metrics.json of eval"),
    ],
)
def test_what_cannot_be_exported_leaves_one_line_and_no_file(
    arguments, said, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    save_codec(trained(lstm=1), "codec")
    save_codec(trained(lstm=1), "bad_metrics")
    Path("bad_metrics/metrics.json").write_text('{"metrics": 3}')
    save_codec(trained(**CHUNKED), "chunked")
    Path("broken").mkdir()
    Path("broken/config.json").write_text("{")
    Path("file").touch()
    before = sorted(path.name for path in tmp_path.iterdir())
    assert said in refused(capsys, *arguments)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert sorted(p.name for p in (tmp_path / "codec").iterdir()) == [
        "codec.safetensors", "config.json"
    ]  # fmt: skip
