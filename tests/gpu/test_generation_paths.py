"""However a GPU runs a step of generation, it makes the tokens of the plain step."""

import copy

import pytest
import torch

from musicgen_train.lm import LanguageModel
from musicgen_train.lm.inference import prepare
from tests.small_musicgen import tiny, tone

pytestmark = pytest.mark.gpu
PATHS = [{"cuda_graphs": True}, {"compile": True}, {"compile": True, "cuda_graphs": True}]
PLACES = [("cross", "prepend"), ("prepend", "prepend"), ("cross", "sum")]


def model(fuse_text="cross", fuse_chroma="prepend", device="cpu") -> LanguageModel:
    torch.manual_seed(0)
    return LanguageModel(
        n_q=2, card=64, dim=64, num_heads=4, num_layers=2, text_dim=16, chroma_dim=12,
        fuse_text=fuse_text, fuse_chroma=fuse_chroma, chroma_length=4, chroma_rate=0.1,
    ).eval().to(device)  # fmt: skip


def conditions(device):
    """Texts of two lengths, and melodies."""
    generator = torch.Generator().manual_seed(1)
    text = torch.randn(2, 5, 16, generator=generator).to(device)
    mask = torch.tensor([[1] * 5, [1, 1, 0, 0, 0]], device=device)
    chroma = torch.nn.functional.one_hot(torch.randint(12, (2, 4), generator=generator), 12)
    return (text, mask), chroma.float().to(device)


def tokens(lm, device, n_frames=40, **options):
    return lm.generate(n_frames, *conditions(device), seeds=[1, 2], **options).cpu()


def prepared(lm, device, options):
    """A copy that runs so; skips what the device does not have."""
    if options.get("cuda_graphs") and device.type != "cuda":
        pytest.skip("CUDA graphs need a CUDA device")
    twin = copy.deepcopy(lm)
    prepare(twin, **options)
    return twin


@pytest.mark.parametrize("places", PLACES, ids="+".join)
def test_a_seed_gives_the_cpus_tokens(places, device):
    expected = tokens(model(*places), torch.device("cpu"))
    assert torch.equal(tokens(model(*places, device=device), device), expected)


@pytest.mark.parametrize("places", PLACES, ids="+".join)
@pytest.mark.parametrize("options", PATHS, ids="+".join)
def test_a_faster_step_gives_the_same_tokens(options, places, device):
    lm = model(*places, device=device)
    fast = prepared(lm, device, options)
    for n_frames in (40, [12, 40]):
        assert torch.equal(tokens(fast, device, n_frames), tokens(lm, device, n_frames))


@pytest.mark.parametrize("options", [{}, *PATHS], ids=lambda o: "+".join(o) or "plain")
def test_two_passes_give_the_tokens_of_one(options, device):
    lm = model(device=device)
    fast = prepared(lm, device, options)
    assert torch.equal(tokens(fast, device, two_pass=True), tokens(lm, device))


@pytest.mark.parametrize("weights", ["bfloat16", "float16"])
def test_half_precision_gives_nearly_the_same_logits(weights, device):
    if weights == "float16" and device.type != "cuda":
        pytest.skip("float16 weights need a CUDA device")
    lm = model(device=device)
    codes = torch.randint(64, (2, 2, 20), generator=torch.Generator().manual_seed(2)).to(device)
    with torch.no_grad():
        expected = lm.logits(codes, *conditions(device))[0]
        prepare(lm, weights=weights)
        found = lm.logits(codes, *conditions(device))[0].float()
    assert 0 < (found - expected).norm() / expected.norm() < 0.03


@pytest.mark.parametrize("options", [{}, *PATHS], ids=lambda o: "+".join(o) or "plain")
def test_a_stream_is_the_whole_in_pieces_with_a_melody_and_beyond_the_window(options, device):
    music = tiny().to(device)
    music.lm = prepared(music.lm, device, options)
    music.set_generation_params(duration=1.4, extend_stride=0.6)
    arguments = (["calm piano", None], tone(1.0).expand(2, -1, -1), 1600)
    whole = music.generate_with_chroma(*arguments, seeds=[1, 2]).cpu()
    plain = tiny().to(device)
    plain.set_generation_params(duration=1.4, extend_stride=0.6)
    expected = plain.generate_with_chroma(*arguments, seeds=[1, 2]).cpu()
    torch.testing.assert_close(whole, expected, rtol=0, atol=1e-5)
    streamed = torch.cat(list(music.generate_stream(["calm piano"], seeds=[1])), -1).cpu()
    alone = music.generate(["calm piano"], seeds=[1]).cpu()
    torch.testing.assert_close(streamed, alone, rtol=0, atol=1e-5)
