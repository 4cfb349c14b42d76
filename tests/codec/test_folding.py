"""A folded codec computes the same with plain convolutions, and says whose it is."""

import pytest
import torch
from torch.nn.utils.parametrize import is_parametrized

from musicgen_train.codec.encodec import Encodec
from musicgen_train.codec.folding import fold_weight_norm
from musicgen_train.errors import UserError
from musicgen_train.formats import save_audiocraft_codec, save_codec, save_transformers_codec
from tests.conftest import TINY_CODEC


@pytest.fixture(params=[{}, {"causal": True, "skip": "conv", "lstm": 1, "normalize": True}])
def original(request):
    torch.manual_seed(0)
    codec = Encodec(**{**TINY_CODEC, **request.param}).eval()
    for parameter in codec.parameters():  # lengths of weight norm that are not the vectors' own
        parameter.data.mul_(1 + 0.3 * torch.rand_like(parameter))
    codec.quantizer.initialise(torch.randn(100, 8))
    return codec


def test_a_folded_codec_gives_the_same_codes_and_audio(original):
    folded = fold_weight_norm(original)
    assert any(is_parametrized(m) for m in original.modules())
    assert not any(is_parametrized(m) for m in folded.modules())
    wav = torch.randn(2, 1, 777)
    codes = original.encode(wav)
    assert torch.equal(folded.encode(wav), codes)
    torch.testing.assert_close(folded.decode(codes), original.decode(codes))


def test_folding_leaves_the_original_as_it_was(original):
    before = {name: tensor.clone() for name, tensor in original.state_dict().items()}
    folded = fold_weight_norm(original)
    for tensor in folded.state_dict().values():
        tensor.zero_()
    assert all(torch.equal(before[name], t) for name, t in original.state_dict().items())
    assert all(p.requires_grad for p in original.parameters())


def test_a_folded_codec_keeps_the_identity(original):
    folded = fold_weight_norm(original)
    assert folded.identity() == original.identity()
    assert fold_weight_norm(folded) is folded


def test_a_codec_without_weight_norm_is_returned_as_it_is():
    codec = Encodec(**TINY_CODEC, norm="group")
    assert fold_weight_norm(codec) is codec


@pytest.mark.parametrize("save", [save_codec, save_audiocraft_codec, save_transformers_codec])
def test_a_folded_codec_is_not_written(original, save, tmp_path):
    with pytest.raises(UserError, match="save the codec it was folded from"):
        save(fold_weight_norm(original), tmp_path / "new")
    assert not (tmp_path / "new").exists()
