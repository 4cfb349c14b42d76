"""Streaming gives piece by piece what one call gives on the whole."""

import pytest
import torch

from musicgen_train.codec.encodec import Encodec
from musicgen_train.codec.streaming import Piece, decode_stream, encode_stream
from musicgen_train.errors import UserError
from tests.conftest import TINY_CODEC

TINY = {**TINY_CODEC, "lstm": 2}
KINDS = {
    "non-causal": {},
    "causal": {"causal": True},
    "causal, reflecting": {"causal": True, "pad_mode": "reflect", "skip": "conv"},
    "reflecting, deep": {"pad_mode": "reflect", "n_residual_layers": 2},
    "chunked stereo": {
        "channels": 2, "norm": "group", "normalize": True, "chunk_duration": 0.5,
        "chunk_overlap": 0.1, "skip": "conv",
    },
}  # fmt: skip


def build(**options):
    torch.manual_seed(0)
    codec = Encodec(**{**TINY, **options}).eval()
    latents = codec.encoder(torch.randn(8, codec.channels, 2000))
    codec.quantizer.initialise(latents.transpose(1, 2).flatten(0, 1))
    return codec


@pytest.fixture(scope="module", params=KINDS)
def codec(request):
    return build(**KINDS[request.param])


@pytest.mark.parametrize("n_samples", [1, 3, 19, 20, 21, 50, 333, 2000, 2050, 2100])
@pytest.mark.parametrize("block", [7, 64, 1000])
def test_pieces_put_together_are_the_whole(codec, n_samples, block):
    wav = torch.randn(2, codec.channels, n_samples)
    codes = codec.encode(wav)
    pieces = list(encode_stream(codec, wav.split(block, -1)))
    assert torch.equal(torch.cat([piece.codes for piece in pieces], -1), codes)
    whole = codec.decode(codes, codec.loudness(wav))
    torch.testing.assert_close(torch.cat([*decode_stream(codec, pieces)], -1), whole)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "chunked" not in kind])
def test_codes_may_be_cut_anywhere(kind):
    codec = build(**KINDS[kind])
    codes = torch.randint(codec.card, (1, codec.n_q, 50))
    pieces = [Piece(part) for part in codes.split([1, 2, 30, 17], -1)]
    whole = codec.decode(codes)
    torch.testing.assert_close(torch.cat([*decode_stream(codec, pieces)], -1), whole)


def test_a_causal_stream_answers_at_once_and_keeps_little():
    codec = build(causal=True)
    stream = encode_stream(codec, (torch.randn(1, 1, 20) for _ in range(5)))
    assert [piece.codes.shape[-1] for piece in stream] == [1] * 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"normalize": True}, "scales the whole signal"),
        ({"norm": "group"}, "looks at all time at once"),
    ],
)
def test_what_needs_the_whole_signal_is_refused(options, message):
    codec = build(**options)
    with pytest.raises(UserError, match=message):
        list(encode_stream(codec, [torch.randn(1, 1, 100)]))
    with pytest.raises(UserError, match=message):
        list(decode_stream(codec, [Piece(torch.zeros(1, 4, 5, dtype=torch.long))]))
