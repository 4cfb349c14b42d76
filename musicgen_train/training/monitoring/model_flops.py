"""Floating-point operations of a training step of the language model, and what devices can do.

A multiplication with its addition counts as two. As usual for model FLOPs utilisation (Chowdhery
et al. 2022, appendix B): a backward pass is two forward passes, attention is counted without regard
to the causal mask, and layers that are computed again (`task.recompute`) are counted once.
"""

from typing import Any

import torch

# Dense products with float32 sums in 10^12 a second: in half precision, and in float32 on the plain
# cores (Nvidia's data sheets, half of what they say with sparsity). Lightning's table of the same
# mixes dense and sparse figures (H200, H100 NVL), takes plain cores for tensor cores (RTX, A40,
# A6000), and mistakes L40S for L4.
_PEAKS = {
    "B200": (2250.0, 80.0),
    "H200": (989.4, 66.9),
    "H100 NVL": (835.5, 60.0),
    "H100 PCIe": (756.0, 51.2),
    "H100": (989.4, 66.9),
    "A100": (312.0, 19.5),
    "A40": (149.7, 37.4),
    "A10G": (70.0, 35.0),
    "A10": (125.0, 31.2),
    "L40S": (362.0, 91.6),
    "L40": (181.0, 90.5),
    "L4": (121.0, 30.3),
    "RTX A6000": (154.8, 38.7),
    "RTX 4090": (165.2, 82.6),
    "RTX 3090": (71.0, 35.6),
    "V100": (125.0, 15.7),
    "T4": (65.0, 8.1),
}
_WITH_TF32 = (8, 0)  # compute capability


def step_flops(
    config: dict[str, Any], batch_size: int, n_frames: int, text_length: int, chroma_length: int
) -> int:
    """Forward and backward of codes [B, K, T] under a model's `config`: FLOPs.

    text_length: tokens of the longest text of the batch, 0 without a text encoder. chroma_length:
    frames of chroma. Padding is computed, so it is counted.
    """
    D, n_steps = config["dim"], n_frames
    text = text_length if config["text_dim"] else 0
    chroma = chroma_length if config["chroma_dim"] else 0
    lengths = {"text": text, "chroma": chroma}
    prefix = sum(n for name, n in lengths.items() if config[f"fuse_{name}"] == "prepend")
    attended = sum(n for name, n in lengths.items() if config[f"fuse_{name}"] == "cross")
    columns = prefix + n_steps
    matrices = columns * (4 + 2 * config["ffn_mult"]) * D**2
    attention = 2 * columns**2 * D  # scores, and the sum of values
    if attended:
        matrices += 2 * (columns + attended) * D**2  # query and output; keys and values
        attention += 2 * columns * attended * D
    heads = n_steps * D * config["n_q"] * config["card"]
    projections = text * D * (config["text_dim"] or 0) + chroma * D * (config["chroma_dim"] or 0)
    forward = 2 * (config["num_layers"] * (matrices + attention) + heads + projections)
    return 3 * batch_size * forward


def peak_flops(device: torch.device, precision: str) -> float | None:
    """What the device does at best in a second, at the trainer's precision; None: not known.

    So it is on CPUs: what they do at best depends on clocks, heat and neighbours.
    """
    if device.type != "cuda":
        return None
    peaks = known_peaks(torch.cuda.get_device_name(device))
    if peaks is None:
        return None
    half, single = (peak * 1e12 for peak in peaks)
    if "16" in precision:
        return half
    tf32 = torch.cuda.get_device_capability(device) >= _WITH_TF32
    return half / 2 if tf32 and torch.get_float32_matmul_precision() != "highest" else single


def known_peaks(name: str) -> tuple[float, float] | None:
    """10^12 operations a second in half precision and in float32 of a GPU with this name."""
    words = name.replace("-", " ").split()
    for chip, peaks in _PEAKS.items():
        if all(word in words for word in chip.split()):
            return peaks
    return None
