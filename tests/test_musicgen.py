"""The public API on a tiny random model: what conditions do, and what is refused."""

from collections.abc import Callable

import pytest
import torch

from musicgen_train import MusicGen
from musicgen_train.conditioning.text import WordTextEncoder
from musicgen_train.errors import UserError
from musicgen_train.formats import save_musicgen
from musicgen_train.lm import LanguageModel
from tests.small_musicgen import RATE, tiny, tone


@pytest.fixture(scope="module")
def model() -> MusicGen:
    return tiny()


@pytest.fixture(autouse=True)
def fresh_params(model):
    model.set_generation_params(duration=0.4)


def test_the_same_seed_gives_the_same_music_in_any_batch(model):
    _, together = model.generate(["happy rock", "", "jazz"], return_tokens=True, seeds=[5, 6, 7])
    _, alone = model.generate(["jazz"], return_tokens=True, seeds=[7])
    assert torch.equal(alone[0], together[2])
    _, other = model.generate(["jazz"], return_tokens=True, seeds=[8])
    assert not torch.equal(other, alone)
    torch.manual_seed(0)
    first = model.generate(["jazz"])
    torch.manual_seed(0)
    assert torch.equal(model.generate(["jazz"]), first)


def test_text_and_melody_change_the_music(model):
    def codes(text: str, melody: torch.Tensor | None) -> torch.Tensor:
        return model.generate_with_chroma([text], [melody], RATE, return_tokens=True, seeds=[1])[1]

    plain = codes("", None)
    assert torch.equal(plain, model.generate([None], return_tokens=True, seeds=[1])[1])
    assert not torch.equal(codes("happy rock", None), plain)
    low, high = codes("", tone(1.0, 220.0)), codes("", tone(1.0, 330.0))
    assert not torch.equal(low, plain)
    assert not torch.equal(low, high)


def test_a_sample_without_melody_is_untouched_by_the_others(model):
    options = {"return_tokens": True, "seeds": [1, 2]}
    _, mixed = model.generate_with_chroma(["a", "b"], [tone(1.0), None], RATE, **options)
    _, without = model.generate(["a", "b"], **options)
    assert torch.equal(mixed[1], without[1])
    assert not torch.equal(mixed[0], without[0])


