"""A WAV that grows is right from its first block on."""

import io

import pytest
import soundfile
import torch

from musicgen_train.errors import UserError
from musicgen_train.wav_stream import WavStream, growing, part_of


@pytest.mark.parametrize("channels", [1, 2])
def test_blocks_become_the_file_that_soundfile_reads(channels):
    wav = torch.rand(channels, 1000, generator=torch.Generator().manual_seed(0)) * 2 - 1
    file = io.BytesIO()
    stream = WavStream(file, 32_000, channels, 1000)
    for block in wav.split([1, 599, 400], dim=1):
        stream.write(block)
    samples, rate = soundfile.read(io.BytesIO(file.getvalue()), dtype="float32", always_2d=True)
    assert rate == 32_000 and samples.shape == (1000, channels)
    torch.testing.assert_close(torch.from_numpy(samples.T), wav, rtol=0, atol=2 / 32767)


def test_what_exceeds_full_scale_is_cut_and_does_not_wrap():
    file = io.BytesIO()
    WavStream(file, 8000, 1, 2).write(torch.tensor([[3.0, -3.0]]))
    samples, _ = soundfile.read(io.BytesIO(file.getvalue()))
    assert samples.tolist() == pytest.approx([1, -1], abs=1e-4)


def test_a_file_has_its_name_only_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "song.wav"
    with growing(path) as file:
        file.write(b"music")
        assert part_of(path).exists() and not path.exists()
    assert path.read_bytes() == b"music" and not part_of(path).exists()
    with pytest.raises(KeyboardInterrupt), growing(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"music" and not part_of(path).exists()


def test_a_stream_that_takes_no_more_is_one_line():
    message = r"/dev/full: cannot be written \(No space left"
    with open("/dev/full", "wb", buffering=0) as file, pytest.raises(UserError, match=message):
        WavStream(file, 8000, 1, 2)


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    message = r"file/a\.wav: cannot be written \(File exists"
    with pytest.raises(UserError, match=message), growing(tmp_path / "file" / "a.wav"):
        raise AssertionError("never opened")
