import math

import pytest
import soundfile
import torch

from musicgen_train.errors import UserError
from musicgen_train.evaluation.clips import Clip, clip_faults, find_clips, read_clips, write_clip


def sine(level: float = 0.5, seconds: float = 2.0, rate: int = 8000) -> torch.Tensor:
    return level * torch.sin(torch.arange(int(seconds * rate)) * 0.3)[None]


def test_every_fault_is_counted_and_the_level_is_that_of_sound_clips():
    clips = [
        Clip("fine", sine(), 8000),
        Clip("silent", sine(1e-5), 8000),
        Clip("short", sine(seconds=0.5), 8000),
        Clip("broken", torch.full((1, 8000), torch.nan), 8000),
    ]
    faults = clip_faults(clips, unreadable=["lost.wav"])
    assert (faults.n_clips, faults.silent, faults.short, faults.non_finite) == (4, 1, 1, 1)
    assert faults.unreadable == ["lost.wav"]
    assert faults.mean_level == pytest.approx(20 * math.log10(0.5 / 2**0.5), abs=0.1)


def test_an_unreadable_file_is_named_and_the_others_are_read(tmp_path):
    soundfile.write(tmp_path / "a.wav", sine().T.numpy(), 8000)
    (tmp_path / "b.wav").write_bytes(b"no audio")
    clips, unreadable = read_clips(tmp_path)
    assert [clip.name for clip in clips] == ["a.wav"]
    assert unreadable == ["b.wav"]


def test_missing_and_empty_folders_are_named(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        find_clips(tmp_path / "absent")
    with pytest.raises(UserError, match="no audio in"):
        find_clips(tmp_path)


def test_a_written_clip_keeps_its_level(tmp_path):
    write_clip(tmp_path / "deep" / "clip.flac", Clip("clip", sine(0.05), 8000))
    (clip,), _ = read_clips(tmp_path)
    assert clip.sample_rate == 8000
    assert torch.allclose(clip.wav, sine(0.05), atol=1e-4)
    assert not list(tmp_path.rglob("*.tmp"))
