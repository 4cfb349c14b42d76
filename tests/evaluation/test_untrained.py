import torch

from musicgen_train.codec.stereo import StereoCodec
from musicgen_train.evaluation.sampling import untrained_like


def test_a_stereo_codec_has_an_untrained_one_of_its_shape(codec):
    stereo = StereoCodec(codec)
    fresh = untrained_like(stereo, 0)
    assert isinstance(fresh, StereoCodec) and fresh.mono.config == codec.config
    assert fresh.identity() != stereo.identity()
    assert fresh.encode(torch.randn(1, 2, 400)).shape == stereo.encode(torch.randn(1, 2, 400)).shape