def test_progress_rises_to_the_end_and_the_callback_may_cancel(model, capfd):
    model.set_generation_params(duration=1.8)
    seen = []
    model.generate(["a"], progress=True, callback=lambda done, total: seen.append((done, total)))
    done = [d for d, _ in seen]
    assert done == sorted(done)
    assert seen[-1] == (90, 90)
    captured = capfd.readouterr()
    assert "generating" in captured.err and captured.out == ""

    def cancel(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.generate(["a"], callback=cancel)


def test_greedy_and_guidance_parameters_reach_the_model(model):
    model.set_generation_params(use_sampling=False, duration=0.4, cfg_coef=1.0)
    _, a = model.generate(["rock"], return_tokens=True, seeds=[1])
    _, b = model.generate(["rock"], return_tokens=True, seeds=[2])
    assert torch.equal(a, b)
    model.set_generation_params(use_sampling=False, duration=0.4, cfg_coef=6.0)
    _, guided = model.generate(["rock"], return_tokens=True)
    assert not torch.equal(a, guided)


def test_guidance_in_two_steps_gives_the_same_music(model):
    model.set_generation_params(duration=0.4, two_step_cfg=True)
    _, two = model.generate(["rock", "jazz"], return_tokens=True, seeds=[1, 2])
    model.set_generation_params(duration=0.4)
    _, one = model.generate(["rock", "jazz"], return_tokens=True, seeds=[1, 2])
    assert torch.equal(one, two)


def test_the_positional_order_is_audiocrafts(model):
    model.set_generation_params(False, 10, 0.5, 0.7, 0.6, 2.0, True, 0.5)
    assert model.duration == 0.6
    assert model.params.stride(model.max_duration, model.frame_rate) == 25
    assert model.params.sampling() == {
        "greedy": True, "top_k": 10, "top_p": 0.5, "temperature": 0.7, "cfg_coef": 2.0,
        "two_pass": True,
    }  # fmt: skip


def test_a_negative_description_changes_the_music_of_its_sample_alone(model):
    def codes(negative, **options):
        texts = ["rock", "jazz"]
        options = {"seeds": [1, 2], "return_tokens": True, **options}
        return model.generate(texts, negative_descriptions=negative, **options)[1]

    plain, noisy = codes(None), codes("noise")
    assert not torch.equal(plain, noisy)
    assert torch.equal(codes(["", None]), plain)
    mixed = codes(["noise", ""])
    assert torch.equal(mixed[0], noisy[0]) and torch.equal(mixed[1], plain[1])
    # Away from what is asked for, nothing is left but the condition itself.
    model.set_generation_params(duration=0.4, cfg_coef=1.0)
    unguided = codes(None)
    model.set_generation_params(duration=0.4, cfg_coef=7.0)
    assert torch.equal(codes(["rock", "jazz"]), unguided)


def test_a_negative_description_alone_guides_free_music(model):
    free = model.generate_unconditional(1, return_tokens=True, seeds=[1])[1]
    options = {"return_tokens": True, "seeds": [1], "negative_descriptions": "noise"}
    assert not torch.equal(model.generate_unconditional(1, **options)[1], free)


def test_durations_return_one_tensor_per_sample(model):
    wavs = model.generate(["a", "b"], durations=[0.2, 0.2])
    assert [wav.shape for wav in wavs] == [(1, 320), (1, 320)] and isinstance(wavs, list)
    wavs, codes = model.generate_unconditional(2, durations=[0.2, 0.6], return_tokens=True)
    assert [wav.shape[-1] for wav in wavs] == [320, 960]
    assert [row.shape for row in codes] == [(2, 10), (2, 30)]


@pytest.mark.parametrize("seconds", [0.01, 0.13, 0.4, 5.0])
def test_a_melody_of_any_length_will_do(model, seconds):
    sounds = [tone(seconds, 300.0), None, tone(seconds, 300.0).expand(2, -1)]
    _, codes = model.generate_with_chroma(
        [""] * 3, sounds, RATE, return_tokens=True, seeds=[1, 1, 1]
    )
    assert torch.equal(codes[0], codes[2])  # stereo is heard as mono
    assert not torch.equal(codes[0], codes[1])


def test_stereo_models_make_stereo_from_a_mono_prompt():
    stereo = tiny(stereo=True)
    stereo.set_generation_params(duration=0.6)
    wav, codes = stereo.generate_continuation(tone(0.2), RATE, ["rock"], return_tokens=True)
    assert wav.shape == (1, 2, 960) and codes.shape == (1, 4, 30)
    assert torch.equal(codes[0, 0, :10], codes[0, 1, :10])
    assert not torch.equal(wav[:, 0], wav[:, 1])


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"duration": 0}, "duration 0 s"),
        ({"duration": -1}, "duration -1 s"),
        ({"duration": 3600}, "at most 600 s"),
        ({"duration": float("nan")}, "duration nan s"),
        ({"duration": float("inf")}, "duration inf s"),
        ({"duration": 0.001}, "less than a frame"),
        ({"duration": 3, "extend_stride": 1.0}, "extend_stride 1 s"),
        ({"duration": 3, "extend_stride": 0.0}, "extend_stride 0 s"),
        ({"extend_stride": float("nan")}, "extend_stride nan s"),
        ({"top_k": -1}, "top_k -1"),
        ({"top_k": 2.5}, "top_k 2.5"),
        ({"top_p": 1.5}, "top_p 1.5"),
        ({"top_p": float("nan")}, "top_p nan"),
        ({"temperature": -1.0}, "temperature -1"),
        ({"temperature": float("inf")}, "temperature inf"),
        ({"cfg_coef": float("nan")}, "cfg_coef nan"),
    ],
)
def test_bad_generation_parameters_are_named_and_change_nothing(model, params, message):
    before = model.params
    with pytest.raises(UserError, match=message) as error:
        model.set_generation_params(**params)
    assert "\n" not in str(error.value)
    assert model.params == before


def with_sample(value: float) -> torch.Tensor:
    wav = tone(0.2).clone()
    wav[0, 3] = value
    return wav


BAD_AUDIO = [
    (with_sample(torch.nan), RATE, "0 is not audio"),
    (with_sample(torch.inf), RATE, "0 is not audio"),
    (with_sample(30_000.0), RATE, "0 reaches 30000"),
    ((tone(0.2) * 30_000).short(), RATE, "0 is not audio"),
    (tone(0.2)[0], RATE, r"shape \[320\]"),
    (tone(0.2)[None, None], RATE, r"shape \[1, 1, 1, 320\]"),
    (tone(0.2)[:, :0], RATE, r"shape \[1, 0\]"),
    (tone(0.2).T, RATE, "0 has 320 channels"),
    (tone(0.2).numpy(), RATE, "is a ndarray"),
    (tone(0.2), 0, "sample rate 0"),
    (tone(0.2), -16_000, "sample rate -16000"),
    (tone(0.2), 400_000, "at most 384000"),
    (tone(0.2), 44_100.5, "sample rate 44100.5"),
    (tone(0.2), float("nan"), "sample rate nan"),
    (tone(0.2), "44100", "sample rate 44100"),
]


