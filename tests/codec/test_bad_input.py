"""Strange audio and strange codes either have a defined outcome or are refused in one line."""

import pytest
import torch

from musicgen_train.codec.encodec import Encodec
from musicgen_train.codec.streaming import Piece, decode_stream, encode_stream
from musicgen_train.errors import UserError
from tests.conftest import TINY_CODEC

KINDS = {
    "non-causal": {"lstm": 1},
    "causal": {"causal": True, "lstm": 1},
    "reflecting": {"pad_mode": "reflect", "n_residual_layers": 2},
    "chunked stereo": {
        "channels": 2, "norm": "group", "normalize": True, "chunk_duration": 0.5,
        "chunk_overlap": 0.1, "skip": "conv",
    },
}  # fmt: skip
NAN, INFINITE = float("nan"), float("inf")


@pytest.fixture(scope="module", params=KINDS)
def codec(request):
    torch.manual_seed(0)
    codec = Encodec(**{**TINY_CODEC, **KINDS[request.param]}).eval()
    latents = codec.encoder(torch.randn(8, codec.channels, 2000))
    codec.quantizer.initialise(latents.transpose(1, 2).flatten(0, 1))
    return codec


def round_trip(codec, wav):
    """Codes and decoded audio, which must be legal whatever the audio was."""
    codes = codec.encode(wav)
    assert codes.dtype == torch.int64
    assert 0 <= codes.min() <= codes.max() < codec.card
    decoded = codec.decode(codes, codec.loudness(wav))
    assert decoded.isfinite().all()
    assert decoded.shape[-1] >= wav.shape[-1]
    return codes, decoded


def test_silence_has_codes_and_decodes_to_something_finite(codec):
    codes, decoded = round_trip(codec, torch.zeros(1, codec.channels, 2500))
    assert decoded.abs().max() < 10
    assert torch.equal(codes, codec.encode(torch.zeros(1, codec.channels, 2500)))


@pytest.mark.parametrize("n_samples", [1, 2, 5, 19, 21])
def test_audio_shorter_than_the_receptive_field_is_completed(codec, n_samples):
    codes, _ = round_trip(codec, torch.randn(2, codec.channels, n_samples))
    assert codes.shape == (2, codec.n_q, -(-n_samples // codec.hop_length))


@pytest.mark.parametrize("level", [1.5, 100.0, 1e15])
def test_audio_beyond_full_scale_is_coded_as_it_is(codec, level):
    wav = level * torch.randn(1, codec.channels, 300).sign()
    codes, _ = round_trip(codec, wav)
    if not codec.normalize and level == 1.5:
        assert not torch.equal(codes, codec.encode(wav.clamp(-1, 1)))


def test_constant_and_single_click_are_coded(codec):
    click = torch.zeros(1, codec.channels, 400)
    click[..., 200] = 1
    round_trip(codec, click)
    round_trip(codec, torch.ones(1, codec.channels, 400))


def broken(value):
    wav = torch.zeros(2, 2, 300)
    wav[1, 0, 299] = value
    return wav


REFUSED = {
    "NaN": (broken(NAN), "NaN or infinite samples"),
    "infinite": (broken(-INFINITE), "NaN or infinite samples"),
    "no samples": (torch.zeros(1, 2, 0), "0 samples: leave empty audio out"),
    "no items": (torch.zeros(0, 2, 300), "0 samples: leave empty audio out"),
    "three channels": (torch.zeros(1, 3, 300), "mix or repeat the channels"),
    "no batch": (torch.zeros(2, 300), r"got \[2, 300\]"),
    "bare": (torch.zeros(300), r"got \[300\]"),
    "16 bit": (torch.zeros(1, 2, 300, dtype=torch.int16), "torch.int16: convert it first"),
    "half": (torch.zeros(1, 2, 300, dtype=torch.float16), "torch.float16: convert it first"),
    "double": (torch.zeros(1, 2, 300, dtype=torch.float64), "torch.float64: convert it first"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_audio_without_codes_is_refused_in_one_line_by_call_and_stream(codec, name):
    wav, message = REFUSED[name]
    if wav.dim() == 3 and wav.shape[1] == 2:
        wav = wav[:, : codec.channels]
    for call in (lambda: codec.encode(wav), lambda: list(encode_stream(codec, [wav]))):
        with pytest.raises(UserError, match=message) as error:
            call()
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("n_q", [0, -1, 5])
def test_a_number_of_codebooks_that_there_is_not_is_refused(codec, n_q):
    wav = torch.randn(1, codec.channels, 300)
    for call in (lambda: codec.encode(wav, n_q), lambda: list(encode_stream(codec, [wav], n_q))):
        with pytest.raises(UserError, match=f"n_q is {n_q}, but the codec has 4 codebooks"):
            call()


GOOD = torch.zeros(1, 4, 10, dtype=torch.long)
BAD_CODES = {
    "special token": (GOOD + 16, r"codes lie in \[16, 16\], but the codec's in \[0, 15\]"),
    "negative": (GOOD - 1, r"codes lie in \[-1, -1\]"),
    "five codebooks": (GOOD[:, :1].repeat(1, 5, 1), r"\[B, 1 to 4, T\], got \[1, 5, 10\]"),
    "no codebook": (GOOD[:, :0], r"got \[1, 0, 10\]"),
    "no frames": (GOOD[..., :0], "leave empty codes out"),
    "no items": (GOOD[:0], "leave empty codes out"),
    "no batch": (GOOD[0], r"got \[4, 10\]"),
    "floats": (GOOD.float(), "got torch.float32: use .long()"),
    "uint16": (GOOD.to(torch.uint16), "got torch.uint16: use .long()"),
}


@pytest.mark.parametrize("name", BAD_CODES)
def test_codes_that_no_codec_made_are_refused_in_one_line_by_call_and_stream(codec, name):
    codes, message = BAD_CODES[name]
    for call in (lambda: codec.decode(codes), lambda: list(decode_stream(codec, [Piece(codes)]))):
        with pytest.raises(UserError, match=message) as error:
            call()
        assert "\n" not in str(error.value)


def test_loudness_of_other_chunks_is_refused():
    codec = Encodec(**{**TINY_CODEC, **KINDS["chunked stereo"]}).eval()
    wav = torch.randn(1, 2, 2500)
    with pytest.raises(UserError, match="keep codes and loudness together"):
        codec.decode(codec.encode(wav), codec.loudness(wav)[:, :1])
