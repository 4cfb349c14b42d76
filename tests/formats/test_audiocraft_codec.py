"""audiocraft's codecs: published folders load, ours come back, broken files say what is wrong."""

import argparse
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from musicgen_train.errors import UserError
from musicgen_train.formats import (
    load_codec,
    save_audiocraft_codec,
    save_audiocraft_pointer,
    save_transformers_codec,
)
from tests.formats.editing import put
from tests.formats.small_codecs import CHUNKED, EVERYWHERE, assert_same_codec, trained

GOLDEN = Path(__file__).parents[1] / "golden"
FILE = "compression_state_dict.bin"


def edit(folder, **changes):
    """Write the exported codec again with other options of xp.cfg; a value `...` drops the key."""
    content = torch.load(folder / FILE, weights_only=True)
    config = yaml.safe_load(content["xp.cfg"])
    for key, value in changes.items():
        put(config, key.split("__"), value)
    torch.save({**content, "xp.cfg": yaml.safe_dump(config)}, folder / FILE)


@pytest.fixture
def folder(tmp_path):
    return save_audiocraft_codec(trained(lstm=1), tmp_path)


@pytest.mark.parametrize("name", ["audiocraft_text", "audiocraft_melody"])
@pytest.mark.parametrize("given", ["folder", "file"])
def test_a_published_folder_gives_the_reference_codes_and_audio(name, given):
    codec = load_codec(GOLDEN / name if given == "folder" else GOLDEN / name / FILE)
    io = load_file(GOLDEN / name / "io.safetensors")
    assert torch.equal(codec.encode(io["io.codec_wav"]), io["io.codec_codes"])
    wav = codec.decode(io["io.greedy_row1_cfg3"])
    torch.testing.assert_close(wav, io["io.greedy_row1_wav"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["audiocraft_text", "audiocraft_melody"])
def test_a_published_codec_is_written_as_it_was(name, tmp_path):
    save_audiocraft_codec(load_codec(GOLDEN / name), tmp_path)
    theirs, ours = (
        torch.load(folder / FILE, weights_only=True) for folder in (GOLDEN / name, tmp_path)
    )
    assert ours.keys() == theirs.keys()
    states = ours["best_state"], theirs["best_state"]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(tensor, states[1][key]) for key, tensor in states[0].items())
    configs = [yaml.safe_load(content["xp.cfg"]) for content in (ours, theirs)]
    for section in ("encodec", "seanet", "rvq"):
        assert configs[0][section].keys() == configs[1][section].keys()
        for key, value in configs[1][section].items():
            if not str(value).startswith("${"):
                assert configs[0][section][key] == value, (section, key)


@pytest.mark.parametrize("kind", [*EVERYWHERE, "no norm or LSTM"])
def test_a_codec_comes_back_to_the_last_bit(kind, tmp_path):
    codec = trained(**EVERYWHERE.get(kind, {"norm": "none", "lstm": 0, "card": 24}))
    save_audiocraft_codec(codec, tmp_path)
    assert_same_codec(load_codec(tmp_path), codec)
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (CHUNKED, "no codec that works in chunks"),
        ({"causal": True, "normalize": True}, "refuses a causal codec that normalises"),
        ({"causal": True, "norm": "group"}, "exists only here"),
        ({"trim_right_ratio": 0.5}, "not causal exists only here"),
    ],
)
def test_what_audiocraft_cannot_hold_is_refused(options, said, tmp_path):
    with pytest.raises(UserError, match=said):
        save_audiocraft_codec(trained(**options), tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("place", ["beside", "owner"])
def test_a_pointer_leads_to_the_transformers_codec(place, tmp_path, monkeypatch):
    codec = trained(lstm=1)
    monkeypatch.chdir(tmp_path)
    save_audiocraft_pointer("facebook/encodec_32khz", tmp_path / "pointer")
    local = {"beside": "pointer/encodec_32khz", "owner": "facebook/encodec_32khz"}[place]
    save_transformers_codec(codec, local)
    assert_same_codec(load_codec("pointer"), codec)


@pytest.mark.parametrize("name", ["dac_44khz", "../../etc", "a/../b", "/etc/passwd", 3, None])
def test_a_pointer_to_anything_but_the_hub_is_refused(name, tmp_path):
    torch.save({"pretrained": name, "exported": True, "version": "1.3.0"}, tmp_path / FILE)
    with pytest.raises(UserError, match="which is no EnCodec of the hub"):
        load_codec(tmp_path)
    if isinstance(name, str):
        with pytest.raises(UserError, match="is no codec of the hub"):
            save_audiocraft_pointer(name, tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seanet__norm": "spectral_norm"}, "seanet.norm is 'spectral_norm': only weight_norm"),
        ({"seanet__norm": ["a"]}, r"seanet.norm is \['a'\]"),
        ({"seanet__true_skip": "yes"}, "seanet.true_skip is 'yes'"),
        ({"seanet__pad_mode": "replicate"}, "unknown pad_mode 'replicate'"),
        ({"seanet__activation": "Snake"}, "seanet.activation is 'Snake', but only 'ELU'"),
        ({"seanet__activation_params": {"alpha": 0.5}}, "seanet.activation_params"),
        ({"seanet__norm_params": {"eps": 1e-3}}, "seanet.norm_params"),
        ({"seanet__disable_norm_outer_blocks": 2}, "seanet.disable_norm_outer_blocks is 2"),
        ({"seanet__encoder": {"n_filters": 8}}, "seanet.encoder"),
        ({"seanet__decoder__n_filters": 8}, "option seanet.decoder.n_filters of xp.cfg is not"),
        ({"seanet__decoder__final_activation": "Tanh"}, "seanet.decoder.final_activation"),
        ({"seanet__attention": True}, "option seanet.attention of xp.cfg is not supported"),
        ({"seanet__channels": 2}, "seanet.channels is not encodec.channels"),
        ({"seanet__ratios": []}, r"seanet.ratios is \[\], but should be 1 to 16 whole numbers"),
        ({"seanet__ratios": ...}, "seanet.ratios is missing in xp.cfg"),
        ({"seanet__n_filters": "4"}, "seanet.n_filters is '4', but should be a whole number"),
        ({"seanet__n_filters": 10**9}, "seanet.n_filters is 1000000000"),
        ({"seanet__n_residual_layers": 10**6}, "seanet.n_residual_layers is 1000000"),
        ({"seanet__dimension": True}, "seanet.dimension is True"),
        ({"seanet__dimension": "${seanet.dimension}"}, "which leads nowhere"),
        ({"seanet__dimension": "${oc.env:HOME}"}, "which leads nowhere"),
        ({"seanet__decoder__trim_right_ratio": float("nan")}, "trim_right_ratio is nan"),
        ({"rvq__orthogonal_reg_weight": 1.0}, "rvq.orthogonal_reg_weight is 1.0"),
        ({"rvq": 3}, "is missing in xp.cfg|is no section"),
        ({"rvq__bins": ...}, "rvq.bins is missing in xp.cfg"),
        ({"rvq__bins": 32}, "weights do not fit the config: size mismatch"),
        ({"rvq__n_q": 5}, "weights do not fit the config: Missing key"),
        ({"compression_model": "dac"}, "compression_model is 'dac', but only 'encodec'"),
        ({"encodec__quantizer": "no_quant"}, "encodec.quantizer is 'no_quant'"),
        ({"encodec__sample_rate": ...}, "encodec.sample_rate is missing"),
    ],
)
def test_an_option_that_is_unknown_missing_or_absurd_is_named(changes, said, folder):
    edit(folder, **changes)
    with pytest.raises(UserError, match=said) as raised:
        load_codec(folder)
    assert FILE in str(raised.value) and "\n" not in str(raised.value)


