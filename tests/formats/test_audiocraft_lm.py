"""audiocraft's MusicGens: published ones load, ours come back, broken ones say why."""

from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from musicgen_train.codec.stereo import StereoCodec
from musicgen_train.conditioning.chroma import ChromaExtractor, one_hot
from musicgen_train.conditioning.text import T5TextEncoder, WordTextEncoder
from musicgen_train.errors import UserError
from musicgen_train.formats.audiocraft_lm import (
    read_audiocraft_lm,
    read_audiocraft_musicgen,
    save_audiocraft_musicgen,
)
from tests.formats.small_lms import KINDS, our_model, random_chroma, random_sequence
from tests.formats.test_audiocraft_codec import GOLDEN, Harmful

FILE = "state_dict.bin"
DELAY = "codebooks_pattern.delay"
CHROMA = "conditioners.self_wav.chroma_stem"


def content(folder):
    return torch.load(folder / FILE, weights_only=True)


def edit(folder, changes):
    """Write the model again with other options of xp.cfg; a value `...` drops the key."""
    package = content(folder)
    config = yaml.safe_load(package["xp.cfg"])
    for key, value in changes.items():
        *sections, name = key.split(".")
        node = config
        for section in sections:
            node = node.setdefault(section, {})
        node[name] = value
        if value is ...:
            del node[name]
    torch.save({**package, "xp.cfg": yaml.safe_dump(config)}, folder / FILE)


def edit_state(folder, change):
    package = content(folder)
    change(package["best_state"])
    torch.save(package, folder / FILE)


@pytest.fixture
def golden(tmp_path):
    """Copies of the published folders, to be spoilt."""

    def copy(name):
        for path in (GOLDEN / f"audiocraft_{name}").iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
        return tmp_path

    return copy


def sized_model(kind, **options):
    """A model whose T5 is one that audiocraft knows, though nothing loads it here."""
    return our_model(kind, "google-t5/t5-small", **({"text_dim": 512} | options))


def reference(name):
    return load_file(GOLDEN / f"audiocraft_{name}" / "io.safetensors")


def conditions(name, row):
    """The embedding and the chroma of one row alone."""
    io = reference(name)
    keep = io["io.text_mask"][row].bool()
    text = (io["io.text_embedding"][row, keep][None], io["io.text_mask"][row, keep][None])
    melody = name == "melody"
    chroma = one_hot(ChromaExtractor(32000)(io["io.melody_wav"][row, None])) if melody else None
    return text, chroma


