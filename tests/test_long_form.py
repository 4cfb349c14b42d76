"""Music of any length: windows that continue each other, samples that end at different times."""

import pytest
import torch

from musicgen_train.conditioning.chroma import fit_length, one_hot
from musicgen_train.decoding import LONG, decode_rows
from musicgen_train.lm.sampling import draw_uniforms
from musicgen_train.long_form import Window, last_start, window_seed, windows
from tests.small_musicgen import FRAMES, RATE, WINDOW, tiny, tone


@pytest.fixture(scope="module")
def model():
    return tiny()


def spy_on_steps(model, monkeypatch) -> list:
    """(frames of each row, known frames, chroma, texts' mask) of every window that is generated."""
    calls, steps = [], model.lm.steps

    def spy(n_frames, text, chroma, *, prompt, **options):
        known = 0 if prompt is None else prompt.shape[-1]
        calls.append((n_frames, known, chroma, None if text is None else text[1]))
        return steps(n_frames, text, chroma, prompt=prompt, **options)

    monkeypatch.setattr(model.lm, "steps", spy)
    return calls


@pytest.mark.parametrize("total", [1, 49, 50, 51, 90, 333])
@pytest.mark.parametrize("known", [0, 1, 49, 50, 75, 200])
@pytest.mark.parametrize(("size", "stride"), [(50, 30), (50, 49), (50, 50), (7, 1)])
def test_windows_cover_everything_once(total, known, size, stride):
    end = known
    for window in windows(total, known, size, stride):
        assert window.known == end < window.end
        assert window.start % stride == 0 and window.end - window.start <= size
        assert window.start <= window.known
        end = window.end
    assert end == max(total, known)


@pytest.mark.parametrize("known", [0, 1, 50, 75])
@pytest.mark.parametrize(("size", "stride"), [(50, 30), (50, 49), (50, 50), (7, 1)])
def test_the_last_window_begins_where_it_is_said_to(known, size, stride):
    for total in (1, 49, 50, 51, 90, 333):
        if known < total:
            *_, last = windows(total, known, size, stride)
            assert last.start == last_start(total, size, stride)


def test_windows_slide_as_drawn():
    assert list(windows(10, 0, 5, 3)) == [Window(0, 0, 5), Window(3, 5, 8), Window(6, 8, 10)]


def test_every_window_draws_its_own_noise_and_the_first_the_samples():
    seeds = [[window_seed(seed, start) for start in (0, 30, 60)] for seed in (0, 7, 2**62)]
    assert [row[0] for row in seeds] == [0, 7, 2**62]
    assert len({seed for row in seeds for seed in row}) == 9
    assert all(0 <= seed < 2**63 for row in seeds for seed in row)
    # Seeds in a row, as the command line gives them, share no noise at any window.
    drawn = {
        tuple(draw_uniforms([window_seed(seed, start)], 3, 2).flatten().tolist())
        for seed in range(64)
        for start in range(0, 300, 30)
    }
    assert len(drawn) == 64 * 10


@pytest.mark.parametrize("stride", [0.3, 0.6, 0.9])
def test_music_longer_than_the_window_begins_like_the_window(model, stride):
    model.set_generation_params(duration=WINDOW)
    _, window = model.generate(["rock"], return_tokens=True, seeds=[3])
    model.set_generation_params(duration=2.5, extend_stride=stride)
    wav, codes = model.generate(["rock"], return_tokens=True, seeds=[3])
    assert codes.shape[-1] == 2.5 * FRAMES
    assert wav.shape[-1] == 2.5 * RATE
    assert torch.equal(codes[..., :FRAMES], window)


def test_every_window_continues_the_one_before_it(model, monkeypatch):
    calls = spy_on_steps(model, monkeypatch)
    model.set_generation_params(duration=1.8, extend_stride=0.6)
    notes = (220.0, 233.1, 246.9, 261.6, 277.2, 293.7, 311.1, 329.6, 349.2)
    melody = torch.cat([tone(0.2, hertz) for hertz in notes], dim=1)
    model.generate_with_chroma(["rock"], [melody], RATE)
    assert [call[:2] for call in calls] == [([50], 0), ([50], 20), ([30], 20)]
    # The melody moves on with the window, which hears it from its own beginning on.
    for start, call in zip((0.0, 0.6, 1.2), calls, strict=True):
        excerpt = melody.roll(-round(start * RATE), -1)[:, : round(WINDOW * RATE)]
        chroma = one_hot(fit_length(model.chroma(excerpt[None]), 7))
        assert torch.equal(call[2], chroma)
    assert len({tuple(call[2].flatten().tolist()) for call in calls}) == 3


