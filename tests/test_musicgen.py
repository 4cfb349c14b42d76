"""The public API on a tiny random model: what conditions do, and what is refused."""

import inspect
from collections.abc import Callable

import numpy as np
import pytest
import torch

from musicgen_train import MusicGen
from musicgen_train.conditioning.chroma import ChromaExtractor
from musicgen_train.conditioning.text import WordTextEncoder
from musicgen_train.data.audio import resample
from musicgen_train.errors import UserError
from musicgen_train.formats import save_musicgen
from musicgen_train.lm import LanguageModel
from tests.small_musicgen import FRAMES, RATE, tiny, tone


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


@pytest.mark.parametrize("temperature", [0, 1e-30, 9e-6])
def test_almost_no_temperature_is_greedy(model, temperature):
    model.set_generation_params(use_sampling=False, duration=0.4)
    _, greedy = model.generate(["rock"], return_tokens=True)
    model.set_generation_params(temperature=temperature, duration=0.4)
    _, codes = model.generate(["rock"], return_tokens=True, seeds=[1])
    assert torch.equal(codes, greedy)


def test_numpys_numbers_are_numbers(model):
    model.set_generation_params(
        top_k=np.int64(5), top_p=np.float32(0.5), temperature=np.float32(0.7),
        duration=np.float64(0.4), cfg_coef=np.float32(2),
    )  # fmt: skip
    options = {"return_tokens": True, "seeds": np.array([3, 4]), "durations": np.array([0.3, 0.4])}
    _, rows = model.generate(["rock", "jazz"], **options)
    model.set_generation_params(top_k=5, top_p=0.5, temperature=0.7, duration=0.4, cfg_coef=2.0)
    _, plain = model.generate(["rock", "jazz"], return_tokens=True, seeds=torch.tensor([3, 4]))
    assert torch.equal(rows[1], plain[1]) and torch.equal(rows[0], plain[0, :, :15])
    assert model.generate_unconditional(np.int64(2)).shape[0] == 2


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


def test_a_prompt_at_another_rate_is_resampled(model):
    prompt = tone(0.2, 200.0, 4 * RATE)
    _, codes = model.generate_continuation(prompt, 4 * RATE, return_tokens=True)
    expected = model.codec.encode(resample(prompt, 4 * RATE, RATE)[None])
    assert expected.shape[-1] == 0.2 * FRAMES
    assert torch.equal(codes[..., : expected.shape[-1]], expected)


@pytest.mark.parametrize("change", [torch.Tensor.double, torch.Tensor.requires_grad_, "half"])
def test_audio_of_any_float_type_will_do(model, change):
    sound = tone(0.2)
    if change == "half":
        sound = sound.half().float()  # what half precision keeps of it
        changed = sound.half()
    else:
        changed = change(sound.clone())
    options = {"return_tokens": True, "seeds": [1]}
    expected = model.generate_continuation(sound, RATE, **options)
    made = model.generate_continuation(changed, RATE, **options)
    assert torch.equal(made[1], expected[1]) and not made[0].requires_grad
    _, expected = model.generate_with_chroma(["a"], [sound], RATE, **options)
    wav, codes = model.generate_with_chroma(["a"], [changed], RATE, **options)
    assert torch.equal(codes, expected) and not wav.requires_grad


@pytest.mark.parametrize("codec", [{}, {"chunk_duration": 0.3, "chunk_overlap": 0.1}])
def test_a_prompt_that_is_too_long_is_refused_before_it_is_encoded(codec, monkeypatch):
    model = tiny(**codec)
    model.set_generation_params(duration=0.5)
    n_frames = model.codec.encode(tone(0.8)[None]).shape[-1]

    def encode(wav):
        raise AssertionError("encoded")

    monkeypatch.setattr(model.codec, "encode", encode)
    with pytest.raises(UserError, match=f"the prompt lasts {n_frames / FRAMES:g} s"):
        model.generate_continuation(tone(0.8), RATE)


