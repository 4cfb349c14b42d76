"""Encode and decode audio of any length piece by piece, in constant memory.

Every layer keeps what its next output still needs: a convolution its last inputs, the LSTM its
state, a transposed convolution the tail that the next frame adds to. So the pieces, put together,
are what one call on the whole would give (up to the rounding of float32), for causal and
non-causal models alike: a non-causal convolution only answers later.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from musicgen_train.codec.chunks import OverlapAdd
from musicgen_train.codec.encodec import Encodec
from musicgen_train.codec.layers import LSTM, Conv1d, ConvTranspose1d, ResidualBlock, convolve
from musicgen_train.codec.stereo import StereoCodec
from musicgen_train.errors import UserError


class Piece(NamedTuple):
    """Successive codes, with what `decode` needs besides."""

    codes: Tensor  # [B, K, t]
    loudness: Tensor | None = None  # [B, 1] of a chunk, for codecs that normalise


@torch.no_grad()
def encode_stream(
    codec: Encodec, blocks: Iterable[Tensor], n_q: int | None = None
) -> Iterator[Piece]:
    """Code successive blocks [B, C, n] of audio, each of any length but 0, by n_q codebooks."""
    if codec.chunk_length is not None:
        yield from _encode_chunks(codec, blocks, n_q)
        return
    _refuse_normalising(codec)
    stream = LayerStream(codec.encoder.layers)
    for block in blocks:
        codec.check(block, n_q)
        latents = stream.push(block)
        if latents.shape[-1]:
            yield Piece(codec.quantizer.encode(latents, n_q))
    rest = stream.flush()
    if rest.shape[-1]:
        yield Piece(codec.quantizer.encode(rest, n_q))


@torch.no_grad()
def decode_stream(codec: Encodec | StereoCodec, pieces: Iterable[Piece]) -> Iterator[Tensor]:
    """The audio [B, C, n] of successive codes, which may be cut anywhere if chunks are not used."""
    if isinstance(codec, StereoCodec):
        sides = (Piece(codec.separate(piece.codes)) for piece in pieces)
        yield from map(codec.join, decode_stream(codec.mono, sides))
        return
    if codec.chunk_stride is not None:
        joiner = OverlapAdd(codec.chunk_stride)
        for piece in pieces:
            yield joiner.push(codec.decode_chunk(piece.codes, piece.loudness))
        yield joiner.flush()
        return
    _refuse_normalising(codec)
    stream = LayerStream(codec.decoder.layers)
    for piece in pieces:
        codec.check_codes(piece.codes)
        yield stream.push(codec.quantizer.decode(piece.codes))
    yield stream.flush()


def _encode_chunks(codec: Encodec, blocks: Iterable[Tensor], n_q: int | None) -> Iterator[Piece]:
    """Code chunk after chunk: they do not depend on each other."""
    length, stride = codec.chunk_length, codec.chunk_stride
    assert length is not None and stride is not None
    kept: Tensor | None = None
    for block in blocks:
        codec.check(block, n_q)
        kept = block if kept is None else torch.cat([kept, block], -1)
        while kept.shape[-1] >= length:
            yield Piece(*codec.encode_chunk(kept[..., :length], n_q))
            kept = kept[..., stride:]
    while kept is not None and kept.shape[-1]:
        yield Piece(*codec.encode_chunk(kept, n_q))
        kept = kept[..., stride:]


def check_streamable(codec: Encodec | StereoCodec) -> None:
    """Refuse a codec that can only decode the whole signal at once."""
    mono = codec.mono if isinstance(codec, StereoCodec) else codec
    if mono.chunk_length is None:
        _refuse_normalising(mono)
        LayerStream(mono.decoder.layers)


def _refuse_normalising(codec: Encodec) -> None:
    if codec.normalize:
        raise UserError(
            "this codec scales the whole signal to unit power, which is only known at its end: "
            "use encode and decode, or a codec with chunk_duration"
        )


class Stream(Protocol):
    """One layer, fed piece by piece: what it gives is put together what the layer would give."""

    def push(self, x: Tensor) -> Tensor: ...

    def flush(self) -> Tensor: ...


class LayerStream:
    """Layers one after the other."""

    def __init__(self, layers: Iterable[nn.Module]):
        self.streams = [stream_of(layer) for layer in layers]

    def push(self, x: Tensor) -> Tensor:
        for stream in self.streams:
            x = stream.push(x)
        return x

    def flush(self) -> Tensor:
        """What the layers still hold: each gives its rest to those after it."""
        rest = self.streams[0].flush()
        for stream in self.streams[1:]:
            rest = torch.cat([stream.push(rest), stream.flush()], -1)
        return rest


def stream_of(layer: nn.Module) -> Stream:
    """The stream of one SEANet layer."""
    if isinstance(layer, Conv1d | ConvTranspose1d) and isinstance(layer.norm, nn.GroupNorm):
        raise UserError("norm='group' looks at all time at once: such codecs need chunk_duration")
    if isinstance(layer, Conv1d):
        return ConvStream(layer)
    if isinstance(layer, ConvTranspose1d):
        return ConvTransposeStream(layer)
    if isinstance(layer, LSTM):
        return LSTMStream(layer)
    if isinstance(layer, ResidualBlock):
        return ResidualStream(layer)
    return PointwiseStream(layer)


class PointwiseStream:
    """A layer that looks at one sample at a time and keeps nothing."""

    def __init__(self, layer: nn.Module):
        self.layer = layer
        self.empty = torch.zeros(0)

    def push(self, x: Tensor) -> Tensor:
        self.empty = x[..., :0]
        return self.layer(x)

    def flush(self) -> Tensor:
        return self.empty


class ConvStream:
    """A convolution that keeps the inputs its next window begins with.

    Padding by reflection needs samples from inside: nothing is given before enough of them are
    there, and the last ones wait for the end.
    """

    def __init__(self, layer: Conv1d):
        self.layer = layer
        reflects = layer.pad_mode == "reflect"
        self.needed = max(layer.left, layer.right + layer.stride) + 1 if reflects else 0
        self.held = layer.right + layer.stride if reflects else 0
        self.kept: Tensor | None = None
        self.n_samples = 0
        self.started = False

    def push(self, x: Tensor) -> Tensor:
        self.n_samples += x.shape[-1]
        self.kept = x if self.kept is None else torch.cat([self.kept, x], -1)
        if not self.started and self.n_samples >= max(1, self.needed):
            self.kept = self.layer.pad(self.kept, self.layer.left, 0)
            self.started = True
        if not self.started:
            return self._nothing()
        return self._convolve(self.kept.shape[-1] - self.held)

    def flush(self) -> Tensor:
        assert self.kept is not None, "flushed before anything was pushed"
        if not self.started:
            return self.layer(self.kept) if self.n_samples else self._nothing()
        missing = self.layer.right + -self.n_samples % self.layer.stride
        self.kept = self.layer.pad(self.kept, 0, missing)
        return self._convolve(self.kept.shape[-1])

    def _convolve(self, available: int) -> Tensor:
        """All windows that lie within the first `available` kept samples."""
        assert self.kept is not None
        stride, span = self.layer.stride, self.layer.span
        n_frames = (available - span) // stride + 1
        if n_frames <= 0:
            return self._nothing()
        windows = self.kept[..., : (n_frames - 1) * stride + span]
        self.kept = self.kept[..., n_frames * stride :]
        return convolve(self.layer.conv, windows)

    def _nothing(self) -> Tensor:
        assert self.kept is not None
        return self.kept.new_zeros(len(self.kept), self.layer.conv.out_channels, 0)


class ConvTransposeStream:
    """A transposed convolution that keeps its last frame's tail, and drops the trimmed ends."""

    def __init__(self, layer: ConvTranspose1d):
        self.layer = layer
        self.tail: Tensor | None = None
        self.to_drop = layer.left

    def push(self, x: Tensor) -> Tensor:
        layer = self.layer
        if self.tail is None:
            self.tail = x.new_zeros(len(x), layer.conv.out_channels, layer.overlap)
        if x.shape[-1] == 0:
            return self.tail[..., :0]
        y = F.conv_transpose1d(x, layer.conv.weight, stride=layer.stride)
        y[..., : layer.overlap] += self.tail
        self.tail = y[..., x.shape[-1] * layer.stride :].clone()
        return self._given(y[..., : x.shape[-1] * layer.stride])

    def flush(self) -> Tensor:
        assert self.tail is not None, "flushed before anything was pushed"
        return self._given(self.tail[..., : self.layer.overlap - self.layer.right])

    def _given(self, y: Tensor) -> Tensor:
        dropped = min(self.to_drop, y.shape[-1])
        self.to_drop -= dropped
        bias = self.layer.conv.bias
        assert bias is not None
        return y[..., dropped:] + bias[:, None]