@pytest.mark.parametrize("method", ["text", "melody", "prompt"])
def test_a_sample_of_its_own_length_is_as_if_alone(model, method):
    texts, seeds, durations = ["rock", "jazz", "", "pop"], [1, 2, 3, 4], [0.3, 2.1, 1.4, 0.3]
    sounds = [tone(0.2, hertz) for hertz in (200.0, 250.0, 300.0, 350.0)]

    def make(rows):
        options = {
            "seeds": [seeds[i] for i in rows],
            "durations": [durations[i] for i in rows],
            "return_tokens": True,
        }
        chosen, some = [texts[i] for i in rows], [sounds[i] for i in rows]
        if method == "melody":
            return model.generate_with_chroma(chosen, some, RATE, **options)
        if method == "prompt":
            return model.generate_continuation(torch.stack(some), RATE, chosen, **options)
        return model.generate(chosen, **options)

    wavs, codes = make(range(4))
    assert [wav.shape for wav in wavs] == [(1, round(d * RATE)) for d in durations]
    for i in range(4):
        (wav,), (alone,) = make([i])
        assert torch.equal(codes[i], alone)
        assert codes[i].shape == (2, round(durations[i] * FRAMES)) and codes[i].max() < 16
        torch.testing.assert_close(wavs[i], wav, rtol=0, atol=1e-5)


def test_a_finished_sample_leaves_the_batch(model, monkeypatch):
    calls = spy_on_steps(model, monkeypatch)
    model.set_generation_params(extend_stride=0.6)
    model.generate(["rock", "", "sad jazz"], durations=[0.4, 1.3, 1.8], seeds=[1, 2, 3])
    assert [call[:2] for call in calls] == [([20, 50, 50], 0), ([35, 50], 20), ([30], 20)]
    # Texts go with their samples: an empty one, and one of two words.
    assert [len(call[3]) for call in calls] == [3, 2, 1]
    assert calls[1][3].tolist() == [[0, 0], [1, 1]] and calls[2][3].tolist() == [[1, 1]]


def test_a_prompt_begins_the_music(model):
    model.set_generation_params(duration=1.5)
    prompts = torch.stack([tone(0.4, 200.0), tone(0.4, 300.0)])
    _, codes = model.generate_continuation(prompts, RATE, return_tokens=True)
    assert torch.equal(codes[..., :20], model.codec.encode(prompts))
    assert codes.shape[-1] == 75


def test_a_prompt_longer_than_the_window_is_kept_whole(model):
    model.set_generation_params(duration=2.5)
    _, codes = model.generate_continuation(tone(2.2), RATE, ["rock"], return_tokens=True)
    assert torch.equal(codes[..., :110], model.codec.encode(tone(2.2)[None]))
    assert codes.shape[-1] == 125


@pytest.mark.plain("folded")
@pytest.mark.parametrize("stereo", [False, True])
def test_long_music_is_decoded_in_pieces_and_is_the_whole(stereo, monkeypatch):
    codec = tiny(stereo=stereo).codec
    mono = codec.mono if stereo else codec
    n_frames = round((LONG + 5) * FRAMES)
    codes = torch.randint(16, (2, codec.n_q, n_frames), generator=torch.Generator().manual_seed(0))
    whole = codec.decode(codes)
    lengths, decode = [], mono.quantizer.decode

    def spy(piece):
        lengths.append(piece.shape[-1])
        return decode(piece)

    monkeypatch.setattr(mono.quantizer, "decode", spy)
    made = decode_rows(codec, [*codes, codes[0, :, :100]])
    torch.testing.assert_close(torch.stack(made[:2]), whole, rtol=0, atol=1e-5)
    assert torch.equal(made[2], codec.decode(codes[:1, :, :100])[0])
    assert sum(lengths) == n_frames + 200 and max(lengths) <= n_frames / 10


@pytest.mark.parametrize("codec", [{"normalize": True}, {"chunk_duration": 0.3}])
def test_long_music_of_a_codec_that_does_not_stream_is_decoded_too(codec):
    codec = tiny(**codec).codec
    codes = torch.randint(16, (1, 2, round((LONG + 1) * FRAMES)))
    assert torch.equal(decode_rows(codec, list(codes))[0], codec.decode(codes)[0])


def test_the_music_of_a_seed_does_not_depend_on_torchs_default_type(model):
    model.set_generation_params(duration=1.3)
    sounds, options = [tone(0.4), None], {"return_tokens": True, "seeds": [3, 4]}
    _, expected = model.generate_with_chroma(["rock", ""], sounds, RATE, **options)
    torch.set_default_dtype(torch.float64)
    try:
        _, codes = model.generate_with_chroma(["rock", ""], sounds, RATE, **options)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(codes, expected)
