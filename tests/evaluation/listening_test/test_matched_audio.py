"""Clips of one trial: as loud as each other, never clipped, and alike in all that is no sound."""

import io

import numpy as np
import pytest
import soundfile
import torch

from musicgen_train.data.loudness_meter import measure_loudness
from musicgen_train.evaluation.listening_test.audio_store import AudioStore
from musicgen_train.evaluation.listening_test.matched_audio import match_clips
from musicgen_train.evaluation.listening_test.trials import Prompt
from tests.evaluation.listening_test.small_listening import write_tone


def decoded(clip):
    wav, rate = soundfile.read(io.BytesIO(clip.wav_file), always_2d=True)
    return wav, rate


def lufs(clip):
    wav, rate = decoded(clip)
    return measure_loudness(torch.from_numpy(wav.T.copy()).float(), rate)


@pytest.fixture
def uneven(tmp_path):
    """Clips of every rate, kind, level, length and number of channels."""
    return [
        write_tone(tmp_path / "a.wav", 16000, 0.01, 2.0),
        write_tone(tmp_path / "b.flac", 32000, 0.9, 2.5),
        write_tone(tmp_path / "c.ogg", 44100, 0.2, 2.2, channels=2),
        write_tone(tmp_path / "d.wav", 8000, 0.2, 2.0),
    ]


def test_all_clips_of_a_trial_are_as_loud_as_each_other(uneven):
    for clip in match_clips(uneven):
        assert lufs(clip) == pytest.approx(-23.0, abs=0.05)
        assert clip.loudness == pytest.approx(lufs(clip), abs=0.02)


def test_nothing_but_the_sound_tells_the_files_apart(uneven):
    clips = match_clips(uneven)
    assert {decoded(clip)[1] for clip in clips} == {44100}
    assert len({len(clip.wav_file) for clip in clips}) == 1
    assert len({clip.wav_file[:44] for clip in clips}) == 1  # the whole header
    assert {clip.duration for clip in clips} == {2.0}


def test_peaks_that_find_no_room_bring_all_clips_down_instead_of_being_cut(tmp_path):
    rate = 16000
    clicks = np.zeros(4 * rate)
    clicks[:: rate // 4] = 0.5  # 36 dB above their loudness
    soundfile.write(tmp_path / "clicks.wav", clicks, rate)
    paths = [tmp_path / "clicks.wav", write_tone(tmp_path / "tone.wav", rate, 0.5, 4.0)]
    sharp, plain = match_clips(paths)
    assert lufs(sharp) == pytest.approx(lufs(plain), abs=0.1)
    assert lufs(sharp) < -24
    assert np.abs(decoded(sharp)[0]).max() == pytest.approx(10 ** (-1 / 20), abs=2e-3)


def test_silence_stays_silence_and_others_are_matched_beside_it(tmp_path):
    soundfile.write(tmp_path / "silence.wav", np.zeros(16000), 16000)
    paths = [tmp_path / "silence.wav", write_tone(tmp_path / "tone.wav", 16000, 0.5, 1.0)]
    silence, tone = match_clips(paths)
    assert silence.loudness is None and not decoded(silence)[0].any()
    assert tone.loudness == pytest.approx(-23.0, abs=0.05)


def test_clips_too_short_to_have_a_loudness_are_matched_all_the_same(tmp_path):
    short = [
        write_tone(tmp_path / f"{i}.wav", 16000, level, 0.2) for i, level in enumerate((0.5, 0.05))
    ]
    loud, soft = (np.sqrt(np.square(decoded(clip)[0]).mean()) for clip in match_clips(short))
    assert loud == pytest.approx(soft, rel=0.01)


def test_a_store_forgets_the_oldest_beyond_its_bound_and_makes_it_again(tmp_path):
    prompts = [
        Prompt(str(i), None, None, {"a": write_tone(tmp_path / f"{i}.wav", 16000, 0.1, 0.5)})
        for i in range(3)
    ]
    (tmp_path / "store").mkdir()
    store = AudioStore(tmp_path / "store", bound=2 * 17000)
    made = [store.get(prompt).clips["a"] for prompt in prompts]
    assert [clip.path.exists() for clip in made] == [False, True, True]
    again = store.get(prompts[0]).clips["a"]
    assert again.path.exists() and again.digest == made[0].digest
    assert len(list((tmp_path / "store").iterdir())) == 2