def test_only_what_is_heard_of_a_melody_is_separated(model, monkeypatch):
    class Separator:
        samplerate, audio_channels = RATE, 1

    seconds = []

    def stems(separator, wav, device):
        seconds.append(wav.shape[-1] / RATE)
        return wav

    monkeypatch.setattr("musicgen_train.melody.find_separator", lambda name: Separator())
    monkeypatch.setattr("musicgen_train.melody.melodic_stems", stems)
    options = {"separator": "htdemucs", "durations": [0.4, 1.8], "return_tokens": True}
    long = tone(20.0, 260.0)
    made = model.generate_with_chroma(["", ""], [long, long], RATE, seeds=[1, 2], **options)[1]
    # A window of 1 s, which slides by 0.6 s twice in 1.8 s; and a second of margin.
    assert seconds == pytest.approx([2.0, 3.2], abs=0.01)
    del options["separator"]
    whole = model.generate_with_chroma(["", ""], [long, long], RATE, seeds=[1, 2], **options)[1]
    assert all(torch.equal(a, b) for a, b in zip(made, whole, strict=True))


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
        ({"top_k": True}, "top_k True"),
        ({"top_k": None}, "top_k None"),
        ({"top_p": "0.9"}, "top_p '0.9'"),
        ({"temperature": None}, "temperature None"),
        ({"temperature": torch.ones(2, 2)}, "temperature tensor"),
        ({"duration": "3"}, "duration '3'"),
        ({"duration": torch.ones(3, 3)}, "duration tensor"),
        ({"duration": 10**400}, "duration inf s"),
        ({"extend_stride": "1"}, "extend_stride '1'"),
        ({"cfg_coef": "3"}, "cfg_coef '3'"),
        ({"cfg_coef": None}, "cfg_coef None"),
        ({"cfg_coef": 101}, "cfg_coef 101: give a number within ±100"),
        ({"cfg_coef": -1e30}, "cfg_coef -1e\\+30"),
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
        "num_samples 2.5": lambda: model.generate_unconditional(2.5),
        "num_samples '2'": lambda: model.generate_unconditional("2"),
        "descriptions is a NoneType": lambda: model.generate(None),
        "negative_descriptions is a int": lambda: model.generate(["a"], negative_descriptions=5),
        "durations is a float": lambda: model.generate(["a"], durations=0.2),
        "duration None": lambda: model.generate(["a", "b"], durations=[0.2, None]),
        "duration 'x'": lambda: model.generate(["a"], durations=["x"]),
        "seeds is a int": lambda: model.generate(["a"], seeds=5),
        "seeds is a Generator": lambda: model.generate(["a"], seeds=torch.Generator()),
        "melody_wavs is a NoneType": lambda: model.generate_with_chroma(["a"], None, RATE),
        "melody 0 is shorter than one sample": lambda: model.generate_with_chroma(
            ["a"], torch.ones(1, 1), 44_100
        ),
        "the prompt is shorter than one sample": lambda: model.generate_continuation(
            torch.ones(1, 1), 44_100
        ),
        "name None": lambda: MusicGen.get_pretrained(None),
        "device meta: cannot be used": lambda: MusicGen.get_pretrained("nowhere", device="meta"),
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


def with_lm(model: MusicGen, chroma: ChromaExtractor, **config) -> MusicGen:
    """The model around another language model and another chroma extractor."""
    lm = LanguageModel(**{**model.lm.config, **config})
    return MusicGen("x", model.codec, lm, model.text_encoder, chroma)


def test_a_chroma_extractor_that_does_not_fit_is_refused(model):
    with pytest.raises(UserError, match=r"gives 12 pitch classes.*takes no melody"):
        with_lm(model, model.chroma, chroma_dim=None)
    with pytest.raises(UserError, match=r"gives 24 pitch classes.*takes 12"):
        with_lm(model, ChromaExtractor(RATE, n_chroma=24, window=1024, hop=256))
    # 1600 / 256 chroma frames a second, 50 codec frames: 0.125 of one for each.
    with pytest.raises(UserError, match=r"gives 0.125 frames per codec frame.*takes 0.25"):
        with_lm(model, model.chroma, fuse_chroma="sum", chroma_rate=0.25)
    with_lm(model, model.chroma, fuse_chroma="sum", chroma_rate=0.125)


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


def test_a_move_that_cannot_be_prepared_for_changes_nothing(folder, monkeypatch):
    model = MusicGen.get_pretrained(folder, device="cpu", weights="int8")
    model.set_generation_params(duration=0.4)
    before = model.generate(["rock"], seeds=[1])
    kinds = [type(module) for module in model.lm.modules()]
    with pytest.raises(UserError, match="device meta"):
        model.to("meta")
    # As if it were a device that computes, but not in int8.
    monkeypatch.setattr("musicgen_train.musicgen.checked_device", torch.device)
    with pytest.raises(UserError, match="'int8' are for CPUs"):
        model.to("meta")
    assert [type(module) for module in model.lm.modules()] == kinds
    assert all(parameter.device.type == "cpu" for parameter in model.codec.parameters())
    assert torch.equal(model.generate(["rock"], seeds=[1]), before)


def test_a_custom_progress_callback_takes_the_place_of_the_bar(capfd):
    model, seen, own = tiny(), [], []
    model.set_generation_params(duration=0.4)
    model.set_custom_progress_callback(lambda generated, total: seen.append((generated, total)))
    model.generate(["a"], progress=True, callback=lambda *done: own.append(done))
    assert seen == own and seen[-1] == (20, 20)
    assert capfd.readouterr().err == ""
    list(model.generate_stream(["a"]))
    assert len(seen) == 2 * len(own)
    model.set_custom_progress_callback(None)
    model.generate(["a"], progress=True)
    assert len(seen) == 2 * len(own) and "generating" in capfd.readouterr().err


def test_what_audiocraft_calls_otherwise_is_there_too(model):
    assert model.compression_model is model.codec
    assert inspect.signature(MusicGen.get_pretrained).parameters["name"].default == "melody"
