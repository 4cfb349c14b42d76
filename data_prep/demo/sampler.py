"""Playing notes with the samples of a soundfont.

Written here because the synthesizers that pip installs play this soundfont out of tune or hang.
"""

from collections.abc import Sequence

import numpy as np
from scipy.signal import lfilter

from data_prep.demo.piece import Note, Part
from data_prep.demo.soundfont import Region, SoundFont

SAMPLE_RATE = 44100
LOWEST, HIGHEST = 24, 96
DRUM_BANK = 128
SHORTEST_RELEASE = 0.03  # seconds until 60 dB down; shorter ones click
LONGEST_RELEASE = 0.8
CACHE_SAMPLES = 40_000_000  # of resampled waves, in each worker


def resample(samples: np.ndarray, region: Region, pitch: int, length: int) -> np.ndarray:
    """The region's sample at a pitch, looped to `length` output samples or until it ends."""
    shift = (pitch - region.root) * region.scale if region.scale != 1.0 else pitch - region.root
    ratio = region.rate / SAMPLE_RATE * 2 ** (shift / 12)
    position = np.arange(length) * ratio + region.start
    if region.loop is not None:
        begin, end = region.loop
        first = int(np.searchsorted(position, end))
        position[first:] = begin + (position[first:] - begin) % (end - begin)
    else:
        position = position[: int(np.searchsorted(position, region.end - 1))]
    whole = position.astype(np.int64)
    fraction = (position - whole).astype(np.float32)
    left = samples[whole]
    return left + (samples[whole + 1] - left) * fraction


def lowpass(wav: np.ndarray, cutoff: float, resonance: float) -> np.ndarray:
    """Two-pole low-pass filter; `resonance` in dB at the cutoff (Hz)."""
    w = 2 * np.pi * min(cutoff / SAMPLE_RATE, 0.45)
    alpha = np.sin(w) / (2 * 10 ** ((resonance - 3.01) / 20))
    b = np.array([(1 - np.cos(w)) / 2, 1 - np.cos(w), (1 - np.cos(w)) / 2])
    a = np.array([1 + alpha, -2 * np.cos(w), 1 - alpha])
    return np.asarray(lfilter(b / a[0], a / a[0], wav), dtype=np.float32)


def held_envelope(region: Region, length: int) -> np.ndarray:
    """Amplitude while a key is down: linear attack, then a decay that is straight in dB."""
    t = np.arange(length, dtype=np.float32) / SAMPLE_RATE
    attack = max(region.attack, 0.001)
    fall = np.clip(
        (t - attack - region.hold) * (100 / max(region.decay, 0.001)), 0.0, region.sustain
    )
    return np.exp(fall * np.float32(-np.log(10) / 20)) * np.minimum(t / np.float32(attack), 1.0)


def release_seconds(region: Region) -> float:
    """How long a note fades after its key is up, by 60 dB."""
    return min(max(region.release * 0.6, SHORTEST_RELEASE), LONGEST_RELEASE)


class Sampler:
    """Renders parts; remembers the pitches it resampled, since pieces share most of them."""

    def __init__(self, soundfont: SoundFont):
        self.soundfont = soundfont
        self.waves: dict[tuple[Region, int], np.ndarray] = {}
        self.envelopes: dict[Region, np.ndarray] = {}
        self.fades: dict[int, np.ndarray] = {}
        self.cached = 0

    def render(self, part: Part, n_samples: int) -> np.ndarray:
        """One part (notes in seconds) as float32 [2, n_samples], without level, pan or reverb."""
        out = np.zeros((2, n_samples), dtype=np.float32)
        regions = self.soundfont.regions(DRUM_BANK if part.is_drum else 0, part.program)
        if self.cached > CACHE_SAMPLES:
            self.waves.clear()
            self.cached = 0
        for n, note in enumerate(part.notes):
            assert LOWEST <= note.pitch <= HIGHEST, note
            first = round(note.start * SAMPLE_RATE)
            for region in regions:
                if not (region.keys[0] <= note.pitch <= region.keys[1]):
                    continue
                if (
                    region.velocities[0] <= note.velocity <= region.velocities[1]
                    and first < n_samples
                ):
                    held = self.held_seconds(part, regions, n, region)
                    self._play(out, region, note, first, held)
        return out

    def held_seconds(self, part: Part, regions: Sequence[Region], n: int, region: Region) -> float:
        """How long a note is held; drums ring until another of their choke class sounds."""
        note = part.notes[n]
        if not part.is_drum:
            return note.duration
        if region.choke:
            rivals = [r.keys for r in regions if r.choke == region.choke]
            for later in part.notes[n + 1 : n + 40]:
                if later.start > note.start + 0.01 and any(
                    a <= later.pitch <= b for a, b in rivals
                ):
                    return min(later.start - note.start, 4.0)
        return 4.0

    def _play(
        self, out: np.ndarray, region: Region, note: Note, first: int, seconds: float
    ) -> None:
        """Add one note of one region to the output."""
        held = max(round(seconds * SAMPLE_RATE), 1)
        fade = round(release_seconds(region) * SAMPLE_RATE)
        wave = self._wave(region, note.pitch, held + fade)
        length = min(held + fade, len(wave), out.shape[1] - first)
        if length < 1:
            return
        sound = wave[:length] * self._envelope(region, length)
        if length > held:
            sound[held:] *= self._fade(fade)[: length - held]
        loudness = 10 ** (region.gain / 20) * (note.velocity / 127) ** 1.6
        angle = (region.pan + 1) * np.pi / 4
        out[0, first : first + length] += sound * np.float32(loudness * np.cos(angle))
        out[1, first : first + length] += sound * np.float32(loudness * np.sin(angle))

    def _envelope(self, region: Region, length: int) -> np.ndarray:
        """The first `length` samples of a region's envelope while held."""
        known = self.envelopes.get(region)
        if known is None or len(known) < length:
            known = self.envelopes[region] = held_envelope(region, max(length, 4 * SAMPLE_RATE))
        return known[:length]

    def _fade(self, length: int) -> np.ndarray:
        """A fall by 60 dB."""
        if length not in self.fades:
            self.fades[length] = np.logspace(0, -3, length, dtype=np.float32)
        return self.fades[length]

    def _wave(self, region: Region, pitch: int, length: int) -> np.ndarray:
        """At least `length` samples of a region at a pitch (fewer where the sample ends)."""
        known = self.waves.get((region, pitch))
        if known is None or (len(known) < length and region.loop is not None):
            wanted = max(length, SAMPLE_RATE) if region.loop else 8 * SAMPLE_RATE
            known = resample(self.soundfont.samples, region, pitch, wanted)
            if region.cutoff is not None:
                known = lowpass(known, region.cutoff, region.resonance)
            self.waves[region, pitch] = known
            self.cached += len(known)
        return known
