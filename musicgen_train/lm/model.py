"""The language model: K delayed streams of codes in, K distributions per frame out."""

import math
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from musicgen_train.lm import generation
from musicgen_train.lm.acceleration import Acceleration
from musicgen_train.lm.delay import default_delays, delay_codes, undelay
from musicgen_train.lm.fusing import Fuser, TextCondition
from musicgen_train.lm.generation import Given, Progress
from musicgen_train.lm.loss import IGNORED, chunked_cross_entropy
from musicgen_train.lm.sampling import Sampling
from musicgen_train.lm.transformer import (
    Condition,
    Cross,
    KVCache,
    Layer,
    Span,
    seen,
    sinusoid,
)


class Context(NamedTuple):
    """What a sequence is decoded under; computed once, however many steps follow."""

    prefix: Tensor | None  # [B, P, D] in front of the first step
    pad: Tensor | None  # [B] padding columns at the left of each row; None: none
    cross: Condition | None  # attended to by every layer; None: nothing
    read: Sequence[Cross]  # the same as each layer reads it; empty: each computes it anew
    added: Tensor | None  # [B, F, D] added to the steps, `chroma_rate` frames to a step

    @property
    def prefix_length(self) -> int:
        """Columns in front of the first step."""
        return 0 if self.prefix is None else self.prefix.shape[1]


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
        chroma_rate: float | None = None,
        ffn_mult: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        delays = list(delays) if delays is not None else default_delays(n_q)
        if len(delays) != n_q:
            raise ValueError(f"{len(delays)} delays for {n_q} codebooks: give one per codebook")
        if min(dim, num_heads, num_layers) < 1:
            raise ValueError(
                f"dim {dim}, num_heads {num_heads}, num_layers {num_layers}: each is at least 1"
            )
        if dim % num_heads:
            raise ValueError(f"dim {dim} is not a multiple of num_heads {num_heads}")
        if chroma_dim and fuse_chroma == "sum" and not chroma_rate:
            raise ValueError("fuse_chroma='sum' needs chroma_rate: chroma frames per codec frame")
        self.config: dict[str, Any] = {
            name: value for name, value in locals().items() if name not in ("self", "__class__")
        }
        self.n_q = n_q
        self.card = card
        self.dim = dim
        self.delays = delays
        self.special_token_id = card
        self.chroma_rate = chroma_rate or 0.0
        self.acceleration: Acceleration | None = None  # how generation runs a step
        self.rounded_to: str | None = None  # what `prepare` left of the weights
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
        span = self.whole(context, sequence.shape[-1])
        return self.step_logits(sequence, context, span).transpose(1, 2)

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

    def n_predicted(self, lengths: Tensor, n_frames: int) -> Tensor:
        """How many codes of each codebook `loss` predicts, of rows [B] frames long: [K]."""
        delays = torch.tensor(self.delays, device=lengths.device)
        last = (n_frames - delays)[:, None]
        return torch.minimum(lengths, last).clamp_min(0).sum(1)

    def loss(
        self,
        codes: Tensor,
        lengths: Tensor,
        scales: Tensor,
        text: TextCondition | None = None,
        chroma: Tensor | None = None,
        *,
        chunk: int = 1024,
    ) -> tuple[Tensor, Tensor]:
        """The scaled cross entropies added up, to train on, and each one's sum: scalar, [K] nats.

        codes [B, K, T], of which each row has `lengths` [B] frames; scales [K] of the codebooks,
        for their mean 1 / (K * n_predicted). What is predicted, and from what, is as in `logits`,
        but the logits of `chunk` steps only are there at once.
        """
        n_frames = codes.shape[-1]
        valid = torch.arange(n_frames, device=codes.device) < lengths[:, None, None]
        sequence = self.with_start(delay_codes(codes, self.delays, self.special_token_id))
        context = self.context(len(codes), text, chroma)
        hidden = self.hidden(sequence[..., :n_frames], context, self.whole(context, n_frames))
        # Step s predicts step s + 1 of the sequence, which starts with the special one.
        targets = delay_codes(codes.masked_fill(~valid, IGNORED), self.delays, IGNORED)
        return chunked_cross_entropy(
            hidden, self.heads.weight, targets[..., :n_frames], scales, chunk
        )

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.embedding.weight.device

    @torch.no_grad()
    def generate(
        self,
        n_frames: int | Sequence[int],
        text: TextCondition | None = None,
        chroma: Tensor | None = None,
        *,
        callback: Callable[[int, int], None] | None = None,
        **options: Any,
    ) -> Tensor:
        """Sample codes [B, K, max(n_frames)]; `callback` gets (steps done, steps in all).

        All else is as in `steps`, of which this is the end.
        """
        codes = torch.empty(0)
        with closing(self.steps(n_frames, text, chroma, **options)) as steps:
            for progress in steps:
                if callback is not None:
                    callback(progress.done, progress.total)
                if progress.done == progress.total:
                    codes = progress.codes()
        return codes

    def steps(
        self,
        n_frames: int | Sequence[int],
        text: TextCondition | None = None,
        chroma: Tensor | None = None,
        *,
        negative_text: TextCondition | None = None,
        prompt: Tensor | None = None,
        cfg_coef: float = 3.0,
        two_pass: bool = False,
        greedy: bool = False,
        top_k: int = 250,
        top_p: float = 0.0,
        temperature: float = 1.0,
        seeds: Sequence[int] | None = None,
    ) -> Generator[Progress, None, None]:
        """Sample step by step; closing the generator cancels.

        n_frames: for all rows, or one number a row (the prompt's frames included); behind its end a
        row holds the special token. B follows from the conditions, the prompt [B, K, T0], the seeds
        and n_frames. Row b depends on seeds[b], its own length and its own conditions only.
        negative_text takes the place of the null text in guidance. two_pass computes the branches
        of guidance one after the other, which takes less memory.
        """
        sampling = Sampling(cfg_coef, greedy, top_k, top_p, temperature)
        given = Given(text, chroma, negative_text, prompt, seeds)
        return generation.steps(self, n_frames, given, sampling, two_pass)

    def with_start(self, delayed: Tensor) -> Tensor:
        """Put the special step in front: [B, K, S] -> [B, K, S + 1]."""
        return nn.functional.pad(delayed, (1, 0), value=self.special_token_id)

    def context(
        self,
        batch_size: int,
        text: TextCondition | None,
        chroma: Tensor | None,
        branches: Sequence[bool] = (True,),
        negative_text: TextCondition | None = None,
    ) -> Context:
        """Project and place the conditions; see `Fuser` for `branches`."""
        fused = self.fuser(batch_size, text, chroma, branches, negative_text)
        cross = None
        if fused.cross is not None and fused.cross_mask is not None:
            cross = Condition(fused.cross, fused.cross_mask)
        return Context(fused.prefix, fused.pad, cross, [], fused.added)

    def read(self, context: Context) -> Context:
        """The context with what every step of a generation reads of it, computed once."""
        if context.cross is None:
            return context
        attentions = [cast(Layer, layer).cross_attn for layer in self.layers]
        return context._replace(read=[a.read(context.cross) for a in attentions])

    def whole(self, context: Context, n_steps: int, cache: KVCache | None = None) -> Span:
        """The span of the prefix and the first `n_steps` steps."""
        n_columns = context.prefix_length + n_steps
        columns = torch.arange(n_columns, device=self.device)
        mask = None if context.pad is None else seen(columns, n_columns, context.pad)
        return Span(columns, mask, n_columns, cache)

    def step_logits(self, sequence: Tensor, context: Context, span: Span) -> Tensor:
        """Logits of the given steps: [B, K, S] -> [B, S, K, card]; see `hidden`."""
        x = self.hidden(sequence, context, span)
        return self.heads(x).unflatten(-1, (self.n_q, self.card))

    def hidden(self, sequence: Tensor, context: Context, span: Span) -> Tensor:
        """What the heads read of the given steps: [B, K, S] -> [B, S, D].

        The span's columns are those of the steps, in front of them those of the prefix if it enters
        with them.
        """
        n_steps = sequence.shape[-1]
        x = self.embedding(sequence + self.offsets).sum(dim=1)
        if context.added is not None:
            step = span.columns[-n_steps:] - context.prefix_length
            frame = (step * self.chroma_rate).round().long()  # a chroma's frames are centred
            x = x + context.added[:, frame.clamp(max=context.added.shape[1] - 1)]
        if context.prefix is not None and len(span.columns) > n_steps:
            x = torch.cat([context.prefix, x], dim=1)
        positions = span.columns
        if context.pad is not None:
            positions = (positions - context.pad[:, None]).clamp(min=0)
        x = x + sinusoid(positions, self.dim).to(x.dtype)
        for index, layer in enumerate(self.layers):
            cross = context.read[index] if context.read else context.cross
            # A compiled layer would make a case of its own of each index.
            x = layer(x, span, cross, index if span.cache is not None else 0)
        return self.final_norm(x[:, -n_steps:])


def trunc_normal(weight: Tensor, std: float) -> None:
    """Fill with a normal distribution cut at three standard deviations."""
    nn.init.trunc_normal_(weight, std=std, a=-3 * std, b=3 * std)
