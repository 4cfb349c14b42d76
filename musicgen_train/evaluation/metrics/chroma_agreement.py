"""How far two chromagrams agree: dominant pitch class and direction, on voiced frames only."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class ChromaAgreement(NamedTuple):
    """Agreement of one pair of clips; `nan` where no frame is voiced in the reference."""

    argmax: float  # share of voiced frames with the same dominant pitch class; chance ≈ 1/12
    cosine: float  # mean cosine of the dense chroma over the same frames
    voiced: float  # share of the reference's frames that are voiced
    frames: int = 0  # that both have


def chroma_agreement(
    reference: Tensor, generated: Tensor, silence: float = 1e-4
) -> ChromaAgreement:
    """Compare dense chroma [F, 12] of a reference melody with that of generated audio.

    The longer one is cut to the shorter. Frames where the reference's largest value does not
    exceed `silence` are unvoiced and left out, for the argmax of silence is always C and would
    count as agreement. A frame that is silent only in the generated audio counts as 0. A negative
    `silence` takes every frame for voiced, as audiocraft's metric does.
    """
    assert reference.shape[-1] == generated.shape[-1], (reference.shape, generated.shape)
    frames = min(len(reference), len(generated))
    reference, generated = reference[:frames].double(), generated[:frames].double()
    voiced = reference.amax(-1) > silence
    if not voiced.any():
        return ChromaAgreement(float("nan"), float("nan"), 0.0, frames)
    reference, generated = reference[voiced], generated[voiced]
    heard = generated.amax(-1) > silence
    same = (reference.argmax(-1) == generated.argmax(-1)) & heard
    cosine = torch.cosine_similarity(reference, generated, dim=-1) * heard
    return ChromaAgreement(
        float(same.double().mean()), float(cosine.mean()), float(voiced.double().mean()), frames
    )
