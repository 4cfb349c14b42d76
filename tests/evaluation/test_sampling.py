import pytest
import torch

from musicgen_train.evaluation.held_out import Segment, read_held_out
from musicgen_train.evaluation.sampling import (
    Sampling,
    code_nats,
    generate_wavs,
    round_trip,
    untrained_like,
    untrained_parts,
)
from tests.evaluation.small_evaluation import SECONDS, small_parts, write_dataset


@pytest.fixture(scope="module")
def prompts(tmp_path_factory) -> list[Segment]:
    folder = write_dataset(tmp_path_factory.mktemp("held_out") / "data", 6)
    return read_held_out(folder, 3, SECONDS).prompts


def test_clips_do_not_depend_on_the_batch(prompts):
    parts, sampling = small_parts(), Sampling()
    together = generate_wavs(parts, prompts, 0.4, sampling, 0, with_melody=True)
    alone = [
        generate_wavs(parts, prompts[i : i + 1], 0.4, sampling, i, with_melody=True)
        for i in range(3)
    ]
    assert together.shape == (3, 1, 3200)
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)


def test_progress_ends_at_one(prompts):
    shares: list[float] = []
    generate_wavs(small_parts(), prompts, 0.2, Sampling(), 0, on_progress=shares.append)
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1.0)


def test_a_model_is_known_by_its_weights_and_settings():
    one, same, other = small_parts(), small_parts(), small_parts()
    assert one.identity == same.prepare().identity
    with torch.no_grad():
        next(other.lm.parameters()).add_(1e-3)
    assert one.identity != other.identity


def test_an_untrained_model_has_the_shape_but_not_the_weights_and_leaves_the_random_state_alone():
    parts = small_parts()
    before = torch.random.get_rng_state()
    fresh = untrained_parts(parts, seed=1)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert fresh.codec is parts.codec and fresh.lm.config == parts.lm.config
    assert not torch.equal(fresh.lm.heads.weight, parts.lm.heads.weight)
    again = untrained_like(parts.lm, seed=1)
    assert torch.equal(fresh.lm.heads.weight, again.heads.weight)


def test_cross_entropy_is_that_of_the_logits_over_valid_positions(prompts):
    parts = small_parts()
    codes, _ = round_trip(parts.codec, torch.stack([p.read() for p in prompts]))
    halves = [code_nats(parts, codes[s], prompts[s], False) for s in (slice(2), slice(2, 3))]
    nats, n_codes = (sum(side) for side in zip(*halves, strict=True))
    with torch.no_grad():
        text = parts.text_encoder([p.description for p in prompts])
        logits, mask = parts.lm.logits(codes, text)
    for k in range(2):
        kept = mask[:, k]
        expected = torch.nn.functional.cross_entropy(logits[:, k][kept], codes[:, k][kept])
        assert float(nats[k] / n_codes[k]) == pytest.approx(float(expected), rel=1e-5)


def test_the_round_trip_keeps_the_length(prompts):
    wavs = torch.stack([p.read() for p in prompts])[..., :7777]
    codes, recons = round_trip(small_parts().codec, wavs)
    assert recons.shape == wavs.shape
    assert codes.shape == (3, 2, -(-7777 // 160))


def test_a_model_made_ready_to_generate_predicts_and_plays_the_same(prompts):
    plain, ready = small_parts(), small_parts().prepare()
    codes, _ = round_trip(plain.codec, torch.stack([p.read() for p in prompts]))
    for a, b in zip(*(code_nats(m, codes, prompts, True) for m in (plain, ready)), strict=True):
        assert torch.allclose(a, b, rtol=1e-6)
    wavs = [generate_wavs(m, prompts, 0.4, Sampling(), 0, True) for m in (plain, ready)]
    assert torch.allclose(*wavs, atol=1e-5)
