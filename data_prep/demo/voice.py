"""A sung-like voice: a glottal source with vibrato, vowel formants, consonants of noise."""

from collections.abc import Sequence

import numpy as np
from scipy.signal import butter, sosfilt

from data_prep.demo.piece import Note

VOWELS = {  # formant frequencies (Hz)
    "a": (730, 1090, 2440, 3400, 4500),
    "e": (530, 1840, 2480, 3500, 4500),
    "i": (290, 2290, 3010, 3500, 4500),
    "o": (500, 850, 2500, 3400, 4500),
    "u": (320, 800, 2240, 3400, 4500),
}
WIDTHS = (80, 95, 130, 180, 220)  # Hz
CONSONANTS = {
    "s": (5000, 9000, 0.09),
    "t": (3000, 8000, 0.03),
    "k": (1500, 4000, 0.03),
    "h": (800, 5000, 0.06),
}


def formant_filter(vowel: str, size: float, rate: int) -> np.ndarray:
    """Cascade of resonators with unit gain at 0 Hz; `size` > 1 is a smaller head."""
    sections = []
    for frequency, width in zip(VOWELS[vowel], WIDTHS, strict=True):
        radius = np.exp(-np.pi * width / rate)
        a1, a2 = -2 * radius * np.cos(2 * np.pi * frequency * size / rate), radius * radius
        sections.append([1 + a1 + a2, 0, 0, 1, a1, a2])
    return np.array(sections)


def pitch_curve(
    notes: Sequence[Note], n_samples: int, rate: int, rng: np.random.Generator
) -> np.ndarray:
    """Fundamental in Hz for every sample: glides between notes, vibrato that grows, slow drift."""
    hop = rate // 200
    frames = n_samples // hop + 2
    semitones = np.full(frames, float(notes[0].pitch))
    vibrato = np.zeros(frames)
    for note in notes:
        first = int(note.start * 200)
        semitones[first:] = note.pitch
        age = np.arange(frames - first) / 200
        vibrato[first:] = 0.35 * np.clip((age - 0.2) / 0.4, 0, 1)
    glide = np.hanning(15)
    padded = np.pad(semitones, 7, mode="edge")
    semitones = np.convolve(padded, glide / glide.sum(), mode="valid")
    drift = np.convolve(rng.normal(0, 1, frames + 39), np.ones(40) / 40, mode="valid") * 0.25
    wobble = vibrato * np.sin(2 * np.pi * 5.3 * np.arange(frames) / 200 + rng.uniform(0, 6))
    hertz = 440 * 2 ** ((semitones + drift + wobble - 69) / 12)
    return np.interp(np.arange(n_samples) / hop, np.arange(frames), hertz)


def glottal_source(hertz: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Derivative of a Rosenberg pulse at the given pitch, with some breath."""
    phase = np.cumsum(hertz / rate) % 1.0
    opening, closing = 0.4, 0.16
    flow = np.where(
        phase < opening,
        0.5 * (1 - np.cos(np.pi * phase / opening)),
        np.where(phase < opening + closing, np.cos(0.5 * np.pi * (phase - opening) / closing), 0.0),
    )
    breath = 0.012 * rng.standard_normal(len(hertz)) * (0.3 + flow)
    return np.diff(flow, prepend=0.0) + breath


def envelope(length: int, attack: int, release: int) -> np.ndarray:
    """Smooth rise and fall (samples)."""
    shape = np.ones(length)
    attack, release = min(attack, length // 2), min(release, length // 2)
    shape[:attack] = 0.5 - 0.5 * np.cos(np.pi * np.arange(attack) / max(attack, 1))
    shape[length - release :] = 0.5 + 0.5 * np.cos(np.pi * np.arange(release) / max(release, 1))
    return shape


def consonant(name: str, rate: int, rng: np.random.Generator) -> np.ndarray:
    """A short burst of shaped noise."""
    low, high, seconds = CONSONANTS[name]
    n_samples = int(seconds * rate)
    band = butter(2, [low, min(high, 0.45 * rate)], "bandpass", fs=rate, output="sos")
    noise = np.asarray(sosfilt(band, rng.standard_normal(n_samples)))
    return noise * envelope(n_samples, n_samples // 4, n_samples // 2)


def articulate(source: np.ndarray, filters: Sequence[np.ndarray], rate: int) -> np.ndarray:
    """Colour a syllable with a vowel; a long one glides to a second vowel. Unit RMS."""
    voiced = np.asarray(sosfilt(filters[0], source))
    voiced /= np.std(voiced) + 1e-9
    if len(source) > 0.5 * rate:
        second = np.asarray(sosfilt(filters[1], source))
        place = np.clip((np.arange(len(source)) / rate - 0.25) / 0.2, 0.0, 1.0)
        voiced += place * (second / (np.std(second) + 1e-9) - voiced)
    return voiced


def sing(notes: Sequence[Note], n_samples: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Sing notes (seconds) on changing syllables: float32 [2, n_samples]."""
    out = np.zeros(n_samples)
    size = 1.0 + 0.012 * (float(np.mean([note.pitch for note in notes])) - 52)
    source = glottal_source(pitch_curve(notes, n_samples, rate, rng), rate, rng)
    filters = {vowel: formant_filter(vowel, size, rate) for vowel in VOWELS}
    for note in notes:
        first = int(note.start * rate)
        length = min(int((note.duration + 0.04) * rate), n_samples - first)
        if length < rate // 50:
            continue
        vowels, name = rng.choice(list(VOWELS), 2), rng.choice(["", "", *CONSONANTS])
        voiced = articulate(source[first : first + length], [filters[v] for v in vowels], rate)
        voiced *= envelope(length, int(0.05 * rate), int(0.07 * rate))
        out[first : first + length] += voiced * (0.6 + 0.4 * note.velocity / 100)
        if name:
            burst = 0.35 * consonant(name, rate, rng)
            at = max(first - len(burst) // 2, 0)
            out[at : at + len(burst)] += burst[: n_samples - at]
    return np.stack([out, out]).astype(np.float32)
