"""Which layers of one transformer become which of another, of another depth."""

from typing import NamedTuple


class LayerOrigin(NamedTuple):
    """Where a layer comes from."""

    layer: int  # of the source
    added: bool  # a copy that must add nothing at first, as the layer itself is there already


def layer_origins(n_target: int, n_source: int) -> list[LayerOrigin]:
    """The origin of each of `n_target` layers.

    More layers: the added ones are spread evenly, each behind the one that it is a copy of (LLaMA
    Pro, Wu et al. 2024: silenced copies between the known layers). A stack of new ones at the end
    would be where a pre-norm transformer uses its depth least (Sun et al. 2025). From 4 to 6, a
    prime for what is added:

        0 1 1' 2 3 3'

    Fewer layers: evenly spread ones, the first and the last among them (as distillation starts a
    student, Shleifer and Rush 2020). From 6 to 4:

        0 2 3 5
    """
    if n_target >= n_source:
        owners = [-(-(t + 1) * n_source // n_target) - 1 for t in range(n_target)]
        return [LayerOrigin(o, t > 0 and owners[t - 1] == o) for t, o in enumerate(owners)]
    gaps = max(1, n_target - 1)
    return [
        LayerOrigin((2 * t * (n_source - 1) + gaps) // (2 * gaps), False) for t in range(n_target)
    ]
