import pytest
import torch

from musicgen_train.evaluation.held_out import Segment, read_held_out
from musicgen_train.evaluation.sampling import (
    Sampling,
    generate_wavs,
    held_out_cross_entropy,
    round_trip,
    untrained_like,
    untrained_parts,
)
from tests.evaluation.small_evaluation import SECONDS, small_parts, write_dataset


@pytest.fixture(scope="module")
def prompts(tmp_path_factory) -> list[Segment]:
    folder = write_dataset(tmp_path_factory.mktemp("held_out") / "data", 6)
    return read_held_out(folder, 3, SECONDS).prompts


def test_clips_do_not_depend_on_the_batch_size(prompts):
    one, three = (
        generate_wavs(small_parts(), prompts, 0.4, Sampling(batch_size=size), with_melody=True)
        for size in (1, 3)
    )
    assert one.shape == (3, 1, 3200)
    assert torch.allclose(one, three, atol=1e-5)


def test_progress_ends_at_one(prompts):
    shares: list[float] = []
    sampling = Sampling(batch_size=2)
    generate_wavs(small_parts(), prompts, 0.2, sampling, on_progress=shares.append)
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1.0)


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
    codes, _ = round_trip(parts.codec, torch.stack([p.clip.wav for p in prompts]))
    found = held_out_cross_entropy(parts, codes, prompts, with_melody=False, batch_size=2)
    with torch.no_grad():
        text = parts.text_encoder([p.description for p in prompts])
        logits, mask = parts.lm.logits(codes, text)
    for k in range(2):
        kept = mask[:, k]
        expected = torch.nn.functional.cross_entropy(logits[:, k][kept], codes[:, k][kept])
        assert float(found[k]) == pytest.approx(float(expected), rel=1e-5)


def test_the_round_trip_keeps_the_length(prompts):
    wavs = torch.stack([p.clip.wav for p in prompts])[..., :7777]
    codes, recons = round_trip(small_parts().codec, wavs, batch_size=2)
    assert recons.shape == wavs.shape
    assert codes.shape == (3, 2, -(-7777 // 160))
