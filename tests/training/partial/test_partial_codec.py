"""Starting from another codec: it sounds as the source does where that is possible, and says so."""

import pytest
import torch

from musicgen_train.codec.encodec import Encodec
from musicgen_train.codec.stereo import StereoCodec
from musicgen_train.errors import UserError
from musicgen_train.training.partial.codec import take_codec

RATE = 2000
CLOSE = {"rtol": 0, "atol": 1e-6}  # of a wav in [-1, 1]: the rounding of weight norm


def codec(seed=0, **options):
    """A random codec whose codebooks were started on noise, and whose biases are not 0."""
    arguments = {
        "sample_rate": RATE, "channels": 1, "n_q": 4, "card": 16, "ratios": [4, 5],
        "n_filters": 4, "dimension": 8, "lstm": 1, "n_residual_layers": 2,
    }  # fmt: skip
    torch.manual_seed(seed)
    made = Encodec(**(arguments | options))
    for name, parameter in made.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.01)
    noise = torch.randn(8, made.channels, RATE) / 8
    made.quantizer.initialise(made.latents(noise)[0].transpose(1, 2).flatten(0, 1))
    return made.eval()


def wav(channels=1):
    mono = torch.randn(2, 1, RATE // 2, generator=torch.Generator().manual_seed(7)) / 8
    return mono.expand(-1, channels, -1).contiguous()


@torch.no_grad()
def heard(made):
    return made(wav(made.channels)).wav


def part(report, name):
    (found,) = (part for part in report.parts if part.name == name)
    return found


def test_what_fits_is_taken_to_the_last_bit_its_averages_too():
    source, target = codec(), codec(seed=1)
    report = take_codec(target, source)
    for name, tensor in source.state_dict().items():
        assert torch.equal(tensor, target.state_dict()[name]), name
    assert report.share == 1 and not report.differences and not report.remarks
    assert {part.outcome for part in report.parts} == {"taken"}


def test_more_codebooks_sound_alike_until_they_start_by_themselves():
    source, target = codec(), codec(seed=1, n_q=6)
    report = take_codec(target, source)
    assert torch.equal(heard(target), heard(source))
    assert torch.equal(target.encode(wav())[:, :4], source.encode(wav()))
    assert not report.differences and part(report, "codebooks").n_taken == 4 * 16 * 8
    target.train()(wav())
    assert all(book.inited and book.embed.any() for book in target.quantizer.codebooks)


def test_fewer_codebooks_are_the_first_ones():
    source, target = codec(), codec(seed=1, n_q=2)
    report = take_codec(target, source)
    assert torch.equal(target.encode(wav()), source.encode(wav(), n_q=2))
    assert report.differences == ["2 of its 4 codebooks left out"]


def test_more_codes_sound_alike_and_the_new_ones_are_revived():
    source, target = codec(), codec(seed=1, card=40, dead_code_threshold=0.01)
    report = take_codec(target, source)
    assert torch.equal(heard(target), heard(source)) and not report.differences
    book = target.quantizer.codebooks[0]
    assert not book.cluster_size[16:].any() and not book.embed_avg[16:].any()  # dead
    before = book.embed[16:].clone()
    target.train()(wav())
    assert (book.embed[16:] != before).any(1).all()


def test_fewer_codes_are_the_first_ones():
    source, target = codec(), codec(seed=1, card=10)
    report = take_codec(target, source)
    assert torch.equal(
        target.quantizer.codebooks[1].embed, source.quantizer.codebooks[1].embed[:10]
    )
    assert report.differences == ["6 of its 16 codes a codebook left out"]


@pytest.mark.parametrize("norm", ["weight", "group", "none"])
def test_mono_in_all_channels_sounds_as_in_the_mono_codec(norm):
    source, target = codec(norm=norm), codec(seed=1, channels=2, norm=norm)
    report = take_codec(target, source)
    torch.testing.assert_close(heard(target), heard(source).expand(-1, 2, -1), **CLOSE)
    assert not report.differences and report.share == 1
    assert part(report, "encoder").how == "first convolution for other channels"


@pytest.mark.parametrize("norm", ["weight", "none"])
def test_a_mono_codec_of_a_stereo_one_gives_the_mean_of_its_channels(norm):
    source, target = codec(channels=2, norm=norm), codec(seed=1, norm=norm)
    take_codec(target, source)
    torch.testing.assert_close(heard(target), heard(source).mean(1, keepdim=True), **CLOSE)


@pytest.mark.parametrize("options", [{"lstm": 0}, {"n_residual_layers": 1}])
def test_layers_that_the_source_lacks_add_nothing_at_first_and_learn(options):
    source, target = codec(**options), codec(seed=1)
    report = take_codec(target, source)
    torch.testing.assert_close(heard(target), heard(source), **CLOSE)
    assert not report.differences and report.share < 1
    assert "silent at first" in part(report, "decoder").how
    target(wav(), quantize=False).wav.square().mean().backward()
    for module in target.modules():
        gradients = [p.grad for p in module.parameters(recurse=False)]
        assert all(torch.isfinite(g).all() for g in gradients)
    # What was silenced is what moves first.
    target.zero_grad()
    target(wav(), quantize=False).wav.square().mean().backward()
    silent = [n for n, p in target.named_parameters() if not p.any() and not n.endswith("bias")]
    assert all(target.get_parameter(name).grad.any() for name in silent)


def test_layers_that_are_left_out_are_told():
    report = take_codec(codec(seed=1, lstm=0), codec())
    assert part(report, "encoder's rest").how == "LSTM"
    assert "the decoder's LSTM is left out" in report.differences


def test_a_stereo_pair_gives_its_mono_codec():
    source, target = codec(), codec(seed=1)
    take_codec(target, StereoCodec(source))
    assert torch.equal(heard(target), heard(source))


def test_another_sample_rate_is_allowed_and_told():
    report = take_codec(codec(sample_rate=4000), codec())
    assert report.remarks == ["it was trained at 2000 Hz, not 4000"] and report.share == 1


def test_options_that_change_what_weights_mean_are_told():
    report = take_codec(codec(causal=True), codec())
    assert report.differences == ["causal was False"]


def test_another_width_of_the_latents_keeps_the_rest():
    target = codec(seed=1, dimension=6)
    report = take_codec(target, codec())
    assert part(report, "codebooks").outcome == "started anew"
    assert "last convolution is anew" in part(report, "encoder").how
    assert 0.8 < part(report, "encoder").n_taken / part(report, "encoder").size < 1


def test_a_codec_that_shares_nothing_is_refused_in_one_line():
    with pytest.raises(UserError, match=r"n_filters 4, .* this one n_filters 6, ") as refusal:
        take_codec(codec(n_filters=6, ratios=[2, 2]), codec())  # codebooks alone are nothing
    assert "\n" not in str(refusal.value)
