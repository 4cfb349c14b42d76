"""Training step of the language model beside transformers' MusicGen decoder of the same shape.

python -m benchmarks.train_step [--dim 512 --layers 8 --heads 8 --batch 4 --frames 250]

Both take the same codes and text, alternately in one process; the ratio is the median of pairs.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

CARD, N_Q, TEXT_LENGTH = 2048, 4, 12


def our_step(
    shape: argparse.Namespace,
    codes: "Tensor",
    text: "Tensor",
    *,
    chunked: bool = True,
    recompute: bool = False,
) -> Callable[[], None]:
    """One step of our model: delay, forward, cross entropy, backward, AdamW.

    chunked: as it is trained; else with all logits at once. recompute: activation checkpointing.
    """
    import torch
    from torch.nn import functional

    from musicgen_train.lm.model import LanguageModel
    from musicgen_train.training.transforms import recompute_layers

    lm = LanguageModel(
        n_q=N_Q, card=CARD, dim=shape.dim, num_heads=shape.heads, num_layers=shape.layers,
        text_dim=shape.dim,
    )  # fmt: skip
    if recompute:
        recompute_layers(lm)
    mask = torch.ones(text.shape[:2])
    lengths = torch.full((len(codes),), codes.shape[-1])
    scales = 1 / (N_Q * lm.n_predicted(lengths, codes.shape[-1]))

    def loss() -> "Tensor":
        if chunked:
            return lm.loss(codes, lengths, scales, text=(text, mask))[0]
        logits, valid = lm.logits(codes, text=(text, mask))
        return functional.cross_entropy(logits[valid], codes[valid])

    return stepper(lm, loss)


def transformers_step(
    shape: argparse.Namespace, codes: "Tensor", text: "Tensor", *, recompute: bool = False
) -> Callable[[], None]:
    """The same with `MusicgenForCausalLM`, whose users delay the codes themselves."""
    import torch
    from transformers import MusicgenDecoderConfig, MusicgenForCausalLM

    config = MusicgenDecoderConfig(
        vocab_size=CARD, hidden_size=shape.dim, num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads, ffn_dim=4 * shape.dim, num_codebooks=N_Q,
        dropout=0.0, pad_token_id=CARD, bos_token_id=CARD, decoder_start_token_id=CARD,
    )  # fmt: skip
    lm = MusicgenForCausalLM(config)
    if recompute:
        lm.gradient_checkpointing_enable()
    B, K, T = codes.shape
    labels = torch.full((B, T, K), CARD)
    for k in range(K):
        labels[:, k:, k] = codes[:, k, : T - k]

    def loss() -> "Tensor":
        # Without input_ids the model makes them itself, from the labels shifted right.
        return lm(encoder_hidden_states=text, labels=labels).loss

    return stepper(lm, loss)


def stepper(model: "nn.Module", loss: Callable[[], "Tensor"]) -> Callable[[], None]:
    """Forward, backward and update of one model."""
    import torch

    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return step


def seconds(step: Callable[[], None]) -> float:
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


def shape_arguments(parser: argparse.ArgumentParser, **defaults: int) -> None:
    """Add the model's and the batch's sizes to a command line."""
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=default)


def batch(shape: argparse.Namespace) -> tuple["Tensor", "Tensor"]:
    """Random codes [B, K, T] and a text [B, L, D]."""
    import torch

    torch.manual_seed(0)
    codes = torch.randint(CARD, (shape.batch, N_Q, shape.frames))
    return codes, torch.randn(shape.batch, TEXT_LENGTH, shape.dim)


def main() -> None:
    """Measure, print a table and JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    shape_arguments(parser, dim=512, layers=8, heads=8, batch=4, frames=250)
    parser.add_argument("--pairs", type=int, default=5)
    shape = parser.parse_args()

    import torch

    codes, text = batch(shape)
    ours, theirs = our_step(shape, codes, text), transformers_step(shape, codes, text)
    ours(), theirs()
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(shape.pairs)]
    frames = shape.batch * shape.frames
    result = {
        "shape": vars(shape),
        "ours_frames_per_second": frames / statistics.median(a for a, _ in pairs),
        "transformers_frames_per_second": frames / statistics.median(b for _, b in pairs),
        "ratio": statistics.median(b / a for a, b in pairs),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "machine": platform.processor() or platform.machine(),
    }
    print(f"ours         {result['ours_frames_per_second']:8.0f} frames/s")
    print(f"transformers {result['transformers_frames_per_second']:8.0f} frames/s")
    print(f"ratio        {result['ratio']:8.2f} (median of {shape.pairs} pairs)")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