@pytest.mark.parametrize("name", ["text", "melody"])
def test_a_published_folder_is_read_whole(name):
    model = read_audiocraft_musicgen(GOLDEN / f"audiocraft_{name}")
    assert model.max_duration == 2.0
    assert model.text_encoder.config["name_or_path"] == "google-t5/t5-small"
    assert model.text_encoder.dim == 512
    assert not model.lm.training and model.lm.embedding.weight.dtype == torch.float32
    assert (model.codec.n_q, model.codec.card) == (4, 64)
    if name == "text":
        assert model.chroma is None
    else:
        assert model.chroma.config == ChromaExtractor(32000).config
        assert model.lm.config["chroma_length"] == 16
    text, chroma = conditions(name, 1)
    io = reference(name)
    codes = model.lm.generate(20, text, chroma, cfg_coef=3.0, greedy=True)
    assert torch.equal(codes, io["io.greedy_row1_cfg3"])
    wav = model.codec.decode(codes)
    torch.testing.assert_close(wav, io["io.greedy_row1_wav"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["text", "melody"])
def test_a_published_folder_is_written_as_it_was(name, tmp_path):
    source = GOLDEN / f"audiocraft_{name}"
    save_audiocraft_musicgen(read_audiocraft_musicgen(source), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {FILE, "compression_state_dict.bin"}
    theirs, ours = content(source), content(tmp_path)
    assert ours.keys() == theirs.keys()
    assert ours["best_state"].keys() == theirs["best_state"].keys()
    for key, tensor in theirs["best_state"].items():
        assert torch.equal(ours["best_state"][key], tensor), key
    configs = [yaml.safe_load(each["xp.cfg"]) for each in (ours, theirs)]
    for section in ("transformer_lm", "fuser", "interleave_stereo_codebooks", "tokens"):
        assert configs[0][section] == configs[1][section], section
    assert configs[0]["codebooks_pattern"]["delay"] == configs[1]["codebooks_pattern"]["delay"]
    conditioners = configs[1]["conditioners"]
    assert list(configs[0]["conditioners"]) == list(conditioners)
    for condition, options in conditioners.items():
        kind = options["model"]
        assert configs[0]["conditioners"][condition]["model"] == kind
        assert configs[0]["conditioners"][condition][kind].keys() == options[kind].keys()
    for key in ("device", "dtype", "sample_rate", "channels", "lm_model", "solver"):
        assert configs[0][key] == configs[1][key], key
    for key in ("classifier_free_guidance", "attribute_dropout", "dataset"):  # the rest is training
        assert configs[0][key].keys() <= configs[1][key].keys(), key
    lm, again = read_audiocraft_lm(source), read_audiocraft_lm(tmp_path / FILE)
    assert lm.config == again.config
    text, chroma = conditions(name, 0)
    codes = reference(name)["io.codes"][:1]
    assert torch.equal(lm.logits(codes, text, chroma)[0], again.logits(codes, text, chroma)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_musicgen_comes_back_to_the_last_bit(kind, tmp_path):
    model = sized_model(kind)
    save_audiocraft_musicgen(model, tmp_path)
    loaded = read_audiocraft_musicgen(tmp_path)
    assert type(loaded.codec) is type(model.codec)
    assert loaded.codec.identity() == model.codec.identity()
    state = model.lm.state_dict()
    assert all(torch.equal(t, state[name]) for name, t in loaded.lm.state_dict().items())
    assert loaded.text_encoder.config == model.text_encoder.config
    assert loaded.max_duration == model.max_duration
    melody, _ = KINDS[kind]
    chroma = random_chroma(2) if melody else None
    text = (torch.randn(2, 3, 512), torch.tensor([[1, 1, 1], [1, 0, 0]]))
    sequence = random_sequence(model.lm, 2)
    assert torch.equal(model.lm(sequence, text, chroma), loaded.lm(sequence, text, chroma))
    if melody:
        assert loaded.chroma.config == model.chroma.config
        assert loaded.lm.config == model.lm.config


@pytest.mark.parametrize(
    "options",
    [
        {"fuse_chroma": "cross"},
        {"fuse_text": "cross"},
        {"text_dim": None},
        {"delays": [0, 0, 0, 0], "ffn_mult": 3, "dropout": 0.1},
    ],
)
def test_every_way_of_conditioning_that_audiocraft_has_comes_back(options, tmp_path):
    model = sized_model("melody", **options)
    save_audiocraft_musicgen(model, tmp_path)
    loaded = read_audiocraft_musicgen(tmp_path)
    changed = {k for k, v in model.lm.config.items() if loaded.lm.config[k] != v}
    assert changed <= ({"fuse_text"} if options.get("text_dim", 1) is None else set())
    sequence = random_sequence(model.lm, 1)
    ours, again = (lm(sequence, chroma=random_chroma(1)) for lm in (model.lm, loaded.lm))
    assert torch.equal(ours, again)


def test_a_stereo_folder_runs_its_codec_on_left_and_right(tmp_path):
    save_audiocraft_musicgen(sized_model("stereo text"), tmp_path)
    package = yaml.safe_load(content(tmp_path)["xp.cfg"])
    assert package["interleave_stereo_codebooks"] == {"use": True, "per_timestep": False}
    assert package["codebooks_pattern"]["delay"]["delays"] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert isinstance(read_audiocraft_musicgen(tmp_path).codec, StereoCodec)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("t5-base", "t5-base"),
        ("google-t5/t5-base", "t5-base"),
        ("google/flan-t5-base", "google/flan-t5-base"),
        ("/models/t5-base", "t5-base"),
    ],
)
def test_a_text_encoder_is_written_by_the_name_that_audiocraft_knows(name, written, tmp_path):
    model = our_model("text", name, text_dim=768)
    save_audiocraft_musicgen(model, tmp_path)
    config = yaml.safe_load(content(tmp_path)["xp.cfg"])
    assert config["conditioners"]["description"]["t5"]["name"] == written


def refused(kind="melody", encoder=None, chroma=None, duration=None, **options):
    model = sized_model(kind, **options)
    model.text_encoder = encoder or model.text_encoder
    model.chroma = chroma or model.chroma
    model.max_duration = duration or model.max_duration
    return model


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (lambda: refused(encoder=WordTextEncoder(dim=512)), "read text by T5"),
        (lambda: refused(encoder=T5TextEncoder("my-own", dim=512)), "none is 'my-own'"),
        (lambda: refused(encoder=T5TextEncoder("t5-base", dim=512)), "t5-base has width 768"),
        (lambda: refused(fuse_text="sum"), "adds no condition"),
        (lambda: refused(fuse_chroma="sum", chroma_rate=0.125), "adds no condition"),
        (lambda: refused(delays=[0, 2, 1, 3]), "wants delays that grow"),
        (lambda: refused(chroma=ChromaExtractor(3200, window=1024, hop=512)), "a hop of a quarter"),
        (lambda: refused(chroma=ChromaExtractor(3200, window=1000, hop=250)), "power of 2"),
        (lambda: refused(duration=3.0), "would give this model 38 chroma frames"),
    ],
)
def test_what_audiocraft_cannot_hold_is_refused_before_anything_is_written(model, said, tmp_path):
    with pytest.raises(UserError, match=said) as raised:
        save_audiocraft_musicgen(model(), tmp_path / "new")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("lm_model", "transformer_lm_magnet", "lm_model is 'transformer_lm_magnet'"),
        ("lm_model", ..., "lm_model is None"),
        ("codebooks_pattern.modeling", "unroll", "modeling is 'unroll', but only 'delay'"),
        ("codebooks_pattern.modeling", None, "codebooks_pattern.modeling is missing"),
        (f"{DELAY}.stages", [1], f"the option {DELAY}.stages of xp.cfg is not supported"),
        (f"{DELAY}.flatten_first", 2, f"{DELAY}.flatten_first is 2"),
        (f"{DELAY}.empty_initial", 1, f"{DELAY}.empty_initial is 1"),
        (f"{DELAY}.delays", [0, 1], "2 delays for 4 codebooks"),
        (f"{DELAY}.delays", [0, 1, 2, -3], f"{DELAY}.delays is"),
        (f"{DELAY}.delays", [0, 1, 2, 10**9], f"{DELAY}.delays is"),
        (f"{DELAY}.delays", "abcd", f"{DELAY}.delays is 'abcd'"),
        ("transformer_lm.norm_first", False, "transformer_lm.norm_first is False"),
        ("transformer_lm.norm_first", ..., "transformer_lm.norm_first is False"),
        ("transformer_lm.bias_ff", True, "transformer_lm.bias_ff is True"),
        ("transformer_lm.bias_attn", True, "transformer_lm.bias_attn is True"),
        ("transformer_lm.bias_proj", ..., "transformer_lm.bias_proj is True"),
        ("transformer_lm.positional_embedding", "rope", "positional_embedding is 'rope'"),
        ("transformer_lm.max_period", 500, "transformer_lm.max_period is 500"),
        ("transformer_lm.norm", "rms_norm", "transformer_lm.norm is 'rms_norm'"),
        ("transformer_lm.activation", "relu", "transformer_lm.activation is 'relu'"),
        ("transformer_lm.layer_scale", 1e-4, "transformer_lm.layer_scale is 0.0001"),
        ("transformer_lm.kv_repeat", 2, "transformer_lm.kv_repeat is 2"),
        ("transformer_lm.qk_layer_norm", True, "transformer_lm.qk_layer_norm is True"),
        ("transformer_lm.qk_layer_norm_cross", True, "transformer_lm.qk_layer_norm_cross is"),
        ("transformer_lm.xpos", True, "transformer_lm.xpos is True"),
        ("transformer_lm.causal", False, "transformer_lm.causal is False"),
        ("transformer_lm.past_context", 100, "transformer_lm.past_context is 100"),
        ("transformer_lm.cross_attention", True, "cross_attention is on, but fuser.cross empty"),
        ("transformer_lm.mystery", 1, "the option transformer_lm.mystery of xp.cfg is not"),
        ("transformer_lm.dim", 33, "transformer_lm.dim is 33, but should be an even number"),
        ("transformer_lm.dim", 2**30, "transformer_lm.dim is 1073741824"),
        ("transformer_lm.dim", "${transformer_lm.dim}", "which leads nowhere"),
        ("transformer_lm.dim", ..., "transformer_lm.dim is missing"),
        ("transformer_lm.dim", 64, "the weights do not fit the config: the shape of"),
        ("transformer_lm.card", 65, "the weights do not fit the config: the shape of emb.0.weight"),
        ("transformer_lm.num_layers", 10**9, "transformer_lm.num_layers is 1000000000"),
        ("transformer_lm.num_layers", 3, r"the config: transformer\.layers\.2\S+ is missing"),
        ("transformer_lm.num_layers", 1, r"the config: 'transformer\.layers\.1\S+ is unknown"),
        ("transformer_lm.num_heads", 5, "dim 32 is not a multiple of num_heads 5"),
        ("transformer_lm.n_q", 10**12, "transformer_lm.n_q is 1000000000000"),
        ("transformer_lm.n_q", True, "transformer_lm.n_q is True"),
        ("transformer_lm.hidden_scale", 1.5, "transformer_lm.hidden_scale is 1.5"),
        ("transformer_lm.dropout", float("nan"), "transformer_lm.dropout is nan"),
        ("transformer_lm", 3, "transformer_lm.activation is 'relu'"),
        ("fuser.cross_attention_pos_emb", True, "fuser.cross_attention_pos_emb is True"),
        ("fuser.input_interpolate", ["self_wav"], "fuser.input_interpolate is"),
        ("fuser.sum", ["description"], "fuser.sum is"),
        ("fuser.ignore", ["description"], "fuser.ignore is"),
        ("fuser.prepend", ["self_wav"], "fuser has a place for"),
        ("fuser.prepend", "self_wav", "fuser.prepend is 'self_wav', but should be a list"),
        ("fuser.mystery", 1, "the option fuser.mystery of xp.cfg is not supported"),
        ("conditioners.genre", {"model": "lut"}, "conditioners.genre of xp.cfg is not supported"),
        ("conditioners.description.model", "clap", "conditioners.description.model is 'clap'"),
        ("conditioners.description.t5.name", "bert", "t5.name is 'bert': only t5-small"),
        ("conditioners.description.t5.name", ["t5"], "t5.name is"),
        ("conditioners.description.t5.finetune", True, "t5.finetune is True"),
        ("conditioners.description.t5.normalize_text", True, "t5.normalize_text is True"),
        ("conditioners.self_wav.model", "style", "conditioners.self_wav.model is 'style'"),
        (f"{CHROMA}.argmax", False, f"{CHROMA}.argmax is False"),
        (f"{CHROMA}.n_chroma", 24, "the weights do not fit the config: the shape of"),
        (f"{CHROMA}.n_chroma", "12", f"{CHROMA}.n_chroma is '12'"),
        (f"{CHROMA}.radix2_exp", 60, f"{CHROMA}.radix2_exp is 60"),
        (f"{CHROMA}.winhop", 100, f"the option {CHROMA}.winhop of xp.cfg is not supported"),
        ("tokens.padding_with_special_token", True, "tokens.padding_with_special_token is True"),
        ("interleave_stereo_codebooks", {"use": True, "per_timestep": True}, "timestep is True"),
        ("interleave_stereo_codebooks", {"use": True, "x": 1}, "interleave_stereo_codebooks.x of"),
        ("interleave_stereo_codebooks.use", "yes", "interleave_stereo_codebooks.use is 'yes'"),
        ("interleave_stereo_codebooks.use", True, "the codec has 8 codebooks"),
        ("dataset.segment_duration", -1, "dataset.segment_duration is -1"),
        ("dataset.segment_duration", float("inf"), "dataset.segment_duration is inf"),
        ("dataset", ..., "dataset.segment_duration is missing"),
        ("compression_model_n_q", 2, "compression_model_n_q is 2, but the codec has 4"),
    ],
)
def test_an_option_that_is_unknown_missing_or_absurd_is_named(key, value, said, golden):
    folder = golden("melody")
    edit(folder, {key: value})
    with pytest.raises(UserError, match=said) as raised:
        read_audiocraft_musicgen(folder)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 600


