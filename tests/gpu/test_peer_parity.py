"""On a GPU, transformers' models with the same weights give the same tokens, codes and audio."""

import pytest
import torch

from benchmarks.codec import check_equal
from benchmarks.codec_models import music_like, our_calls, our_codec, transformers_calls
from benchmarks.lm_models import SHAPES, TEXT_DIM, TEXT_LENGTH, our_model, their_model
from benchmarks.stepping import our_run, their_run

pytestmark = pytest.mark.gpu


def test_musicgen_generates_the_same_tokens_in_float32(device):
    lm = our_model(SHAPES["tiny"], device.type).eval()
    text = torch.randn(2, TEXT_LENGTH, TEXT_DIM, generator=torch.Generator().manual_seed(0))
    text = text.to(device)
    ours, theirs = our_run(lm, text, 16)[1], their_run(their_model(lm, torch.float32), text, 16)[1]
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("task", ["encode", "decode"])
@torch.inference_mode()
def test_encodec_gives_the_same_codes_and_audio(task, device):
    codec = our_codec("tiny").to(device)
    wav = music_like(2, 1.0, codec.sample_rate).to(device)
    codes = codec.encode(wav)
    ours, theirs = (
        our_calls(codec, wav, codes)[task](),
        transformers_calls(codec, wav, codes)[task](),
    )
    check_equal(task, "ours", ours, theirs)
