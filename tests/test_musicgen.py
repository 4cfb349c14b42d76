"""The public API and the command line, on a tiny random model."""

import subprocess
import sys
import time
from collections.abc import Callable

import pytest
import torch

from musicgen_train import MusicGen, audio_write
from musicgen_train.codec.encodec import Encodec
from musicgen_train.conditioning.chroma import ChromaExtractor
from musicgen_train.conditioning.text import WordTextEncoder
from musicgen_train.data.audio import read_audio
from musicgen_train.errors import UserError
from musicgen_train.formats import save_musicgen
from musicgen_train.generate import main, slug
from musicgen_train.lm import LanguageModel

RATE, FRAMES = 1600, 50  # samples and frames per second
WINDOW = 1.0  # seconds the model was made for


def tiny(melody: bool = True, text: bool = True) -> MusicGen:
    torch.manual_seed(0)
    codec = Encodec(
        sample_rate=RATE,
        channels=1,
        n_q=2,
        card=16,
        ratios=[4, 8],
        n_filters=4,
        dimension=8,
        lstm=0,
    )
    for layer in codec.quantizer.layers:
        layer.codebook.embed.mul_(100)  # an untrained decoder is all but silent
    lm = LanguageModel(
        n_q=2,
        card=16,
        dim=16,
        num_heads=2,
        num_layers=1,
        text_dim=8 if text else None,
        chroma_dim=12 if melody else None,
        chroma_length=7,
    )
    for proj in (lm.fuser.text_proj, lm.fuser.chroma_proj):
        if proj is not None:
            torch.nn.init.normal_(proj.weight, std=3.0)  # conditions that matter
    encoder = WordTextEncoder(8) if text else None
    chroma = ChromaExtractor(RATE, window=1024, hop=256) if melody else None
    return MusicGen("tiny", codec, lm, encoder, chroma, max_duration=WINDOW)


@pytest.fixture(scope="module")
def model() -> MusicGen:
    return tiny()


@pytest.fixture(autouse=True)
def fresh_params(model):
    model.set_generation_params(duration=0.4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_musicgen(tiny(), tmp_path_factory.mktemp("checkpoint") / "model")


def tone(seconds: float, hertz: float = 200.0, rate: int = RATE) -> torch.Tensor:
    """[1, N] of a sine."""
    return 0.5 * torch.sin(2 * torch.pi * hertz * torch.arange(int(seconds * rate)) / rate)[None]


def test_the_seed_tutorial_runs(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = MusicGen.get_pretrained(str(folder))
    model.set_generation_params(duration=0.5)
    wav = model.generate_unconditional(4)
    assert wav.shape == (4, 1, RATE // 2)
    descriptions = ["happy rock", "energetic EDM", "sad jazz"]
    wav = model.generate(descriptions)

    melody, sr = tone(1.0, rate=4000), 4000
    wav = model.generate_with_chroma(descriptions, melody[None].expand(3, -1, -1), sr)
    for idx, one_wav in enumerate(wav):
        audio_write(f"{idx}", one_wav.cpu(), model.sample_rate, strategy="loudness")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0.wav", "1.wav", "2.wav"]

    continued = model.generate_continuation(tone(0.2, rate=4000), sr, ["happy rock"])
    assert continued.shape == (1, 1, RATE // 2)


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
    calls = []
    generate = model.lm.generate

    def spy(n_frames, text, chroma, *, prompt, **options):
        calls.append((n_frames, 0 if prompt is None else prompt.shape[-1], chroma))
        return generate(n_frames, text, chroma, prompt=prompt, **options)

    monkeypatch.setattr(model.lm, "generate", spy)
    model.set_generation_params(duration=1.8, extend_stride=0.6)
    melody = torch.cat([tone(0.9, 220.0), tone(0.9, 330.0)], dim=1)
    model.generate_with_chroma(["rock"], [melody], RATE)
    assert [call[:2] for call in calls] == [(50, 0), (50, 20), (30, 20)]
    # The melody moves on with the window: only the first one is mostly about its first note.
    assert not torch.equal(calls[0][2], calls[1][2])


def test_a_prompt_begins_the_music(model):
    model.set_generation_params(duration=1.5)
    prompts = torch.stack([tone(0.4, 200.0), tone(0.4, 300.0)])
    _, codes = model.generate_continuation(prompts, RATE, return_tokens=True)
    assert torch.equal(codes[..., :20], model.codec.encode(prompts))
    assert codes.shape[-1] == 75
    # A prompt longer than the window is kept whole.
    _, codes = model.generate_continuation(tone(1.2), RATE, ["rock"], return_tokens=True)
    assert torch.equal(codes[..., :60], model.codec.encode(tone(1.2)[None]))


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


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"duration": 0}, "duration 0 s"),
        ({"duration": -1}, "duration -1 s"),
        ({"duration": 3600}, "at most 600 s"),
        ({"duration": float("nan")}, "duration nan s"),
        ({"duration": 0.001}, "less than a frame"),
        ({"duration": 3, "extend_stride": 1.0}, "extend_stride 1 s"),
        ({"duration": 3, "extend_stride": 0.0}, "extend_stride 0 s"),
        ({"top_k": -1}, "top_k -1"),
        ({"top_p": 1.5}, "top_p 1.5"),
        ({"temperature": -1.0}, "temperature -1"),
    ],
)
def test_bad_generation_parameters_are_named(model, params, message):
    with pytest.raises(UserError, match=message) as error:
        model.set_generation_params(**params)
    assert "\n" not in str(error.value)


