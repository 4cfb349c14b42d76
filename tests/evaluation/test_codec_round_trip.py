import pytest
import torch

from musicgen_train.codec.encodec import Encodec
from musicgen_train.evaluation import codec_round_trip
from musicgen_train.evaluation.codec_round_trip import (
    decode_clip,
    encode_clip,
    measure_round_trip,
    sweep,
)
from musicgen_train.evaluation.sampling import untrained_like
from tests.conftest import TINY_CODEC

KINDS = {
    "causal": {"causal": True, "lstm": 1},
    "non-causal": {"lstm": 1},
    "chunks": {"chunk_duration": 0.5, "chunk_overlap": 0.1, "normalize": True, "norm": "group"},
    "normalised": {"normalize": True},
    "stereo": {"channels": 2},
}


def music(channels: int, n_samples: int) -> torch.Tensor:
    return torch.randn(channels, n_samples, generator=torch.Generator().manual_seed(0)) / 8


@pytest.mark.parametrize(
    "n_q, tried",
    [
        (1, [1]),
        (4, [1, 2, 3, 4]),
        (8, [1, 2, 3, 4, 5, 6, 7, 8]),
        (9, [1, 2, 4, 8, 9]),
        (32, [1, 2, 4, 8, 16, 32]),
    ],
)
def test_the_sweep_ends_with_all_codebooks(n_q, tried):
    assert sweep(n_q) == tried


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_clip_in_blocks_is_coded_as_a_whole_one(monkeypatch, kind):
    torch.manual_seed(0)
    codec = Encodec(**{**TINY_CODEC, **KINDS[kind]}).eval()
    wav = music(codec.channels, 6010)
    whole = decode_clip(codec, encode_clip(codec, wav), 6010)
    monkeypatch.setattr(codec_round_trip, "WHOLE_DURATION", 1.0)
    monkeypatch.setattr(codec_round_trip, "BLOCK_DURATION", 0.33)
    pieces = encode_clip(codec, wav)
    assert len(pieces) > 5 or kind == "normalised"  # which looks at all of it at once
    assert torch.allclose(decode_clip(codec, pieces, 6010), whole, atol=1e-4)


def test_fewer_codebooks_are_the_codecs_own_with_fewer(codec):
    wav = music(1, 3000)
    pieces = encode_clip(codec, wav)
    two = codec.decode(codec.encode(wav[None], n_q=2))[0, :, :3000]
    assert torch.equal(decode_clip(codec, pieces, 3000, 2), two)


def test_what_is_kept_of_a_clip_fits_together(codec):
    wav = music(1, 3010)
    result = measure_round_trip(codec, untrained_like(codec, 1), wav)
    assert list(result.by_n_q) == [1, 2, 3, 4] and result.wav.shape == wav.shape
    frames = -(-3010 // codec.hop_length)
    assert result.counts.sum(-1).tolist() == [frames] * 4
    assert result.untrained_counts.sum(-1).tolist() == [frames] * 4
    assert result.by_n_q[4].mel_distance != result.by_n_q[1].mel_distance


@pytest.mark.parametrize("n_samples", [1, 7, 21])
def test_the_shortest_clips_pass(codec, n_samples):
    result = measure_round_trip(codec, untrained_like(codec, 1), music(1, n_samples))
    assert result.wav.shape == (1, n_samples)
