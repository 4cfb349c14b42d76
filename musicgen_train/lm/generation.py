"""Generation: what is asked for, checked, and the loop that yields after every step."""

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from musicgen_train.lm.decoder import UNKNOWN, Branches, Decoder
from musicgen_train.lm.delay import delay_codes, undelay
from musicgen_train.lm.fusing import TextCondition
from musicgen_train.lm.sampling import Sampling, draw_uniforms

if TYPE_CHECKING:
    from musicgen_train.lm.model import LanguageModel


class Given(NamedTuple):
    """What a generation starts from; all may be None."""

    text: TextCondition | None
    chroma: Tensor | None  # [B, F, 12]
    negative_text: TextCondition | None
    prompt: Tensor | None  # [B, K, T0]
    seeds: Sequence[int] | None


class Progress(NamedTuple):
    """Where a generation stands."""

    done: int  # steps
    total: int  # steps
    frames: int  # complete ones, those of a prompt included
    sequence: Tensor  # [B, K, 1 + T + max(delays)]: one tensor that fills up
    delays: Sequence[int]

    def codes(self) -> Tensor:
        """The complete frames: [B, K, frames]."""
        end = 1 + self.frames + max(self.delays)
        return undelay(self.sequence[..., 1:end], self.delays)


@torch.no_grad()
def steps(
    model: "LanguageModel",
    n_frames: int | Sequence[int],
    given: Given,
    sampling: Sampling,
    two_pass: bool,
) -> Generator[Progress, None, None]:
    """Fill the delayed sequence, one step of all codebooks at a time."""
    batch_size = infer_batch_size(n_frames, given)
    lengths = [n_frames] * batch_size if isinstance(n_frames, int) else list(n_frames)
    sequence = start_sequence(model, lengths, given.prompt).to(model.device)
    n_steps = sequence.shape[-1]
    n_known = 0 if given.prompt is None else given.prompt.shape[-1]
    seeds = given.seeds
    if seeds is None:
        seeds = torch.randint(2**63 - 1, (batch_size,)).tolist()
    uniforms = draw_uniforms(seeds, n_steps, model.n_q).to(model.device)
    branches = guidance_branches(sampling.cfg_coef, given)

    was_training = model.training
    model.eval()
    try:
        passes: list[Branches] = [(branch,) for branch in branches] if two_pass else [branches]
        decoder = Decoder(model, sequence, uniforms, given, sampling, passes)
        # Not kept by the decoder: it would keep itself, and its caches, alive.
        fill = decoder.fill if model.acceleration is None else model.acceleration.wrap(decoder.fill)
        for step in range(1 + n_known, n_steps):
            if step == 1 + n_known:
                decoder.start(step)
            else:
                fill(decoder.visible(step))
            frames = min(max(n_known, step - max(model.delays)), max(lengths))
            done, total = step - n_known, n_steps - n_known - 1
            yield Progress(done, total, frames, sequence, model.delays)
    finally:
        model.train(was_training)


def guidance_branches(cfg_coef: float, given: Given) -> Branches:
    """Which branches guidance needs: True is the conditional one, False the null one."""
    unconditional = given.text is None and given.chroma is None and given.negative_text is None
    if unconditional or cfg_coef == 1.0:
        return (True,)
    return (False,) if cfg_coef == 0.0 else (True, False)


def start_sequence(model: "LanguageModel", lengths: Sequence[int], prompt: Tensor | None) -> Tensor:
    """The delayed sequence before generation: special step, prompt, `UNKNOWN`, special tokens."""
    if min(lengths) < 1:
        raise ValueError(f"cannot generate {min(lengths)} frames: ask for at least 1")
    shape = (len(lengths), model.n_q, max(lengths))
    codes = torch.full(shape, model.special_token_id, dtype=torch.long, device="cpu")
    for row, length in zip(codes, lengths, strict=True):
        row[:, :length] = UNKNOWN
    if prompt is not None:
        if prompt.shape[1] != model.n_q:
            raise ValueError(f"a prompt of {prompt.shape[1]} codebooks for a model of {model.n_q}")
        T0 = prompt.shape[-1]
        if min(lengths) <= T0:
            raise ValueError(
                f"the prompt has {T0} frames: ask for more than that, not {min(lengths)}"
            )
        codes[..., :T0] = prompt
    return model.with_start(delay_codes(codes, model.delays, model.special_token_id))


def infer_batch_size(n_frames: int | Sequence[int], given: Given) -> int:
    """The one batch size that everything given agrees on; 1 if nothing is given."""
    texts = {"text": given.text, "negative_text": given.negative_text}
    tensors = {"chroma": given.chroma, "prompt": given.prompt}
    sizes = {
        **{name: t[0].shape[0] for name, t in texts.items() if t is not None},
        **{name: t.shape[0] for name, t in tensors.items() if t is not None},
    }
    if given.seeds is not None:
        sizes["seeds"] = len(given.seeds)
    if not isinstance(n_frames, int):
        sizes["n_frames"] = len(n_frames)
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise ValueError(f"batch sizes differ: {listed}")
    return next(iter(sizes.values()), 1)
