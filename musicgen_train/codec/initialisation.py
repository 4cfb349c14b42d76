"""A start from which a SEANet autoencoder learns in hundreds of steps instead of thousands."""

import math

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from musicgen_train.codec.layers import ResidualBlock
from musicgen_train.codec.seanet import SEANetDecoder, SEANetEncoder

AUDIO_RMS = 0.125  # of mastered music, roughly


@torch.no_grad()
def initialise(
    encoder: SEANetEncoder, decoder: SEANetDecoder, audio_rms: float = AUDIO_RMS
) -> None:
    """Let every convolution keep its signal's power, with zero bias, for audio of `audio_rms`.

    PyTorch's default shrinks the signal by sqrt(3) a layer: after a dozen of them the biases
    outweigh it, and the decoder learns one constant buzz before anything else. Residual branches
    start at a tenth of their input, so that the network starts nearly linear.
    """
    for net in (encoder, decoder):
        _keep_power(net, gain=1.0)
        for module in net.modules():
            if isinstance(module, ResidualBlock):
                _keep_power(module.block[-1], gain=0.1)
    _keep_power(encoder.layers[0], gain=1 / audio_rms)
    _keep_power(decoder.layers[-1], gain=audio_rms)


def _keep_power(module: nn.Module, gain: float) -> None:
    """Draw the module's convolutions so that unit power becomes power gain^2 in each."""
    for conv in module.modules():
        if isinstance(conv, nn.Conv1d | nn.ConvTranspose1d):
            _draw(conv, gain)


def _draw(conv: nn.Conv1d | nn.ConvTranspose1d, gain: float) -> None:
    terms = conv.in_channels * conv.kernel_size[0]
    if isinstance(conv, nn.ConvTranspose1d):
        terms //= conv.stride[0]  # each output sample is reached by kernel / stride taps
    weight: Tensor = torch.randn_like(conv.weight) * (gain / math.sqrt(terms))
    if is_parametrized(conv, "weight"):
        conv.weight = weight  # weight norm splits it into direction and length
    else:
        conv.weight.copy_(weight)
    if conv.bias is not None:
        conv.bias.zero_()
