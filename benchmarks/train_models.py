"""One training step of the language model by us, in several ways, and by transformers."""

from collections.abc import Callable
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
    onednn: bool = False  # float32 products on a CPU by oneDNN
    kept: bool = False  # freed memory of the process, not given back to the system
    compiled: bool = False  # by torch.compile, layer by layer
    attention: str = "sdpa"
    float8: bool = False  # products in 8 bits


FOR_CPUS = ("oneDNN's products", "freed memory kept", "attention for CPUs")
AS_TRAIN = Ways(chunked=True, fused=True, onednn=True, kept=True, attention="auto")
TECHNIQUES = {
    "plain": Ways(),
    "chunked loss": Ways(chunked=True),
    "fused AdamW": Ways(fused=True),
    "oneDNN's products": Ways(onednn=True),
    "freed memory kept": Ways(kept=True),
    "attention for CPUs": Ways(attention="cpu"),
    "recomputed layers": Ways(recompute=True),
    "compiled layers": Ways(compiled=True),
    "xformers' attention": Ways(attention="xformers"),
    "8-bit products": Ways(float8=True),
    "as train.py does": AS_TRAIN,
    "as train.py does, recomputed": AS_TRAIN._replace(recompute=True),
    "as train.py does, compiled": AS_TRAIN._replace(compiled=True),
    "as train.py does, compiled, 8-bit products": AS_TRAIN._replace(compiled=True, float8=True),
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


def our_step(shape: Shape, batch: Batch, ways: Ways, dtype: str = "float32") -> Step:
    """Delay, forward, cross entropy, backward, AdamW; in bfloat16 by autocast.

    What the device cannot do raises UserError.
    """
    from musicgen_train.training.freed_memory import keep_freed_memory

    n_q, device = batch.codes.shape[1], batch.codes.device.type
    if ways.kept and device == "cpu":
        keep_freed_memory()
    lm = our_model(shape, device, text_dim=shape.dim, n_q=n_q).train()
    transform(lm, ways)
    loss = our_loss(lm, batch, chunked=ways.chunked)
    step = stepper(lm, loss, adamw(lm, fused=ways.fused), dtype)
    return step if ways.onednn or dtype != "float32" else without_onednn(step)


def without_onednn(step: Step) -> Step:
    """With the products that torch does by default."""
    import torch

    def off() -> None:
        # None: as it is, which the parameter's type does not know.
        with torch.backends.mkldnn.flags(enabled=False, allow_tf32=None):  # type: ignore[arg-type]
            step()

    return off


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


def transformers_step(
    shape: Shape, batch: Batch, dtype: str = "float32", *, recompute: bool = False
) -> Step:
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

    return stepper(lm, loss, adamw(lm), dtype)


def stepper(
    model: "nn.Module", loss: Callable[[], "Tensor"], optimizer: "Optimizer", dtype: str
) -> Step:
    """Forward, backward and update of one model, in bfloat16 by autocast."""
    import torch

    device = next(model.parameters()).device.type

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=dtype == "bfloat16"):
            value = loss()
        value.backward()
        optimizer.step()

    return step


def adamw(model: "nn.Module", *, fused: bool = False) -> "Optimizer":
    """Of the weights that are trained; if not fused, torch chooses how it runs."""
    import torch

    trained = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.AdamW(trained, lr=1e-4, fused=fused or None)