class LSTMStream(PointwiseStream):
    """An LSTM that keeps its state."""

    def __init__(self, layer: LSTM):
        super().__init__(layer)
        self.lstm = layer.lstm
        self.state: tuple[Tensor, Tensor] | None = None

    def push(self, x: Tensor) -> Tensor:
        self.empty = x[..., :0]
        if x.shape[-1] == 0:
            return x
        steps = x.permute(2, 0, 1)
        out, self.state = self.lstm(steps, self.state)
        return (out + steps).permute(1, 2, 0)


class ResidualStream:
    """A residual block that keeps the inputs its branch has not answered yet."""

    def __init__(self, layer: ResidualBlock):
        self.layer = layer
        self.branch = LayerStream(layer.block)
        self.kept: Tensor | None = None

    def push(self, x: Tensor) -> Tensor:
        self.kept = x if self.kept is None else torch.cat([self.kept, x], -1)
        return self._join(self.branch.push(x))

    def flush(self) -> Tensor:
        return self._join(self.branch.flush())

    def _join(self, y: Tensor) -> Tensor:
        assert self.kept is not None, "flushed before anything was pushed"
        x, self.kept = self.kept[..., : y.shape[-1]], self.kept[..., y.shape[-1] :]
        return self.layer.shortcut(x) + y if y.shape[-1] else y
