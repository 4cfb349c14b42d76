"""Streams of audio are the whole, whatever sizes their blocks have."""

import pytest
import torch

from musicgen_train.data.audio import audio_write, read_audio, resample, to_channels
from musicgen_train.data.audio_blocks import AudioBlocks, even_blocks, resample_blocks


def noise(n_samples: int, channels: int = 2) -> torch.Tensor:
    return torch.rand(channels, n_samples, generator=torch.Generator().manual_seed(0)) - 0.5


@pytest.mark.parametrize("rates", [(44100, 32000), (192_000, 32000), (4000, 32000), (22050, 16000)])
def test_a_stream_is_resampled_as_the_whole(rates):
    wav = noise(7 * rates[0] + 13)
    for size in (999, 100_000):
        blocks = list(resample_blocks(wav.split(size, 1), *rates))
        assert torch.equal(torch.cat(blocks, dim=1), resample(wav, *rates))
    stacked = torch.cat(list(resample_blocks(wav[None].split(5000, -1), *rates)), dim=-1)
    assert torch.equal(stacked[0], resample(wav, *rates))


@pytest.mark.parametrize("rates", [(8000, 8000), (44100, 32000)])
def test_nothing_stays_nothing_and_a_sample_does_not_fail(rates):
    assert list(resample_blocks([], *rates)) == []
    one = torch.cat(list(resample_blocks([noise(1)], *rates)), dim=1)
    assert torch.equal(one, resample(noise(1), *rates))


@pytest.mark.parametrize("n_samples", [0, 1, 9, 10, 11, 40])
@pytest.mark.parametrize("size", [1, 3, 10, 100])
def test_even_blocks_hold_the_same_samples(n_samples, size):
    wav = noise(n_samples)
    blocks = list(even_blocks(wav.split(size, 1) if n_samples else [], 10))
    assert [block.shape[1] for block in blocks[:-1]] == [10] * (len(blocks) - 1)
    assert all(0 < block.shape[1] <= 10 for block in blocks)
    assert torch.equal(torch.cat([*blocks, wav[:, :0]], dim=1), wav)


def test_a_file_comes_at_the_rate_and_in_the_channels_asked_for(tmp_path):
    path = audio_write(tmp_path / "x", 0.3 * noise(50_000), 22050, format="flac")
    blocks = AudioBlocks(path, 16000, 1, block_duration=0.3)
    assert blocks.duration == pytest.approx(50_000 / 22050)
    expected = resample(to_channels(read_audio(path)[0], 1), 22050, 16000)
    for _ in range(2):
        assert torch.equal(torch.cat(list(blocks), dim=1), expected)
