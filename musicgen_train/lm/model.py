"""The language model: K delayed streams of codes in, K distributions per frame out."""

import math
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from musicgen_train.lm import generation
from musicgen_train.lm.delay import default_delays, delay_codes, undelay
from musicgen_train.lm.fusing import Fuser, TextCondition
from musicgen_train.lm.transformer import KVCache, Layer, sinusoid


class Context(NamedTuple):
    """What a sequence is decoded under; computed once, however many steps follow."""

    prefix: Tensor | None  # [B, P, D] in front of the first step
    pad: Tensor | None  # [B] padding columns at the left of each row; None: none
    # Per layer, what cross-attention reads: ((keys, values), mask). None: nothing to attend to.
    cross: Sequence[tuple[tuple[Tensor, Tensor], Tensor] | None]


class LanguageModel(nn.Module):
    """A causal transformer over the delayed codebooks of a codec.

    The streams' embeddings are summed at the input; one head matrix serves all codebooks.
    """

    offsets: Tensor

    def __init__(
        self,
        *,
        n_q: int,
        card: int,
        dim: int,
        num_heads: int,
        num_layers: int,
        delays: Sequence[int] | None = None,
        text_dim: int | None = None,
        chroma_dim: int | None = None,
        fuse_text: str = "cross",
        fuse_chroma: str = "prepend",
        chroma_length: int = 235,
        ffn_mult: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        delays = list(delays) if delays is not None else default_delays(n_q)
        if len(delays) != n_q:
            raise ValueError(f"{len(delays)} delays for {n_q} codebooks: give one per codebook")
        if dim % num_heads:
            raise ValueError(f"dim {dim} is not a multiple of num_heads {num_heads}")
        self.config: dict[str, Any] = {
            name: value for name, value in locals().items() if name not in ("self", "__class__")
        }
        self.n_q = n_q
        self.card = card
        self.dim = dim
        self.delays = delays
        self.special_token_id = card
        self.fuser = Fuser(dim, text_dim, chroma_dim, fuse_text, fuse_chroma, chroma_length)
        self.embedding = nn.Embedding(n_q * (card + 1), dim)
        self.layers = nn.ModuleList(
            Layer(dim, num_heads, ffn_mult * dim, dropout, self.fuser.cross_attention)
            for _ in range(num_layers)
        )
        self.final_norm = nn.LayerNorm(dim, eps=1e-5)
        self.heads = nn.Linear(dim, n_q * card, bias=False)
        offsets = torch.arange(n_q)[:, None] * (card + 1)
        self.register_buffer("offsets", offsets, persistent=False)
        self._initialise()

    def _initialise(self) -> None:
        """Truncated normal with std 1 / sqrt(fan_in), smaller by sqrt(2 l) inside layer l."""
        trunc_normal(self.embedding.weight, 1 / math.sqrt(self.dim))
        trunc_normal(self.heads.weight, 1 / math.sqrt(self.dim))
        for depth, layer in enumerate(self.layers, start=1):
            for module in layer.modules():
                if isinstance(module, nn.Linear):
                    trunc_normal(module.weight, 1 / math.sqrt(module.in_features * 2 * depth))

    def forward(
        self, sequence: Tensor, text: TextCondition | None = None, chroma: Tensor | None = None
    ) -> Tensor:
        """Delayed steps with their leading special step [B, K, S] -> [B, K, S, card].

        Step s of the result predicts step s + 1 of the sequence.
        """
        context = self.context(sequence.shape[0], text, chroma)
        return self.step_logits(sequence, context).transpose(1, 2)

    def logits(
        self,
        codes: Tensor,
        text: TextCondition | None = None,
        chroma: Tensor | None = None,
        full: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Predictions of every code from those before it: [B, K, T] -> logits, mask.

        logits [B, K, T, card] are 0 where mask [B, K, T] is False. As the reference trains, the
        delayed sequence is cut after T steps, so codebook k lacks its last delays[k] frames: a
        crop's end is rarely a song's end. `full` keeps them.

        text: encoder output before projection [B, L, E] and mask [B, L] (a row of zeros: none).
        chroma: [B, F, 12]; a row of null chroma (bin 0 throughout) has no melody.
        """
        B, K, T = codes.shape
        assert self.n_q == K, f"codes with {K} codebooks for a model of {self.n_q}"
        n_steps = T + max(self.delays) if full else T
        sequence = self.with_start(delay_codes(codes, self.delays, self.special_token_id))
        steps = self(sequence[..., :n_steps], text, chroma)
        frame = torch.arange(T, device=codes.device)
        delay = torch.tensor(self.delays, device=codes.device)
        mask = (frame + delay[:, None] < n_steps).expand(B, K, T)
        return undelay(steps, self.delays, n_frames=T), mask

    @torch.no_grad()
    def generate(
        self,
        n_frames: int,
        text: TextCondition | None = None,
        chroma: Tensor | None = None,
        *,
        prompt: Tensor | None = None,
        cfg_coef: float = 3.0,
        greedy: bool = False,
        top_k: int = 250,
        top_p: float = 0.0,
        temperature: float = 1.0,
        seeds: Sequence[int] | None = None,
        callback: Callable[[int, int], None] | None = None,
    ) -> Tensor:
        """Sample codes [B, K, n_frames], the prompt's frames [B, K, T0] included.

        B follows from the conditions, the prompt and the seeds. Sample b depends on seeds[b] and
        its own conditions only. `callback` gets (steps done, steps in all).
        """
        sampling = generation.Sampling(cfg_coef, greedy, top_k, top_p, temperature)
        steps = generation.steps(self, n_frames, text, chroma, prompt, sampling, seeds)
        sequence = torch.empty(0)
        with closing(steps):  # a callback that raises must not leave the model in eval mode
            for step in steps:
                sequence = step.sequence
                if callback is not None:
                    callback(step.done, step.total)
        return undelay(sequence[..., 1:], self.delays)

    def with_start(self, delayed: Tensor) -> Tensor:
        """Put the special step in front: [B, K, S] -> [B, K, S + 1]."""
        return nn.functional.pad(delayed, (1, 0), value=self.special_token_id)

    def context(
        self,
        batch_size: int,
        text: TextCondition | None,
        chroma: Tensor | None,
        branches: Sequence[bool] = (True,),
    ) -> Context:
        """Project and place the conditions; see `Fuser` for `branches`."""
        fused = self.fuser(batch_size, text, chroma, branches)
        if fused.cross is None or fused.cross_mask is None:
            return Context(fused.prefix, fused.pad, [None] * len(self.layers))
        keys_values = [
            cast(Layer, layer).cross_attn.keys_values(fused.cross) for layer in self.layers
        ]
        cross = [(kv, fused.cross_mask) for kv in keys_values]
        return Context(fused.prefix, fused.pad, cross)

    def step_logits(
        self, sequence: Tensor, context: Context, cache: KVCache | None = None
    ) -> Tensor:
        """Logits of the given steps: [B, K, S] -> [B, S, K, card].

        With a cache the steps follow those it already holds; the prefix enters before the first.
        """
        x = self.embedding(sequence + self.offsets).sum(dim=1)
        n_steps = x.shape[1]
        first = 0 if cache is None else cache.filled
        if context.prefix is not None and first == 0:
            x = torch.cat([context.prefix, x], dim=1)
        columns = torch.arange(first, first + x.shape[1], device=x.device)
        positions = columns
        if context.pad is not None:
            positions = (columns - context.pad[:, None]).clamp(min=0)
        x = x + sinusoid(positions, self.dim).to(x.dtype)
        mask = padding_mask(columns, context.pad)
        for index, layer in enumerate(self.layers):
            x = layer(x, mask, context.cross[index], cache, index)
        if cache is not None:
            cache.filled += len(columns)
        x = self.final_norm(x[:, -n_steps:])
        return self.heads(x).unflatten(-1, (self.n_q, self.card))


def padding_mask(columns: Tensor, pad: Tensor | None) -> Tensor | None:
    """Who may attend to whom in rows with padding at the left: [B, 1, len(columns), end].

    A column sees its past but no padding; padding sees itself, as softmax needs something.
    Without padding the plain causal rule holds and no mask is needed: None.
    """
    if pad is None:
        return None
    keys = torch.arange(int(columns[-1]) + 1, device=columns.device)
    query = columns[:, None]
    seen = (keys <= query) & (keys >= pad[:, None, None])
    return (seen | (keys == query))[:, None]


def trunc_normal(weight: Tensor, std: float) -> None:
    """Fill with a normal distribution cut at three standard deviations."""
    nn.init.trunc_normal_(weight, std=std, a=-3 * std, b=3 * std)
