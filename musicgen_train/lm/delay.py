"""The delay pattern: codebook k is predicted `delays[k]` steps later than codebook 0."""

from collections.abc import Sequence

from torch import Tensor


def default_delays(n_q: int, channels: int = 1) -> list[int]:
    """One step per codebook; the channels of one level share a step (stereo: 0 0 1 1 2 2 …)."""
    return [k // channels for k in range(n_q)]


def delay_codes(codes: Tensor, delays: Sequence[int], fill: int) -> Tensor:
    """Shift codebook k right by delays[k]: [B, K, T] -> [B, K, S], S = T + max(delays).

    Delays (0, 1, 2), T = 3, "." is `fill`:

        a0 a1 a2 .  .
        .  b0 b1 b2 .
        .  .  c0 c1 c2
    """
    B, K, T = codes.shape
    assert len(delays) == K, f"{len(delays)} delays for {K} codebooks"
    delayed = codes.new_full((B, K, T + max(delays)), fill)
    for k, delay in enumerate(delays):
        delayed[:, k, delay : delay + T] = codes[:, k]
    return delayed


def undelay(delayed: Tensor, delays: Sequence[int], n_frames: int | None = None) -> Tensor:
    """Shift codebook k left by delays[k]: [B, K, S, ...] -> [B, K, T, ...].

    T is `n_frames`, by default S - max(delays). Frames that lie beyond the end of the delayed
    steps (possible when `n_frames` is larger than the default) are zero.
    """
    B, K, S = delayed.shape[:3]
    assert len(delays) == K, f"{len(delays)} delays for {K} codebooks"
    T = S - max(delays) if n_frames is None else n_frames
    codes = delayed.new_zeros((B, K, T, *delayed.shape[3:]))
    for k, delay in enumerate(delays):
        n = min(T, S - delay)
        codes[:, k, :n] = delayed[:, k, delay : delay + n]
    return codes
