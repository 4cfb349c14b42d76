"""Laws of the codec, its quantizer and its start."""

from itertools import pairwise

import pytest
import torch

from musicgen_train.codec.encodec import Encodec
from musicgen_train.codec.rvq import Codebook, kmeans, nearest
from musicgen_train.errors import UserError
from tests.conftest import TINY_CODEC


@pytest.mark.parametrize("n_samples", [1, 19, 20, 21, 2000])
def test_n_samples_become_the_ceiling_of_n_over_hop_frames(codec, n_samples):
    codes = codec.encode(torch.randn(2, 1, n_samples))
    n_frames = -(-n_samples // codec.hop_length)
    assert codes.shape == (2, codec.n_q, n_frames)
    assert codec.decode(codes).shape == (2, 1, n_frames * codec.hop_length)
    assert codec(torch.randn(2, 1, n_samples)).wav.shape == (2, 1, n_samples)


def test_a_causal_codec_does_not_hear_the_future():
    causal = Encodec(**TINY_CODEC, causal=True).eval()
    wav = torch.randn(1, 1, 400)
    changed = wav.clone()
    changed[..., 200:] = 0
    frames = 200 // causal.hop_length
    first, second = causal.encoder(wav), causal.encoder(changed)
    assert torch.equal(first[..., :frames], second[..., :frames])
    assert not torch.equal(first[..., frames:], second[..., frames:])


@pytest.mark.parametrize("seed", range(3))
def test_the_start_keeps_the_power_of_music_through_encoder_and_decoder(seed):
    torch.manual_seed(seed)
    codec = Encodec(**{**TINY_CODEC, "n_filters": 16, "dimension": 64})
    wav = 0.125 * torch.randn(4, 1, 4000)
    latents = codec.encoder(wav)
    assert 0.3 < latents.std() < 2.0
    assert 0.3 < codec.decoder(latents).std() / wav.std() < 2.0


def test_a_codebook_more_lowers_the_error(codec):
    latents = codec.encoder(torch.randn(4, 1, 4000))
    codes = codec.quantizer.encode(latents)
    vectors = torch.stack(
        [cb.embed[codes[:, k]] for k, cb in enumerate(codec.quantizer.codebooks)]
    ).transpose(2, 3)
    errors = [(latents - vectors[: k + 1].sum(0)).square().mean() for k in range(codec.n_q)]
    assert all(later < earlier for earlier, later in pairwise(errors))


def test_gradients_pass_straight_through_the_quantizer(codec):
    codec.train()
    latents = torch.randn(2, 8, 10, requires_grad=True)
    quantized, _, _ = codec.quantizer(latents)
    (grad,) = torch.autograd.grad((quantized * 3).sum(), [latents])
    assert torch.equal(grad, torch.full_like(latents, 3))


def test_kmeans_ends_where_each_centroid_is_the_mean_of_its_cluster():
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(200, 3, generator=rng)
    centroids, sizes = kmeans(x, 5, 100, rng)
    index = nearest(x, centroids)
    assert sizes.sum() == 200
    for i in range(5):
        assert sizes[i] == (index == i).sum() > 0
        torch.testing.assert_close(centroids[i], x[index == i].mean(0))


def test_dead_codes_move_to_where_the_latents_are():
    torch.manual_seed(0)
    book = Codebook(2, 4, decay=0.5, dead_code_threshold=0.5, kmeans_iterations=5)
    book.embed.copy_(torch.tensor([[5.0, 5.0], [100, 100], [200, 200], [300, 300]]))
    book.embed_avg.copy_(book.embed)
    book.cluster_size.copy_(torch.tensor([1.0, 1, 1, 1]))
    book.inited.fill_(1)
    for _ in range(20):
        x = 5 + 0.1 * torch.randn(64, 2)
        book.update(x, book.encode(x))
    assert (book.embed - 5).abs().max() < 1


def test_half_the_channels_is_a_clear_error(codec):
    with pytest.raises(UserError, match=r"takes wav \[B, 1, N\], got \[2, 2, 100\]"):
        codec.encode(torch.zeros(2, 2, 100))


def test_a_frame_rate_that_does_not_fit_names_both_values():
    with pytest.raises(UserError, match=r"50.*100.0"):
        Encodec(**TINY_CODEC, frame_rate=50)


def test_identity_follows_the_weights_and_not_the_averages(codec):
    before = codec.identity()
    codec.quantizer.codebooks[0].cluster_size.add_(1)
    assert codec.identity() == before
    codec.quantizer.codebooks[0].embed.add_(1)
    assert codec.identity() != before