def test_options_of_training_and_of_old_exports_change_nothing(golden):
    folder = golden("text")
    lm = read_audiocraft_lm(folder)
    edit(folder, {
        "width": 32, "transformer_lm.dim": "${width}", "transformer_lm.q_modeling": "delay",
        "codebooks_pattern": {"modeling": None}, "transformer_lm.custom": True,
        "transformer_lm.attention_dropout": 0.1, "transformer_lm.norm": ..., "fuser.sum": None,
        "conditioners.args": {"merge_text_conditions_p": 0.25, "drop_desc_p": 0.5},
        "interleave_stereo_codebooks": ..., "tokens": ..., "compression_model_n_q": ...,
        "conditioners.description.t5.autocast_dtype": None, "attribute_dropout": ...,
    })  # fmt: skip
    again = read_audiocraft_lm(folder)
    assert again.config == lm.config | {"delays": again.delays}
    assert again.delays == lm.delays
    edit(folder, {"codebooks_pattern": {"modeling": "parallel"}})
    assert read_audiocraft_lm(folder).delays == [0, 0, 0, 0]


UNROLL = {"flattening": [0, 1, 2, 3], "delays": [0, 0, 0, 0]}
ERAS = {  # what stands in the configurations of audiocraft's releases, and in no later one
    "1.0": {
        "codebooks_pattern.unroll": UNROLL, "codebooks_pattern.music_lm": {"group_by": 2},
        "codebooks_pattern.valle": {"delays": [0, 0, 0]}, "codebooks_pattern.coarse_first": ...,
        "interleave_stereo_codebooks": ..., "compression_model_n_q": ...,
    },
    "before 1.0": {
        "codebooks_pattern": {"modeling": None}, "transformer_lm.q_modeling": "delay",
        "interleave_stereo_codebooks": ..., "compression_model_n_q": ..., "tokens": ...,
        "conditioners.args": {"merge_text_conditions_p": 0.25, "drop_desc_p": 0.5},
    },
    "1.1": {"interleave_stereo_codebooks": ..., "compression_model_n_q": ...},
    "1.2": {"interleave_stereo_codebooks": {"use": False, "per_timestep": False}},
    "1.3": {"generate.lm.no_text_conditioning": False},
    "of another's patterns": {
        "codebooks_pattern.mine": {"delays": "?"}, "codebooks_pattern.musiclm": None,
        "interleave_stereo_codebooks": {"use": False, "downsample": True, "per_timestep": True},
    },
}  # fmt: skip


