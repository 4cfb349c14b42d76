"""A stereo codec is the mono one on each side, with both sides' codes interleaved."""

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from musicgen_train.codec.encodec import Encodec
from musicgen_train.codec.stereo import StereoCodec
from musicgen_train.codec.streaming import Piece, decode_stream
from musicgen_train.errors import UserError
from tests.conftest import TINY_CODEC

CONF = Path(__file__).parents[2] / "conf"


@pytest.fixture
def stereo(codec) -> StereoCodec:
    return StereoCodec(codec)


def test_its_shape_follows_from_the_mono_codec(stereo, codec):
    assert (stereo.n_q, stereo.card, stereo.channels) == (8, 16, 2)
    assert stereo.sample_rate == codec.sample_rate and stereo.frame_rate == codec.frame_rate
    assert stereo.hop_length == codec.hop_length
    assert stereo.delays == [0, 0, 1, 1, 2, 2, 3, 3]


def test_codes_stand_level_by_level_left_before_right(stereo, codec):
    wav = torch.randn(3, 2, 205)
    codes = stereo.encode(wav)
    assert codes.shape == (3, 8, 11)
    assert torch.equal(codes[:, 0::2], codec.encode(wav[:, :1]))
    assert torch.equal(codes[:, 1::2], codec.encode(wav[:, 1:]))


def test_decoding_is_the_mono_codecs_on_each_side(stereo, codec):
    wav = torch.randn(3, 2, 200)
    decoded = stereo.decode(stereo.encode(wav))
    assert decoded.shape == wav.shape
    for side in (0, 1):
        one = codec.decode(codec.encode(wav[:, side : side + 1]))
        torch.testing.assert_close(decoded[:, side : side + 1], one)
    assert not torch.allclose(decoded[:, 0], decoded[:, 1])


def test_its_identity_is_its_own_and_follows_the_mono_codecs(stereo, codec):
    before = stereo.identity()
    assert before != codec.identity() and len(before) == 16
    codec.quantizer.codebooks[0].embed.add_(1)
    assert stereo.identity() != before


@pytest.mark.parametrize("options", [{}, {"chunk_duration": 0.2, "chunk_overlap": 0.1}])
def test_streamed_decoding_is_the_whole(codec, options):
    mono = Encodec(**TINY_CODEC, **options).eval()
    mono.load_state_dict(codec.state_dict())
    stereo = StereoCodec(mono)
    codes = torch.randint(16, (2, 8, 50))
    # The chunks of 0.2 s are 20 frames: there the codes must be cut.
    pieces = [Piece(part) for part in codes.split(20, -1)]
    streamed = torch.cat([*decode_stream(stereo, pieces)], -1)
    torch.testing.assert_close(streamed, stereo.decode(codes))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: s.encode(torch.zeros(2, 1, 100)), r"takes wav \[B, 2, N\], got \[2, 1, 100\]"),
        (lambda s: s.encode(torch.zeros(2, 100)), r"takes wav \[B, 2, N\]"),
        (lambda s: s.encode(torch.full((1, 2, 9), torch.nan)), "NaN or infinite"),
        (lambda s: s.decode(torch.zeros(1, 3, 5, dtype=torch.long)), "a left and a right"),
        (lambda s: s.decode(torch.zeros(1, 10, 5, dtype=torch.long)), r"\[B, 2 to 8, T\]"),
        (lambda s: s.decode(torch.full((1, 8, 5), 16)), r"codes lie in \[16, 16\]"),
        (lambda s: StereoCodec(s.mono, n_q=4), r"n_q 4 does not fit.*is 8"),
    ],
)
def test_what_is_not_stereo_is_refused(stereo, call, message):
    with pytest.raises(UserError, match=message) as error:
        call(stereo)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("options", [{"channels": 2}, {"normalize": True}])
def test_only_a_mono_codec_that_keeps_the_level_will_do(options):
    with pytest.raises(UserError, match="give a mono one"):
        StereoCodec(Encodec(**{**TINY_CODEC, **options}))


def test_the_preset_gives_a_language_model_the_released_delays():
    groups = ["+codec=encodec_32khz_stereo", "+model=tiny", "+conditioning=text"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(overrides=groups)
    with torch.device("meta"):
        codec = instantiate(config.codec, _convert_="all")
        lm = instantiate(config.model, _convert_="all")
    assert type(codec) is StereoCodec
    assert (lm.n_q, lm.card, lm.delays) == (8, 2048, [0, 0, 1, 1, 2, 2, 3, 3])
