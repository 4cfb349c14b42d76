"""Names of audiocraft's EnCodec weights, translated to ours."""

import re

from torch import Tensor

_RENAMES = (
    (r"^(encoder|decoder)\.model\.", r"\1.layers."),
    (r"\.convtr\.convtr\.", ".conv."),
    (r"\.conv\.conv\.", ".conv."),
    (r"\.weight_g$", ".parametrizations.weight.original0"),
    (r"\.weight_v$", ".parametrizations.weight.original1"),
    (r"^quantizer\.vq\.layers\.(\d+)\._codebook\.", r"quantizer.layers.\1.codebook."),
)


def codec_state_from_audiocraft(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename audiocraft's EnCodec state dict to `Encodec`'s; tensors are shared, not copied."""
    renamed = {}
    for name, tensor in state.items():
        for pattern, replacement in _RENAMES:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    return renamed
