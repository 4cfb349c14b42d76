"""From dry parts to balanced stems whose sum is the mix."""

import numpy as np
from scipy.signal import lfilter

from data_prep.demo.piece import STEMS, Piece
from data_prep.demo.sampler import SAMPLE_RATE, Sampler
from data_prep.demo.voice import sing

PEAK = 10 ** (-1 / 20)  # of the mix
FADE = 0.4  # seconds at the end
COMBS = (778, 809, 745, 711)  # samples at half the rate; no common factors, so no ring
SPREAD = 11  # samples between left and right
VOICE_LEVEL = -18.5
VOICE_REVERB = 0.18


def k_weights(n_fft: int) -> np.ndarray:
    """Power response of the BS.1770 weighting at the bins of an FFT: the ear, roughly."""
    z = np.exp(-2j * np.pi * np.arange(n_fft // 2 + 1) / n_fft)
    shelf = np.polyval([1.19839281, -2.69169619, 1.53512486], z) / np.polyval(
        [0.73248077, -1.69065929, 1.0], z
    )
    high_pass = np.polyval([1.0, -2.0, 1.0], z) / np.polyval([0.99007225, -1.99004745, 1.0], z)
    return np.abs(shelf * high_pass) ** 2


def active_loudness(wav: np.ndarray) -> float:
    """Loudness in dB over the frames where something sounds: [2, N] -> about LUFS."""
    size = 2048
    frames = wav.mean(axis=0)[: wav.shape[1] // (2 * size) * 2 * size].reshape(-1, size)[::2]
    spectrum = np.fft.rfft(frames * np.hanning(size).astype(np.float32), axis=1)
    power = (np.abs(spectrum) ** 2) @ k_weights(size) * (2 / (0.375 * size * size))
    heard = power[power > power.max(initial=0.0) * 1e-2]
    return 10 * float(np.log10(heard.mean() + 1e-12)) if heard.size else -120.0


def pan(wav: np.ndarray, position: float) -> np.ndarray:
    """Balance with constant power: -1 left .. 1 right."""
    angle = (position + 1) * np.pi / 4
    gains = np.array([[np.cos(angle)], [np.sin(angle)]], dtype=np.float32) * np.sqrt(2)
    return wav * gains


def comb(wav: np.ndarray, delay: int, feedback: float) -> np.ndarray:
    """Feedback comb y[n] = x[n] + feedback * y[n - delay]: [N] -> [N].

    In rows of `delay` samples the recursion is a one-pole filter that runs down the columns.
    """
    blocks = -(-len(wav) // delay)
    rows = np.zeros((blocks, delay), dtype=np.float32)
    rows.reshape(-1)[: len(wav)] = wav
    one_pole = np.array([1.0, -feedback], dtype=np.float32)
    return np.asarray(lfilter(one_pole[:1], one_pole, rows, axis=0)).reshape(-1)[: len(wav)]


def reverberate(send: np.ndarray, seconds: float) -> np.ndarray:
    """The room's answer to a mono signal: [N] -> [2, N], decaying 60 dB in `seconds`.

    It runs at half the rate: the room is dark, and the ear does not miss what is above 11 kHz.
    """
    dark = np.asarray(lfilter([0.0625], [1, -1.5, 0.5625], send), dtype=np.float32)[::2]
    room = np.zeros((2, len(send)), dtype=np.float32)
    for channel in (0, 1):
        answer = np.zeros_like(dark)
        for delay in COMBS:
            delay += SPREAD * channel
            feedback = 10 ** (-3 * delay / (seconds * SAMPLE_RATE / 2))
            level = np.float32(
                np.sqrt((1 - feedback**2) / len(COMBS))
            )  # as loud as what it is sent
            answer[delay:] += level * comb(dark, delay, feedback)[:-delay]
        room[channel, ::2] = answer[: -(-len(send) // 2)]
        room[channel, 1:-1:2] = 0.5 * (room[channel, :-2:2] + room[channel, 2::2])
    return room


def mix_stems(
    piece: Piece, sampler: Sampler, seed: str, reverb_time: float
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Render a piece: (mix [N, 2], stems name -> [N, 2]), int16; the mix is the exact sum."""
    n_samples = round(piece.duration * SAMPLE_RATE)
    stems = {name: np.zeros((2, n_samples), dtype=np.float32) for name in STEMS[:4]}
    sends: dict[str, np.ndarray] = {}
    for part in piece.parts:
        dry = sampler.render(part, n_samples)
        gain = np.float32(10 ** ((part.level - active_loudness(dry)) / 20))
        send = dry.mean(axis=0) * (gain * np.float32(part.reverb))
        sends[part.stem] = sends[part.stem] + send if part.stem in sends else send
        stems[part.stem] += pan(dry, part.pan) * gain
    if piece.vocal is not None:
        voice = sing(
            piece.vocal, n_samples, SAMPLE_RATE, np.random.default_rng(list(seed.encode()))
        )
        voice *= np.float32(10 ** ((VOICE_LEVEL - active_loudness(voice)) / 20))
        stems["vocals"], sends["vocals"] = voice, voice[0] * np.float32(VOICE_REVERB)
    for name, send in sends.items():
        if name != "bass":
            stems[name] += reverberate(send, reverb_time)
    return quantise(stems)


def quantise(stems: dict[str, np.ndarray]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Fade out, bring the mix to PEAK with one gain, round the stems, sum them as integers."""
    fade = round(FADE * SAMPLE_RATE)
    ramp = np.linspace(1.0, 0.0, fade, dtype=np.float32)
    total = np.zeros_like(stems["melody"])
    for wav in stems.values():
        wav[:, -fade:] *= ramp
        total += wav
    gain = np.float32(PEAK * 32767 / max(total.max(), -total.min(), 1e-6))
    mix = np.zeros(total.T.shape, dtype=np.int16)
    rounded = {}
    for name, wav in stems.items():
        wav *= gain
        np.rint(wav, out=wav)
        # Two stems may cancel in the mix, so one alone may exceed its range.
        rounded[name] = np.ascontiguousarray(np.clip(wav, -32767, 32767, out=wav).T, dtype=np.int16)
        mix += rounded[name]
    return mix, rounded
