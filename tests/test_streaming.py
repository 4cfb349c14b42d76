"""Music while it is generated: the same music, soon, and cancelled at once."""

import pytest
import torch

from musicgen_train.decoding import decoded_length
from musicgen_train.errors import UserError
from tests.small_musicgen import FRAMES, RATE, WINDOW, tiny, tone

TONES = torch.stack([tone(0.3), tone(0.3, 250.0)])
CONDITIONS = {
    "text": {},
    "melody": {"melody_wavs": TONES, "melody_sample_rate": RATE},
    "prompt": {"prompt": TONES, "prompt_sample_rate": RATE},
    "long prompt": {"prompt": torch.stack([tone(1.2), tone(1.2)]), "prompt_sample_rate": RATE},
    "negative": {"negative_descriptions": "noise"},
}  # fmt: skip
CODECS = {
    "mono": {},
    "causal": {"causal": True, "pad_mode": "reflect"},
    "stereo": {"stereo": True},
    "chunks": {"chunk_duration": 0.3, "chunk_overlap": 0.1, "normalize": True},
}


@pytest.fixture(scope="module", params=CODECS)
def model(request):
    return tiny(**CODECS[request.param])


@pytest.fixture(scope="module")
def mono():
    return tiny()


def whole(model, texts, condition, seeds):
    """What the methods that do not stream make of the same."""
    if "melody_wavs" in condition:
        return model.generate_with_chroma(texts, *condition.values(), seeds=seeds)
    if "prompt" in condition:
        return model.generate_continuation(*condition.values(), texts, seeds=seeds)
    return model.generate(texts, seeds=seeds, **condition)


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("duration", [0.7, 2.3])
def test_the_chunks_put_together_are_the_music(model, condition, duration):
    if "long" in condition and duration < WINDOW:
        duration = 1.5
    model.set_generation_params(duration=duration)
    given, texts, seeds = CONDITIONS[condition], ["rock", ""], [4, 5]
    chunks = list(model.generate_stream(texts, chunk_duration=0.25, seeds=seeds, **given))
    expected = whole(model, texts, given, seeds)
    assert len(chunks) > 2 and all(chunk.shape[:2] == expected.shape[:2] for chunk in chunks)
    torch.testing.assert_close(torch.cat(chunks, -1), expected, rtol=0, atol=1e-5)
    assert expected.shape[-1] == decoded_length(model.codec, round(duration * FRAMES))