@pytest.mark.parametrize(("wav", "rate", "message"), BAD_AUDIO)
def test_bad_audio_is_named(model, wav, rate, message):
    calls = [
        lambda: model.generate_continuation(wav, rate),
        lambda: model.generate_with_chroma(["a"], wav if hasattr(wav, "dim") else [wav], rate),
        lambda: model.generate_stream(["a"], 0.1, prompt=wav, prompt_sample_rate=rate),
    ]
    for call in calls:
        with pytest.raises(UserError, match=message) as error:
            call()
        assert "\n" not in str(error.value)


def bad_calls(model: MusicGen) -> dict[str, Callable[[], object]]:
    """Calls that cannot work, by what their error must say."""
    plain = tiny(melody=False, text=False)
    two = tone(0.2).expand(2, 1, -1)
    return {
        "give a list": lambda: model.generate("rock"),
        "no descriptions": lambda: model.generate([]),
        "description 1 is a int": lambda: model.generate(["rock", 5]),
        "num_samples 0": lambda: model.generate_unconditional(0),
        "2 seeds for 1 samples": lambda: model.generate(["a"], seeds=[1, 2]),
        "give whole numbers": lambda: model.generate(["a"], seeds=[1.5]),
        "2 durations for 1 samples": lambda: model.generate(["a"], durations=[1, 2]),
        "duration 0 s": lambda: model.generate(["a", "b"], durations=[0.2, 0]),
        "duration 3600 s": lambda: model.generate(["a", "b"], durations=[0.2, 3600]),
        "duration nan s": lambda: model.generate(["a"], durations=[float("nan")]),
        "takes no text": lambda: plain.generate(["rock"]),
        "'tiny' takes no text": lambda: plain.generate([""], negative_descriptions="noise"),
        "3 negative descriptions for 1": lambda: model.generate(
            ["a"], negative_descriptions=["x", "y", "z"]
        ),
        "takes no melody": lambda: plain.generate_with_chroma([""], tone(1.0), RATE),
        "2 descriptions but 1 melodies": lambda: model.generate_with_chroma(
            ["a", "b"], tone(1.0), RATE
        ),
        "1 descriptions but 2 melodies": lambda: model.generate_with_chroma(["a"], two, RATE),
        "the prompt lasts 0.4 s": lambda: model.generate_continuation(tone(0.4), RATE),
        "the prompt lasts 0.2 s of a duration of 0.1": lambda: model.generate_continuation(
            two, RATE, durations=[0.3, 0.1]
        ),
        "1 descriptions but 2 prompts": lambda: model.generate_continuation(two, RATE, ["a"]),
        "device gpu0: cannot be used": lambda: MusicGen.get_pretrained("nowhere", device="gpu0"),
        "weights 'int3'": lambda: tiny().prepare(weights="int3"),
    }


def test_bad_calls_are_named(model):
    for message, call in bad_calls(model).items():
        with pytest.raises(UserError, match=message) as error:
            call()
        assert "\n" not in str(error.value)


def test_parts_that_do_not_fit_are_refused(model):
    lm = LanguageModel(n_q=4, card=16, dim=16, num_heads=2, num_layers=1, text_dim=8)
    with pytest.raises(UserError, match=r"2 codebooks of 16.*4 of 16"):
        MusicGen("x", model.codec, lm)
    with pytest.raises(UserError, match=r"gives 5 features.*takes 8"):
        MusicGen("x", model.codec, model.lm, WordTextEncoder(5))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_musicgen(tiny(), tmp_path_factory.mktemp("checkpoint") / "model")


@pytest.mark.parametrize("weights", ["float32", "bfloat16", "int8"])
def test_a_pretrained_model_generates_with_any_weights(folder, weights):
    model = MusicGen.get_pretrained(folder, device="cpu", weights=weights)
    model.set_generation_params(duration=0.4)
    _, codes = model.generate(["rock", ""], return_tokens=True, seeds=[1, 2])
    assert codes.shape == (2, 2, 20) and codes.min() >= 0 and codes.max() < 16
    assert not any(p.requires_grad for p in model.lm.parameters())
    if weights == "float32":
        plain = tiny()
        plain.set_generation_params(duration=0.4)
        assert torch.equal(codes, plain.generate(["rock", ""], return_tokens=True, seeds=[1, 2])[1])


def test_a_prepared_model_is_still_prepared_after_it_was_moved(folder):
    model = MusicGen.get_pretrained(folder, device="cpu", weights="bfloat16")
    kinds = [type(module) for module in model.lm.modules()]
    model.set_generation_params(duration=0.4)
    before = model.generate(["rock"], seeds=[1])
    assert [type(module) for module in model.to("cpu").lm.modules()] == kinds
    assert kinds != [type(module) for module in tiny().lm.modules()]
    torch.testing.assert_close(model.generate(["rock"], seeds=[1]), before)
