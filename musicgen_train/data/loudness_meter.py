"""Perceived loudness of audio of any length, in constant memory but for 8 bytes per 0.1 s."""

import math
from array import array

import numpy as np
from torch import Tensor

LOWEST_RATE = 4000  # Hz; the K-weighting is unstable where its shelf at 1500 Hz nears half the rate
_HOPS = 4  # of 0.1 s in a gating block
_ABSOLUTE_GATE = -70.0  # LUFS
_RELATIVE_GATE = -10.0  # LU below the mean of what passes the absolute gate
_SURROUND = (1.0, 1.0, 1.0, 1.41, 1.41)  # weights of the channels; of further ones none counts


class LoudnessMeter:
    """Integrated loudness (ITU-R BS.1770-4) of audio that comes in blocks [C, n] of any size."""

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self._filters = _k_weighting(sample_rate) if sample_rate >= LOWEST_RATE else None
        self._state: np.ndarray | None = None  # [sections, C, 2]
        self._held: np.ndarray | None = None  # [C, n] weighted samples of an unfinished hop
        self._energies = array("d")  # of each hop, summed over the channels

    def add(self, block: Tensor) -> None:
        """Hear the next block [C, n]."""
        if self._filters is None or not block.shape[1]:
            return
        from scipy.signal import sosfilt

        if self._state is None or self._held is None:
            self._state = np.zeros((len(self._filters), block.shape[0], 2))
            self._held = np.zeros((block.shape[0], 0))
        heard, self._state = sosfilt(self._filters, block.double().numpy(), zi=self._state)
        wav = np.concatenate([self._held, heard], axis=1)
        gains = np.array((*_SURROUND, *[0.0] * len(wav))[: len(wav)])
        start, n_hops = self._edge(len(self._energies)), len(self._energies)
        while self._edge(n_hops + 1) - start <= wav.shape[1]:
            hop = wav[:, self._edge(n_hops) - start : self._edge(n_hops + 1) - start]
            self._energies.append(float(gains @ np.square(hop).sum(axis=1)))
            n_hops += 1
        self._held = wav[:, self._edge(n_hops) - start :]

    def loudness(self) -> float | None:
        """LUFS of all that was heard; None if it has none.

        That is: shorter than 0.4 s, never above -70 LUFS, or at a rate below 4 kHz.
        """
        hops = np.array(self._energies)
        n_blocks = len(hops) - _HOPS + 1
        if n_blocks < 1:
            return None
        sums = sum(hops[i : i + n_blocks] for i in range(_HOPS))
        power = np.asarray(sums) / (0.1 * _HOPS * self.sample_rate)
        power = power[power > _power(_ABSOLUTE_GATE)]
        if not len(power):
            return None
        gate = power.mean() * 10 ** (_RELATIVE_GATE / 10)
        return _lufs(power[power > gate].mean())

    def _edge(self, n_hops: int) -> int:
        """The sample at which a hop begins."""
        return n_hops * self.sample_rate // 10


def measure_loudness(wav: Tensor, sample_rate: int) -> float | None:
    """LUFS of a wav [C, N] in full; None if it has none."""
    meter = LoudnessMeter(sample_rate)
    meter.add(wav)
    return meter.loudness()


def _k_weighting(sample_rate: int) -> np.ndarray:
    """The shelf and the high pass, as second-order sections."""
    from pyloudnorm import IIRfilter

    shelf = IIRfilter(4.0, 1 / math.sqrt(2), 1500.0, sample_rate, "high_shelf")
    high_pass = IIRfilter(0.0, 0.5, 38.0, sample_rate, "high_pass")
    return np.stack([np.concatenate([part.b, part.a]) for part in (shelf, high_pass)])


def _lufs(power: float) -> float:
    return -0.691 + 10 * math.log10(power)


def _power(lufs: float) -> float:
    return 10 ** ((lufs + 0.691) / 10)
