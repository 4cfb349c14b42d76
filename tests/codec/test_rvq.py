"""Residual quantization: what each codebook leaves over, and how codebooks start and live."""

import torch

from musicgen_train.codec.rvq import ResidualVectorQuantizer


def quantizer(**arguments):
    torch.manual_seed(0)
    built = ResidualVectorQuantizer(dimension=4, n_q=4, card=8, **arguments)
    built.initialise(torch.randn(200, 4))
    return built


def test_every_further_codebook_brings_the_latents_closer():
    rvq, latents = quantizer().eval(), torch.randn(2, 4, 50)
    codes = rvq.encode(latents)
    errors = [(rvq.decode(codes[:, :k]) - latents).square().mean() for k in (1, 2, 3, 4)]
    assert errors == sorted(errors, reverse=True)


def test_codes_of_fewer_codebooks_are_the_first_rows():
    rvq, latents = quantizer().eval(), torch.randn(2, 4, 50)
    assert torch.equal(rvq.encode(latents, 2), rvq.encode(latents)[:, :2])


def test_dropout_uses_every_number_of_codebooks_in_training_and_all_of_them_later():
    rvq, latents = quantizer(dropout=True).train(), torch.randn(2, 4, 50)
    drawn = [rvq(latents).codes.shape[1] for _ in range(60)]
    assert set(drawn) == {1, 2, 3, 4}
    rvq.eval()
    assert {rvq(latents).codes.shape[1] for _ in range(10)} == {4}


def test_gradients_pass_straight_through():
    rvq, latents = quantizer().train(), torch.randn(2, 4, 50, requires_grad=True)
    rvq(latents).latents.sum().backward()
    assert torch.equal(latents.grad, torch.ones_like(latents))


def test_dead_codes_come_back_as_latents_of_the_batch():
    rvq = quantizer(decay=0.5, dead_code_threshold=1.0).train()
    latents = torch.randn(2, 4, 50) + 100
    for _ in range(20):
        rvq(latents)
    assert (rvq.codebooks[0].embed > 50).all()


def test_codebooks_only_move_in_training():
    rvq, latents = quantizer().eval(), torch.randn(2, 4, 50)
    before = {name: tensor.clone() for name, tensor in rvq.state_dict().items()}
    rvq(latents)
    assert all(torch.equal(tensor, before[name]) for name, tensor in rvq.state_dict().items())
