import math

import pytest
import soundfile
import torch

from musicgen_train.data.audio import read_audio
from musicgen_train.errors import UserError
from musicgen_train.evaluation.clips import Clip, ClipFaults, clip_files, find_clips, write_clip
from musicgen_train.evaluation.embedders.facts import ClipFacts


def sine(level: float = 0.5, seconds: float = 2.0, rate: int = 8000) -> torch.Tensor:
    return level * torch.sin(torch.arange(int(seconds * rate)) * 0.3)[None]


def test_every_fault_has_its_clips_and_the_level_is_that_of_sound_clips():
    faults = ClipFaults(unreadable={"lost": "cannot be decoded"})
    for name, wav in {
        "fine": sine(),
        "silent": sine(1e-5),
        "short": sine(seconds=0.5),
        "long": sine(seconds=61),
        "broken": torch.full((1, 8000), torch.nan),
        "stereo": sine().expand(2, -1),
    }.items():
        faults.add(name, ClipFacts.of(wav, 8000))
    faults.add("slow", ClipFacts.of(sine(), 4000))
    told = faults.to_json()
    assert told["n_clips"] == 7 and told["unreadable"] == {"lost": "cannot be decoded"}
    for fault in ("silent", "short", "long"):
        assert told[fault] == [fault]
    assert told["non_finite"] == ["broken"]
    assert told["odd_ones"] == {"8000 Hz, 2 channels": ["stereo"], "4000 Hz, 1 channel": ["slow"]}
    assert faults.mean_level == pytest.approx(20 * math.log10(0.5 / 2**0.5), abs=0.1)


def test_missing_and_empty_folders_are_named(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        find_clips(tmp_path / "absent")
    with pytest.raises(UserError, match="no audio in"):
        find_clips(tmp_path)


def test_clips_are_called_by_their_place_without_suffix_and_twins_are_refused(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("deep/b.wav", "a.1.wav"):
        soundfile.write(tmp_path / name, sine().T.numpy(), 8000)
    assert [file.name for file in clip_files(tmp_path)] == ["a.1", "deep/b"]
    soundfile.write(tmp_path / "deep" / "b.flac", sine().T.numpy(), 8000)
    with pytest.raises(UserError, match=r"b\.flac and b\.wav, two clips of one name; remove one"):
        clip_files(tmp_path)


def test_a_written_clip_keeps_its_level(tmp_path):
    write_clip(tmp_path / "deep" / "clip.flac", Clip("clip", sine(0.05), 8000))
    wav, rate = read_audio(tmp_path / "deep" / "clip.flac")
    assert rate == 8000
    assert torch.allclose(wav, sine(0.05), atol=1e-4)
    assert not list(tmp_path.rglob("*.tmp"))
