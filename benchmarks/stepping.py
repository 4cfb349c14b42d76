"""One generation of ours, and one of transformers', with the time of a step in the middle."""

import time
from typing import TYPE_CHECKING, Any

from benchmarks.lm_models import N_Q
from benchmarks.timing import synchronize

if TYPE_CHECKING:
    from torch import Tensor

    from musicgen_train.lm import LanguageModel

WARM = 8  # steps that are not timed


def our_run(lm: "LanguageModel", text: "Tensor", steps: int) -> tuple[float, "Tensor"]:
    """Seconds a step, and the codes [B, K, T]."""
    import torch

    began, codes = 0.0, torch.empty(0)
    mask = torch.ones(text.shape[:2], device=text.device)
    for progress in lm.steps(steps, (text, mask), greedy=True, cfg_coef=3.0):
        if progress.done == WARM:
            synchronize()
            began = time.perf_counter()
        if progress.done == progress.total:
            codes = progress.codes()
            synchronize()
            return (time.perf_counter() - began) / (progress.total - WARM), codes
    raise AssertionError("a generation has a last step")


def their_run(model: Any, text: "Tensor", steps: int) -> tuple[float, "Tensor"]:
    """The same with `generate`, whose steps a stopping criterion watches."""
    import torch
    from transformers.modeling_outputs import BaseModelOutput

    from musicgen_train.lm.delay import default_delays, undelay

    times: list[float] = []
    delayed = torch.empty(0)
    # Our text instead of its T5's: the models are to see the same, whatever their type.
    hidden = BaseModelOutput(last_hidden_state=text.to(model.dtype))
    model.text_encoder.forward = lambda *_, **__: hidden
    ids = torch.ones(text.shape[:2], dtype=torch.long, device=text.device)

    def watch(sequence: "Tensor", scores: Any, **_: Any) -> "Tensor":
        nonlocal delayed
        synchronize()
        times.append(time.perf_counter())
        delayed = sequence
        return torch.zeros(len(sequence), dtype=torch.bool, device=sequence.device)

    model.generate(
        input_ids=ids, attention_mask=ids, do_sample=False, guidance_scale=3.0,
        max_new_tokens=steps + N_Q - 1, stopping_criteria=[watch],
    )  # fmt: skip
    codes = undelay(delayed.view(len(text), N_Q, -1)[..., 1:], default_delays(N_Q))
    return (times[-1] - times[WARM - 1]) / (len(times) - WARM), codes
