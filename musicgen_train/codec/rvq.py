"""Residual vector quantizer with EMA codebooks (van den Oord et al. 2017; Zeghidour et al. 2021).

Buffers are named as in transformers' `EncodecModel`: `layers.k.codebook.embed` and its averages.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from musicgen_train.codec.ranks import from_first_rank, gather_rows, sum_over_ranks


def nearest(x: Tensor, centroids: Tensor) -> Tensor:
    """Index of the closest centroid in Euclidean distance: [M, D], [card, D] -> [M]."""
    # |x - c|^2 without |x|^2, which does not change the arg-min. Half precision would change it.
    with torch.autocast(x.device.type, enabled=False):
        return torch.addmm(centroids.square().sum(1), x, centroids.t(), alpha=-2).argmin(1)


def sample_rows(x: Tensor, n: int, rng: torch.Generator | None = None) -> Tensor:
    """Draw n rows of x [M, D], without replacement as far as M allows."""
    if len(x) >= n:
        return x[torch.randperm(len(x), generator=rng, device="cpu")[:n].to(x.device)]
    return x[torch.randint(len(x), (n,), generator=rng, device="cpu").to(x.device)]


def kmeans(
    x: Tensor, n: int, iterations: int, rng: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Lloyd's algorithm on x [M, D] from n random rows: centroids [n, D], cluster sizes [n]."""
    centroids = sample_rows(x, n, rng).clone()
    sizes = torch.zeros(n, dtype=x.dtype, device=x.device)
    for _ in range(iterations):
        index = nearest(x, centroids)
        sizes = torch.bincount(index, minlength=n).to(x.dtype)
        sums = torch.zeros_like(centroids).index_add_(0, index, x)
        filled = sizes > 0
        centroids[filled] = sums[filled] / sizes[filled, None]
    return centroids, sizes


class Codebook(nn.Module):
    """`card` vectors of width `dimension`, moved by exponential averages instead of gradients."""

    inited: Tensor
    cluster_size: Tensor
    embed: Tensor
    embed_avg: Tensor

    def __init__(
        self,
        dimension: int,
        card: int,
        *,
        decay: float,
        dead_code_threshold: float,
        kmeans_iterations: int,
        epsilon: float = 1e-5,
    ):
        super().__init__()
        self.card = card
        self.decay = decay
        self.dead_code_threshold = dead_code_threshold
        self.kmeans_iterations = kmeans_iterations
        self.epsilon = epsilon
        embed = nn.init.kaiming_uniform_(torch.empty(card, dimension))
        self.register_buffer("inited", torch.zeros(1))
        self.register_buffer("cluster_size", torch.zeros(card))
        self.register_buffer("embed", embed)
        self.register_buffer("embed_avg", embed.clone())

    def initialise(self, x: Tensor, rng: torch.Generator | None = None) -> None:
        """Start from k-means on latents x [M, D], which all ranks share, as rank 0 draws it."""
        centroids, sizes = kmeans(x, self.card, self.kmeans_iterations, rng)
        centroids, sizes = from_first_rank(centroids), from_first_rank(sizes)
        self.embed.copy_(centroids)
        self.cluster_size.copy_(sizes)
        self.embed_avg.copy_(centroids * sizes[:, None])
        self.inited.fill_(1)

    def encode(self, x: Tensor) -> Tensor:
        """[M, D] -> [M] indices."""
        return nearest(x, self.embed)

    def update(self, x: Tensor, index: Tensor) -> None:
        """One EMA step towards the latents x [M, D], assigned to `index` [M], of all ranks."""
        self._revive_dead_codes(x)
        counts = sum_over_ranks(torch.bincount(index, minlength=self.card).to(x.dtype))
        sums = sum_over_ranks(torch.zeros_like(self.embed).index_add_(0, index, x))
        self.cluster_size.lerp_(counts, 1 - self.decay)
        self.embed_avg.lerp_(sums, 1 - self.decay)
        total = self.cluster_size.sum()
        smoothed = (self.cluster_size + self.epsilon) / (total + self.card * self.epsilon) * total
        self.embed.copy_(self.embed_avg / smoothed[:, None])

    def _revive_dead_codes(self, x: Tensor) -> None:
        dead = self.cluster_size < self.dead_code_threshold
        n_dead = int(dead.sum())
        if n_dead == 0:
            return
        fresh = from_first_rank(sample_rows(gather_rows(x), n_dead))
        # A revived code starts at the threshold, or its first average would throw it far away.
        self.embed[dead] = fresh
        self.embed_avg[dead] = fresh * self.dead_code_threshold
        self.cluster_size[dead] = self.dead_code_threshold