@pytest.mark.parametrize("name", ["text", "melody"])
@pytest.mark.parametrize("era", ERAS)
def test_every_release_of_audiocraft_is_read(era, name, golden):
    folder = golden(name)
    lm = read_audiocraft_lm(folder)
    edit(folder, ERAS[era])
    codec = torch.load(folder / "compression_state_dict.bin", weights_only=True)
    config = yaml.safe_load(codec["xp.cfg"])
    if "1.0" in era:  # the codecs of June 2023
        config["encodec"] |= {"renormalize": None, "renorm": None}
        codec["xp.cfg"] = yaml.safe_dump(config)
        torch.save(codec, folder / "compression_state_dict.bin")
    model = read_audiocraft_musicgen(folder)
    assert model.lm.delays == [0, 1, 2, 3]
    assert model.codec.config["normalize"] is False
    state = model.lm.state_dict()
    assert all(torch.equal(tensor, state[key]) for key, tensor in lm.state_dict().items())


@pytest.mark.parametrize("text", ["a: !!int ''", "a: !!bool x", "a: !!timestamp x", "? [a]: b"])
def test_a_config_that_yaml_stumbles_over_is_refused(text, golden):
    folder = golden("text")
    torch.save(content(folder) | {"xp.cfg": text}, folder / FILE)
    with pytest.raises(UserError, match=r"state_dict\.bin: .*xp\.cfg") as raised:
        read_audiocraft_lm(folder)
    assert "\n" not in str(raised.value)