def test_music_shorter_than_a_chunk_is_one_chunk(mono):
    mono.set_generation_params(duration=0.3)
    expected = mono.generate(["rock"], seeds=[1])
    for chunk_duration in ({}, {"chunk_duration": 60}, {"chunk_duration": float("inf")}):
        chunks = list(mono.generate_stream(["rock"], seeds=[1], **chunk_duration))
        torch.testing.assert_close(torch.cat(chunks, -1), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("chunk_duration", [0.02, 0.1, 0.5, 2.0])
def test_chunks_may_be_of_any_length(mono, chunk_duration):
    mono.set_generation_params(duration=2.0)
    chunks = list(mono.generate_stream(["rock"], chunk_duration, seeds=[1]))
    torch.testing.assert_close(torch.cat(chunks, -1), mono.generate(["rock"], seeds=[1]))
    # Whole chunks, but for what the decoder first keeps back and gives at the end.
    size = round(chunk_duration * RATE)
    assert all(chunk.shape[-1] == size for chunk in chunks[1:-2])


def test_the_first_chunk_comes_before_a_second_of_steps(model):
    model.set_generation_params(duration=2.0)
    steps = []
    stream = model.generate_stream(["rock"], callback=lambda *done: steps.append(done), seeds=[1])
    first = next(stream)
    assert first.shape[-1] > 0
    assert len(steps) <= FRAMES
    next(stream)
    assert len(steps) <= 2 * FRAMES
    stream.close()


def test_nothing_is_generated_before_the_first_chunk_is_asked_for(mono):
    steps = []
    stream = mono.generate_stream(["rock"], callback=lambda *done: steps.append(done))
    assert steps == []
    stream.close()


def test_a_long_prompt_is_heard_before_the_first_step(mono):
    mono.set_generation_params(duration=1.5)
    steps = []
    stream = mono.generate_stream(
        [""], 0.3, **{**CONDITIONS["prompt"], "prompt": tone(1.0)},
        callback=lambda *done: steps.append(done),
    )  # fmt: skip
    next(stream)
    assert steps == []
    stream.close()


def test_streams_of_one_model_do_not_disturb_each_other(mono):
    mono.set_generation_params(duration=1.3)
    calm = mono.generate_stream(["calm"], 0.2, seeds=[1])
    mono.set_generation_params(duration=1.3, cfg_coef=1.0, top_k=3)
    loud = mono.generate_stream(["loud"], 0.2, seeds=[2])
    alone = mono.generate(["loud"], seeds=[2])
    # Both go on by turns, each with the parameters that held when it was asked for.
    calm_chunks, loud_chunks = zip(*zip(calm, loud, strict=True), strict=True)
    torch.testing.assert_close(torch.cat(loud_chunks, -1), alone, rtol=0, atol=1e-5)
    mono.set_generation_params(duration=1.3)
    expected = mono.generate(["calm"], seeds=[1])
    torch.testing.assert_close(torch.cat(calm_chunks, -1), expected, rtol=0, atol=1e-5)


def test_closing_the_stream_cancels_at_once(mono):
    mono.set_generation_params(duration=2.0)
    expected = mono.generate(["rock"], seeds=[1])
    steps = []
    mono.lm.train()  # as a model under training, whose samples are drawn: it must be so again
    stream = mono.generate_stream(["rock"], 0.2, callback=lambda *done: steps.append(done))
    next(stream)
    n_steps = len(steps)
    stream.close()
    assert mono.lm.training
    mono.lm.eval()
    assert len(steps) == n_steps < 2 * FRAMES
    assert torch.equal(mono.generate(["rock"], seeds=[1]), expected)


def test_an_exception_in_the_callback_ends_the_stream_and_the_model_stays_usable(mono):
    mono.set_generation_params(duration=0.5)
    expected = mono.generate(["rock"], seeds=[1])

    def cancel(done, total):
        if done == 20:
            raise KeyboardInterrupt

    for generate in (mono.generate, lambda *a, **k: list(mono.generate_stream(*a, **k))):
        with pytest.raises(KeyboardInterrupt):
            generate(["rock"], callback=cancel, seeds=[1])
        assert torch.equal(mono.generate(["rock"], seeds=[1]), expected)


def test_no_gradients_are_switched_off_or_kept_by_the_consumer(mono):
    mono.set_generation_params(duration=0.5)
    for chunk in mono.generate_stream(["rock"], 0.2):
        assert torch.is_grad_enabled() and not chunk.requires_grad


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"normalize": True}, "scales the whole signal"),
        ({"norm": "group"}, "looks at all time at once"),
    ],
)
def test_a_codec_that_needs_the_whole_signal_is_refused_before_any_step(options, message):
    with pytest.raises(UserError, match=message):
        tiny(**options).generate_stream(["rock"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chunk_duration": 0}, "chunk_duration 0 s"),
        ({"chunk_duration": float("nan")}, "chunk_duration nan s"),
        ({"chunk_duration": -1}, "chunk_duration -1 s"),
        ({"chunk_duration": "0.1"}, "chunk_duration '0.1'"),
        ({"chunk_duration": None}, "chunk_duration None"),
        ({"melody_wavs": tone(1.0)}, "melody has sample rate None"),
        ({"prompt": tone(1.0)}, "prompt has sample rate None"),
        ({"prompt": tone(2.0), "prompt_sample_rate": RATE}, "the prompt lasts 2 s"),
        ({"seeds": [1, 2]}, "2 seeds for 1 samples"),
    ],
)
def test_bad_streams_are_refused_when_they_are_asked_for(mono, options, message):
    mono.set_generation_params(duration=2.0)
    with pytest.raises(UserError, match=message) as error:
        mono.generate_stream(["rock"], **options)
    assert "\n" not in str(error.value)
