import numpy as np
import pytest
import torch

from musicgen_train.evaluation.embedders.levels import level_google, level_rms


def noise(n_samples: int = 16_000, gain: float = 0.1) -> torch.Tensor:
    return gain * torch.randn(n_samples, generator=torch.Generator().manual_seed(0))


def test_every_clip_gets_the_same_rms():
    for gain in (0.01, 0.3, 20.0):
        assert level_rms(noise(gain=gain)).square().mean().sqrt() == pytest.approx(0.1, rel=1e-5)


def test_a_target_and_a_limit_can_be_chosen():
    assert level_rms(noise(), target_rms=0.5).square().mean().sqrt() == pytest.approx(0.5)
    assert torch.equal(level_rms(noise(gain=1e-4), max_gain=2.0), noise(gain=1e-4) * 2.0)


def test_near_silence_is_not_amplified_to_noise():
    assert level_rms(noise(gain=1e-6)).square().mean().sqrt() == pytest.approx(1e-4, rel=0.01)


def test_silence_stays_silence_at_either_level():
    for level in (level_rms, level_google):
        assert torch.equal(level(torch.zeros(100)).float(), torch.zeros(100))
        assert len(level(torch.zeros(0))) == 0


def test_google_levels_what_a_wav_of_audiocraft_holds():
    """The chain in numpy: peak -1 dBFS, 16 bit, raw integers over max(0.1, their highest)."""
    mono = noise().numpy()
    peaked = mono * (np.float32(10 ** (-1 / 20)) / np.abs(mono).max())
    integers = np.rint(peaked * np.float32(32768)).astype(np.int16)
    samples = integers.astype(np.float64)
    samples /= np.maximum(0.1, np.amax(samples))
    assert np.array_equal(level_google(torch.from_numpy(mono)).numpy(), samples)


def test_google_levels_are_those_of_a_real_wav(tmp_path):
    """Our own audio_write in place of audiocraft's, whose steps may be one higher or lower."""
    from scipy.io import wavfile

    from musicgen_train.data.audio import audio_write

    path = audio_write(tmp_path / "clip", noise(), 16_000, strategy="peak")
    integers = wavfile.read(path)[1].astype(np.float64)
    difference = level_google(noise()).numpy() - integers / integers.max()
    assert np.abs(difference).max() < 2.5 / integers.max()


def test_google_divides_by_the_highest_sample_not_by_the_largest():
    mono = torch.tensor([0.0, 0.25, -0.5])
    assert level_google(mono).max() == 1.0
    assert level_google(mono).min() == pytest.approx(-2.0, rel=1e-4)
    assert level_google(-mono).tolist() == pytest.approx([0.0, -0.5, 1.0], rel=1e-4)


def test_google_makes_the_faintest_noise_as_loud_as_music():
    faint = noise(gain=1e-7)
    assert level_google(faint).max() == 1.0
    assert torch.allclose(level_google(faint), level_google(noise()), atol=1e-3)


def test_google_divides_a_clip_without_positive_samples_by_a_tenth_of_a_step():
    assert level_google(torch.tensor([0.0, -0.5])).min() == -10 * round(10 ** (-1 / 20) * 2**15)