def test_a_model_is_called_by_its_folder_or_repository(golden, monkeypatch):
    folder = golden("text")
    monkeypatch.chdir(folder)
    assert read_audiocraft_musicgen(Path()).name == folder.resolve().name
    assert read_audiocraft_musicgen(folder, "someone/theirs").name == "someone/theirs"


def test_attention_of_the_plain_backend_loads(golden):
    folder = golden("text")
    lm = read_audiocraft_lm(folder)

    def deepen(state):
        for key in [k for k in state if "_proj" in k and "transformer" in k]:
            place, name = key.split("_proj")[0].rsplit(".", 1)
            state[f"{place}.mha.{name}_proj{key.split('_proj')[1]}"] = state.pop(key)

    edit_state(folder, deepen)
    assert any(".mha.in_proj_weight" in key for key in content(folder)["best_state"])
    ours = read_audiocraft_lm(folder).state_dict()
    assert all(torch.equal(tensor, ours[name]) for name, tensor in lm.state_dict().items())


def test_half_precision_is_for_storage_only(golden):
    folder = golden("text")
    edit_state(folder, lambda state: state.update({k: t.half() for k, t in state.items()}))
    lm = read_audiocraft_lm(folder)
    assert all(p.dtype == torch.float32 and p.requires_grad for p in lm.parameters())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("emb.2.weight"), "emb.2.weight is missing"),
        (lambda s: s.update({"emb.4.weight": torch.zeros(65, 32)}), "'emb.4.weight' is unknown"),
        (lambda s: s.update({"out_norm.bias": torch.zeros(31)}), "the shape of out_norm.bias"),
        (lambda s: s.update({"out_norm.bias": torch.zeros(32).int()}), "out_norm.bias holds no"),
        (lambda s: s.update({"out_norm.bias": 3}), "best_state is missing or not flat"),
        (
            lambda s: s.pop("condition_provider.conditioners.description.output_proj.weight"),
            "description.output_proj.weight is missing",
        ),
        (
            lambda s: s.update({"condition_provider.conditioners.description.t5.x": torch.ones(1)}),
            "description.t5.x' is unknown",
        ),
        (lambda s: s.clear(), "is missing"),
    ],
)
def test_weights_that_do_not_fit_are_named(change, said, golden):
    folder = golden("text")
    edit_state(folder, change)
    with pytest.raises(UserError, match=said) as raised:
        read_audiocraft_lm(folder)
    assert FILE in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("wrong", [[1, 2], {}, {"best_state": {"model": {}}}, {"best_state": {}}])
def test_content_that_is_no_model_is_refused(wrong, tmp_path):
    torch.save(wrong, tmp_path / FILE)
    with pytest.raises(UserError, match=r"state_dict\.bin.*(is no audiocraft model|xp\.cfg)"):
        read_audiocraft_lm(tmp_path)


def test_a_pickle_that_holds_code_is_refused_and_not_run(tmp_path):
    torch.save({"best_state": Harmful(tmp_path / "run")}, tmp_path / FILE)
    with pytest.raises(UserError, match="holds more than tensors and plain values"):
        read_audiocraft_lm(tmp_path)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kept", [0, 5000, -10])
def test_a_truncated_file_is_named(kept, golden):
    folder = golden("text")
    (folder / FILE).write_bytes((folder / FILE).read_bytes()[:kept])
    with pytest.raises(UserError, match=r"state_dict\.bin is truncated or corrupt: copy it again"):
        read_audiocraft_lm(folder)


def test_a_folder_without_its_codec_is_named(golden):
    folder = golden("text")
    (folder / "compression_state_dict.bin").unlink()
    assert read_audiocraft_lm(folder).n_q == 4
    with pytest.raises(UserError, match=r"compression_state_dict\.bin is missing"):
        read_audiocraft_musicgen(folder)
