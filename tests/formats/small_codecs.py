"""Small codecs of every kind, whose averages are those of training."""

import torch

from musicgen_train.codec.encodec import Encodec
from tests.conftest import TINY_CODEC

EVERYWHERE = {  # kinds that every layout holds
    "plain": {"lstm": 1},
    "causal": {
        "lstm": 2, "causal": True, "skip": "conv", "pad_mode": "reflect", "trim_right_ratio": 0.5,
        "quantizer_dropout": True, "decay": 0.95, "dead_code_threshold": 0.005,
    },
    "stereo": {"lstm": 1, "channels": 2, "norm": "group", "normalize": True, "n_q": 1},
    "no LSTM": {"lstm": 0, "n_residual_layers": 2},
    "odd kernels": {
        "lstm": 1, "n_residual_layers": 2, "dilation_base": 3, "compress": 1, "kernel_size": 5,
        "residual_kernel_size": 5, "last_kernel_size": 9, "n_q": 3, "card": 32,
    },
}  # fmt: skip
CHUNKED = {"lstm": 1, "chunk_duration": 0.5, "chunk_overlap": 0.01, "normalize": True}


def trained(**options) -> Encodec:
    """A codec after a k-means start and a training step, so that no buffer has its first value."""
    torch.manual_seed(0)
    codec = Encodec(**{**TINY_CODEC, **options})
    codec.quantizer.dropout, wanted = False, codec.quantizer.dropout
    for _ in range(2):
        codec(torch.randn(4, codec.channels, 1000))
    codec.quantizer.dropout = wanted
    return codec.eval()


def assert_same_codec(loaded: Encodec, codec: Encodec) -> None:
    """Equal to the last bit: options, weights and the quantizer's averages."""
    assert loaded.config == codec.config
    ours, theirs = codec.state_dict(), loaded.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert loaded.identity() == codec.identity()
    assert not loaded.training
