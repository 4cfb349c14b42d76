"""Music-like sounds of a known tempo and key, made of random notes."""

import numpy as np

MAJOR = (0, 2, 4, 5, 7, 9, 11)
MINOR = (0, 2, 3, 5, 7, 8, 10)


def no_music(rate: int = 16000) -> dict[str, np.ndarray]:
    """float64 [n] by name: sounds without beat and key."""
    return {
        "silence": np.zeros(10 * rate),
        "nothing": np.zeros(0),
        "noise": 0.1 * np.random.default_rng(0).normal(size=20 * rate),
        "tone": np.sin(2 * np.pi * 440 * np.arange(20 * rate) / rate),
    }


def song(
    seed: int, seconds: float, rate: int = 16000, bpm: float = 120.0, tonic: int = 0, scale=MAJOR
) -> np.ndarray:
    """float32 [2, n]: a chord of the key on every beat, a melody in between, and a drum."""
    rng = np.random.default_rng(seed)
    beat = 60 / bpm
    wav = np.zeros(int(seconds * rate))
    for number in range(int(seconds / beat) + 1):
        degree = rng.choice([0, 0, 3, 4, 5]) if number % 2 else 0
        for step in (0, 2, 4):
            octave, note = divmod(degree + step, 7)
            _add(wav, number * beat, beat, 48 + tonic + scale[note] + 12 * octave, 0.15, rate)
        for half in (0.0, 0.5):
            note = 60 + tonic + scale[rng.choice([0, 0, 1, 2, 2, 3, 4, 4, 5, 6])]
            _add(wav, (number + half) * beat, beat / 2, note + 12 * rng.integers(2), 0.2, rate)
        start = int(number * beat * rate)
        drum = rng.normal(size=min(rate // 20, max(0, len(wav) - start)))
        wav[start : start + len(drum)] += 0.5 * drum * np.exp(-np.arange(len(drum)) / rate * 80)
    return np.stack([wav, 0.8 * wav]).astype(np.float32) * 0.5


def _add(wav: np.ndarray, at: float, length: float, note: int, gain: float, rate: int) -> None:
    """Play one note with overtones, its attack sharp, at a time in seconds."""
    start = int(at * rate)
    n_samples = min(int(length * rate), len(wav) - start)
    if n_samples <= 0:
        return
    time = np.arange(n_samples) / rate
    pitch = 440 * 2 ** ((note - 69) / 12)
    for overtone in (1, 2, 3, 4):
        tone = np.sin(2 * np.pi * pitch * overtone * time) * np.exp(-4 * time) / overtone
        wav[start : start + n_samples] += gain * tone
