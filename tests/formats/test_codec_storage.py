"""A codec's file is as small as losing no bit allows, and a codec from it trains on."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from musicgen_train.codec.stereo import StereoCodec
from musicgen_train.errors import UserError
from musicgen_train.formats import load_codec, load_musicgen, save_codec, save_musicgen
from musicgen_train.formats.half_precision import rounded_codec
from musicgen_train.lm.model import LanguageModel
from musicgen_train.musicgen import MusicGen
from tests.formats.small_codecs import EVERYWHERE, assert_same_codec, trained


def stored(folder):
    return load_file(folder / "codec.safetensors")


@pytest.mark.parametrize("kind", EVERYWHERE)
def test_a_codec_of_any_kind_comes_back_to_the_last_bit(kind, tmp_path):
    codec = trained(**EVERYWHERE[kind])
    save_codec(codec, tmp_path / "whole")
    save_codec(rounded_codec(codec), tmp_path / "half")
    assert_same_codec(load_codec(tmp_path / "whole"), codec)
    assert_same_codec(load_codec(tmp_path / "half"), rounded_codec(codec))
    assert {tensor.dtype for tensor in stored(tmp_path / "whole").values()} == {torch.float32}


def test_weights_that_are_exact_in_half_precision_take_half_the_bytes(tmp_path):
    codec = trained(lstm=1)
    rounded = rounded_codec(codec)
    save_codec(rounded, tmp_path)
    files = stored(tmp_path)
    weights = [name for name in rounded.state_dict() if "codebook" not in name or "embed" in name]
    kept = [name for name in weights if not name.endswith("embed_avg")]
    assert all(files[name].dtype == torch.float16 for name in kept)
    assert not [name for name in files if name.endswith("embed_avg")]
    assert files["quantizer.layers.0.codebook.cluster_size"].dtype == torch.float32


def test_one_weight_that_is_not_exact_keeps_all_of_them(tmp_path):
    rounded = rounded_codec(trained(lstm=1))
    with torch.no_grad():
        rounded.decoder.layers[0].conv.bias[0] = 1 / 3
    save_codec(rounded, tmp_path)
    assert {tensor.dtype for tensor in stored(tmp_path).values()} == {torch.float32}
    assert_same_codec(load_codec(tmp_path), rounded)


def test_rounding_makes_another_codec_close_to_the_first_which_stays():
    codec = trained(lstm=1)
    identity, wav = codec.identity(), torch.randn(2, 1, 500)
    rounded = rounded_codec(codec)
    assert codec.identity() == identity != rounded.identity()
    assert rounded_codec(rounded).identity() == rounded.identity()
    codes = codec.encode(wav)
    torch.testing.assert_close(rounded.decode(codes), codec.decode(codes), rtol=0.02, atol=1e-3)
    assert (rounded.encode(wav) == codes).float().mean() > 0.95


def test_a_stereo_pair_is_rounded_as_its_mono_codec():
    codec = trained(lstm=1)
    rounded = rounded_codec(StereoCodec(codec))
    assert isinstance(rounded, StereoCodec)
    assert rounded.mono.identity() == rounded_codec(codec).identity()


def test_a_codec_without_its_sums_trains_on_as_one_that_has_them(tmp_path):
    codec = trained(lstm=1, dead_code_threshold=0.5)
    save_codec(rounded_codec(codec), tmp_path)
    loaded = load_codec(tmp_path)
    before = codec.quantizer.codebooks[0].embed.clone()
    latents = codec.latents(torch.randn(4, 1, 1000))[0].detach()
    for each in (codec, loaded):
        each.train().quantizer.dropout = False
        torch.manual_seed(0)
        each.quantizer(latents)
    ours, theirs = (each.quantizer.codebooks[0].embed for each in (codec, loaded))
    moved = (ours - before).norm()
    # From no sums at all every centroid would have jumped towards this batch, or been revived.
    assert 0 < (theirs - ours).norm() < 0.1 * moved


def test_a_model_beside_a_rounded_codec_comes_back(tmp_path):
    lm = LanguageModel(n_q=4, card=16, dim=16, num_heads=2, num_layers=1)
    codec = rounded_codec(trained(lstm=1))
    save_musicgen(MusicGen("small", codec, lm.eval()), tmp_path)
    assert load_musicgen(tmp_path).codec.identity() == codec.identity()
    assert stored(tmp_path)["decoder.layers.0.conv.bias"].dtype == torch.float16


def test_a_codec_of_before_with_all_its_sums_loads(tmp_path):
    codec = trained(lstm=1)
    save_codec(codec, tmp_path)
    save_file(codec.state_dict(), tmp_path / "codec.safetensors")
    assert_same_codec(load_codec(tmp_path), codec)


@pytest.mark.parametrize(
    ("name", "tensor"),
    [("cluster_size", None), ("cluster_size", torch.ones(3)), ("embed", torch.ones(5))],
)
def test_sums_that_cannot_be_made_up_are_refused_in_a_line(name, tensor, tmp_path):
    save_codec(rounded_codec(trained(lstm=1)), tmp_path)
    content = stored(tmp_path)
    del content[f"quantizer.layers.0.codebook.{name}"]
    if tensor is not None:
        content[f"quantizer.layers.0.codebook.{name}"] = tensor
    save_file(content, tmp_path / "codec.safetensors")
    with pytest.raises(UserError, match="the weights do not fit the config: ") as refused:
        load_codec(tmp_path)
    assert "\n" not in str(refused.value)