def test_references_inside_the_config_are_followed(folder):
    codec = load_codec(folder)
    edit(folder, width=8, seanet__dimension="${also.width}", also={"width": "${width}"})
    assert_same_codec(load_codec(folder), codec)


def test_options_of_training_may_be_left_out(folder):
    codec = load_codec(folder)
    edit(folder, encodec__renormalize=..., encodec__renorm={"use": False}, rvq__decay=...,
         rvq__q_dropout=..., rvq__threshold_ema_dead_code=...)  # fmt: skip
    assert_same_codec(load_codec(folder), codec)


class Harmful:
    """Pickles as a call; a loader that runs it would leave a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pickle_that_holds_code_is_refused_and_not_run(tmp_path):
    for content in (Harmful(tmp_path / "run"), argparse.Namespace(a=1)):
        torch.save({"best_state": {}, "xp.cfg": content}, tmp_path / FILE)
        with pytest.raises(UserError, match="holds more than tensors and plain values"):
            load_codec(tmp_path)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kept", [0, 1, 100, 5000, -10])
def test_a_truncated_pickle_is_named(kept, folder):
    content = (folder / FILE).read_bytes()
    (folder / FILE).write_bytes(content[:kept])
    with pytest.raises(UserError, match=rf"{FILE} is truncated or corrupt: copy it again"):
        load_codec(folder)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1, 2], "its content is no mapping"),
        ({}, "best_state is missing or not flat"),
        ({"best_state": {"model": {}}}, "best_state is missing or not flat"),
        ({"best_state": {}}, "xp.cfg is missing or no mapping"),
        ({"best_state": {}, "xp.cfg": "just words"}, "xp.cfg is missing or no mapping"),
        ({"best_state": {}, "xp.cfg": "a: [1, 2"}, "xp.cfg is no plain YAML"),
        ({"best_state": {}, "xp.cfg": "a: !!python/name:os.system"}, "xp.cfg is no plain YAML"),
        ({"best_state": {}, "xp.cfg": "[" * 1500}, "xp.cfg is no plain YAML"),
        ({"best_state": {}, "xp.cfg": "a: 1"}, "is missing in xp.cfg"),
    ],
)
def test_content_that_is_no_codec_is_refused(content, said, tmp_path):
    torch.save(content, tmp_path / FILE)
    with pytest.raises(UserError, match=said) as raised:
        load_codec(tmp_path)
    assert "\n" not in str(raised.value)


def test_weights_of_the_wrong_name_are_refused(folder):
    content = torch.load(folder / FILE, weights_only=True)
    content["best_state"]["encoder.model.99.conv.conv.bias"] = torch.zeros(3)
    torch.save(content, folder / FILE)
    with pytest.raises(UserError, match="weights do not fit the config: Unexpected key"):
        load_codec(folder)


def test_an_option_that_unfolds_without_end_is_refused_at_once(folder):
    content = torch.load(folder / FILE, weights_only=True)
    bomb = "\n".join(["a0: &a0 [x, x, x, x, x, x, x, x, x]"] + [
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)
    ])  # fmt: skip
    cfg = content["xp.cfg"].replace("compression_model: encodec", "compression_model: *a11")
    torch.save(content | {"xp.cfg": f"{bomb}\n{cfg}"}, folder / FILE)
    with pytest.raises(UserError, match="compression_model is ") as refused:
        load_codec(folder)
    assert len(str(refused.value)) < 1000