def bad_calls(model: MusicGen) -> dict[str, Callable[[], object]]:
    """Calls that cannot work, by what their error must say."""
    nan = tone(0.2).clone()
    nan[0, 3] = torch.nan
    plain = tiny(melody=False, text=False)
    return {
        "give a list": lambda: model.generate("rock"),
        "no descriptions": lambda: model.generate([]),
        "num_samples 0": lambda: model.generate_unconditional(0),
        "2 seeds for 1 samples": lambda: model.generate(["a"], seeds=[1, 2]),
        "takes no text": lambda: plain.generate(["rock"]),
        "takes no melody": lambda: plain.generate_with_chroma([""], tone(1.0), RATE),
        "2 descriptions but 1 melodies": lambda: model.generate_with_chroma(
            ["a", "b"], tone(1.0), RATE
        ),
        "melody 0 is not audio": lambda: model.generate_with_chroma(["a"], nan, RATE),
        "melody 0 has shape": lambda: model.generate_with_chroma(["a"], [tone(1.0)[:, :0]], RATE),
        "melody 0 has sample rate 0": lambda: model.generate_with_chroma(["a"], tone(1.0), 0),
        "prompt 0 is not audio": lambda: model.generate_continuation(nan, RATE),
        "the prompt has shape": lambda: model.generate_continuation(tone(1.0)[0], RATE),
        "the prompt lasts 0.4 s": lambda: model.generate_continuation(tone(0.4), RATE),
        "1 descriptions but 2 prompts": lambda: model.generate_continuation(
            tone(0.2).expand(2, 1, -1), RATE, ["a"]
        ),
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


def test_the_command_line_writes_one_seeded_file_per_piece(folder, tmp_path, capsys):
    def run(out: str, *options: str) -> list:
        arguments = ["--checkpoint", str(folder), "--output", str(tmp_path / out)]
        main([*arguments, "--duration", "0.4", "--format", "flac", "--strategy", "peak", *options])
        return capsys.readouterr().out.split()

    paths = run("a", "--text", "Happy rock!", "--text", "sad jazz", "--samples", "2")
    assert [p.rsplit("/", 1)[1] for p in paths] == [
        "00_happy-rock.flac", "01_happy-rock.flac", "02_sad-jazz.flac", "03_sad-jazz.flac",
    ]  # fmt: skip
    wavs = [read_audio(path)[0] for path in paths]
    assert all(wav.shape == (1, int(0.4 * RATE)) for wav in wavs)
    assert not torch.equal(wavs[0], wavs[1])
    (alone,) = run("b", "--text", "sad jazz", "--seed", "3")
    # The same tokens; the decoder rounds differently in another batch size: one 16-bit step.
    torch.testing.assert_close(read_audio(alone)[0], wavs[3], rtol=0, atol=2**-15)
    (again,) = run("c", "--text", "sad jazz", "--seed", "3")
    assert torch.equal(read_audio(again)[0], read_audio(alone)[0])
    audio_write(tmp_path / "tone", tone(0.2), RATE)
    for condition in ("--melody", "--prompt"):
        (path,) = run(condition, condition, str(tmp_path / "tone.wav"))
        assert path.endswith("00_music.flac")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--checkpoint", "nowhere"], "nowhere"),
        (["--duration", "0"], "duration 0 s"),
        (["--melody", "missing.wav"], "missing.wav"),
        (["--melody", "a.wav", "--prompt", "b.wav"], "choose one"),
        (["--samples", "0"], "--samples 0"),
    ],
)
def test_the_command_line_names_what_is_wrong(folder, tmp_path, capsys, options, message):
    arguments = ["--checkpoint", str(folder), "--output", str(tmp_path / "out"), *options]
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    error = capsys.readouterr().err
    assert exit_.value.code == 2
    assert error.startswith("error: ") and error.count("\n") == 1 and message in error
    assert not (tmp_path / "out").exists()


def test_help_answers_without_loading_torch():
    code = (
        "import sys; from musicgen_train.generate import main\n"
        "try: main(['--help'])\n"
        "finally: assert 'torch' not in sys.modules"
    )
    begin = time.monotonic()
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0 and "--checkpoint" in result.stdout, result.stderr
    assert time.monotonic() - begin < 3


def test_file_names_are_short_and_plain():
    assert slug("Happy Rock: 120 bpm!") == "happy-rock-120-bpm"
    assert slug("  ") == "music"
    assert len(slug("word " * 50)) <= 40
