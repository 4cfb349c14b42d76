"""One training step of the language model by us, in several ways, and by transformers."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.lm_models import CARD, N_Q, TEXT_LENGTH, Shape, our_model, their_decoder

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from musicgen_train.lm import LanguageModel

Step = Callable[[], None]


class Ways(NamedTuple):
    """How a step of ours is computed."""

    chunked: bool = False  # cross entropy by chunks; else with all logits at once
    fused: bool = False  # one kernel for all of AdamW
    recompute: bool = False  # layers are computed again in the backward pass
    compiled: bool = False  # by torch.compile, layer by layer
    attention: str = "sdpa"
    float8: bool = False  # products in 8 bits


TECHNIQUES = {
    "plain": Ways(),
    "chunked loss": Ways(chunked=True),
    "fused AdamW": Ways(fused=True),
    "recomputed layers": Ways(recompute=True),
    "compiled layers": Ways(compiled=True),
    "xformers' attention": Ways(attention="xformers"),
    "8-bit products": Ways(float8=True),
    "as train.py does": Ways(chunked=True, fused=True),
    "as train.py does, recomputed": Ways(chunked=True, fused=True, recompute=True),
    "as train.py does, compiled": Ways(chunked=True, fused=True, compiled=True),
    "as train.py does, compiled, 8-bit products": Ways(
        chunked=True, fused=True, compiled=True, float8=True
    ),
}


class Batch(NamedTuple):
    """What is trained on: random codes and texts."""

    codes: "Tensor"  # [B, K, T]
    text: "Tensor"  # [B, L, D]

    @property
    def frames(self) -> int:
        """Of all rows."""
        return self.codes.shape[0] * self.codes.shape[2]


def random_batch(
    shape: Shape, batch_size: int, n_frames: int, device: str, n_q: int = N_Q
) -> Batch:
    """The same for everybody."""
    import torch

    torch.manual_seed(0)
    codes = torch.randint(CARD, (batch_size, n_q, n_frames))
    return Batch(codes.to(device), torch.randn(batch_size, TEXT_LENGTH, shape.dim).to(device))


def our_step(shape: Shape, batch: Batch, ways: Ways) -> Step:
    """Delay, forward, cross entropy, backward, AdamW; on a GPU in bfloat16 autocast.

    What the device cannot do raises UserError.
    """
    n_q, device = batch.codes.shape[1], batch.codes.device.type
    lm = our_model(shape, device, text_dim=shape.dim, n_q=n_q).train()
    transform(lm, ways)
    loss = our_loss(lm, batch, chunked=ways.chunked)
    return stepper(lm, loss, adamw(lm, fused=ways.fused))


def transform(lm: "LanguageModel", ways: Ways) -> None:
    """Prepare a model as the training module would, in its order."""
    from musicgen_train.training import transforms

    if ways.recompute:
        transforms.recompute_layers(lm)
    transforms.use_attention(lm, ways.attention, lm.device)
    if ways.float8:
        transforms.check_float8(lm.device)
        transforms.use_float8(lm)
    if ways.compiled:
        transforms.compile_layers(lm)


def our_loss(lm: "LanguageModel", batch: Batch, *, chunked: bool) -> Callable[[], "Tensor"]:
    """Mean cross entropy of a batch."""
    import torch
    from torch.nn import functional

    codes, device = batch.codes, batch.codes.device
    text = batch.text, torch.ones(batch.text.shape[:2], device=device)
    lengths = torch.full((len(codes),), codes.shape[-1], device=device)
    scales = 1 / (lm.n_q * lm.n_predicted(lengths, codes.shape[-1]))

    def loss() -> "Tensor":
        if chunked:
            return lm.loss(codes, lengths, scales, text=text)[0]
        logits, valid = lm.logits(codes, text=text)
        ce = functional.cross_entropy(logits[valid], codes[valid], reduction="none")
        return (ce * scales[:, None].expand_as(codes)[valid]).sum()

    return loss


def transformers_step(shape: Shape, batch: Batch, *, recompute: bool = False) -> Step:
    """The same with `MusicgenForCausalLM` as it comes (sdpa attention, not compiled).

    Its users delay the codes themselves.
    """
    import torch

    lm = their_decoder(shape, batch.codes.device.type).train()
    if recompute:
        lm.gradient_checkpointing_enable()
    B, K, T = batch.codes.shape
    labels = torch.full((B, T, K), CARD, device=batch.codes.device)
    for k in range(K):
        labels[:, k:, k] = batch.codes[:, k, : T - k]

    # Without input_ids the model makes them itself, from the labels shifted right.
    def loss() -> "Tensor":
        return lm(encoder_hidden_states=batch.text, labels=labels).loss

    return stepper(lm, loss, adamw(lm))


def stepper(model: "nn.Module", loss: Callable[[], "Tensor"], optimizer: "Optimizer") -> Step:
    """Forward, backward and update of one model."""
    device = next(model.parameters()).device.type

    def step() -> None:
        optimizer.zero_grad()
        with autocast(device):
            value = loss()
        value.backward()
        optimizer.step()

    return step


def adamw(model: "nn.Module", *, fused: bool = False) -> "Optimizer":
    """Of the weights that are trained; if not fused, torch chooses how it runs."""
    import torch

    trained = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.AdamW(trained, lr=1e-4, fused=fused or None)


def autocast(device: str) -> AbstractContextManager:
    """bfloat16 on a GPU, as `trainer=gpu` trains; float32 on a CPU."""
    import torch

    return torch.autocast(device, torch.bfloat16, enabled=device == "cuda")