class Quantized(NamedTuple):
    """Output of the quantizer."""

    latents: Tensor  # [B, D, T], straight-through in training
    codes: Tensor  # [B, K, T] int64; K < n_q where dropout left codebooks out
    commitment: Tensor  # scalar: mean over codebooks of the squared distance to the chosen codes


class ResidualVectorQuantizer(nn.Module):
    """n_q codebooks, each of which quantizes what the one before left over.

    With `dropout` a training step uses the first 1, …, n_q of them, equally likely, so that any
    number of codebooks decodes well: one model for many bitrates.
    """

    def __init__(
        self,
        *,
        dimension: int,
        n_q: int,
        card: int,
        decay: float = 0.99,
        dead_code_threshold: float = 2.0,
        kmeans_iterations: int = 50,
        dropout: bool = False,
    ):
        super().__init__()
        self.dropout = dropout
        self.layers = nn.ModuleList(
            nn.ModuleDict(
                {
                    "codebook": Codebook(
                        dimension,
                        card,
                        decay=decay,
                        dead_code_threshold=dead_code_threshold,
                        kmeans_iterations=kmeans_iterations,
                    )
                }
            )
            for _ in range(n_q)
        )

    @property
    def codebooks(self) -> list[Codebook]:
        return [layer["codebook"] for layer in self.layers]  # type: ignore[index]

    def forward(self, latents: Tensor) -> Quantized:
        """Quantize latents [B, D, T]; in training the codebooks also take their EMA step."""
        latents = latents.float()
        residual = latents.detach().transpose(1, 2).flatten(0, 1)  # [B * T, D]
        target = latents.transpose(1, 2).flatten(0, 1)
        total = torch.zeros_like(residual)
        indices, penalties = [], []
        for codebook in self.codebooks[: self._n_used(latents)]:
            if self.training and not codebook.inited:
                codebook.initialise(gather_rows(residual))
            index = codebook.encode(residual)
            chosen = F.embedding(index, codebook.embed)
            # Each codebook pulls on its own residual, as if the earlier ones were constants.
            penalties.append(F.mse_loss(target - total, chosen))
            if self.training:
                codebook.update(residual, index)
            total = total + chosen
            residual = residual - chosen
            indices.append(index)
        B, D, T = latents.shape
        quantized = total.view(B, T, D).transpose(1, 2)
        if self.training:
            quantized = latents + (quantized - latents).detach()
        codes = torch.stack(indices).view(len(indices), B, T).transpose(0, 1)
        return Quantized(quantized, codes, torch.stack(penalties).mean())

    def _n_used(self, latents: Tensor) -> int:
        """How many codebooks this step uses: all ranks the same, or their sums would not meet."""
        if not (self.training and self.dropout):
            return len(self.layers)
        drawn = torch.randint(1, len(self.layers) + 1, (1,))
        return int(from_first_rank(drawn.to(latents.device)))

    @torch.no_grad()
    def initialise(self, latents: Tensor, rng: torch.Generator | None = None) -> None:
        """Start every codebook by k-means on a pool of latents [M, D], the same on all ranks."""
        residual = latents.float()
        for codebook in self.codebooks:
            codebook.initialise(residual, rng)
            residual = residual - F.embedding(codebook.encode(residual), codebook.embed)

    def encode(self, latents: Tensor, n_q: int | None = None) -> Tensor:
        """[B, D, T] -> [B, K, T] int64, by the first n_q codebooks (None: all of them)."""
        B, D, T = latents.shape
        residual = latents.transpose(1, 2).reshape(B * T, D).float()
        indices = []
        for codebook in self.codebooks[:n_q]:
            index = codebook.encode(residual)
            residual = residual - F.embedding(index, codebook.embed)
            indices.append(index)
        return torch.stack(indices).view(len(indices), B, T).transpose(0, 1)

    def decode(self, codes: Tensor) -> Tensor:
        """[B, K, T] -> [B, D, T]; K may be smaller than n_q."""
        vectors = [
            F.embedding(codes[:, k], codebook.embed)
            for k, codebook in enumerate(self.codebooks[: codes.shape[1]])
        ]
        return torch.stack(vectors).sum(0).transpose(1, 2)
