"""The command line, on a tiny random model."""

import io
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
import soundfile
import torch

from musicgen_train import MusicGen, audio_write
from musicgen_train.data.audio import read_audio
from musicgen_train.formats import save_musicgen
from musicgen_train.generate import main, slug
from tests.small_musicgen import RATE, tiny, tone

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_musicgen(tiny(), tmp_path_factory.mktemp("checkpoint") / "model")


@pytest.fixture
def run(folder, tmp_path, capsys):
    """Call the command with an output folder of its own; the paths it prints."""

    def call(out: str, *options: str) -> list[Path]:
        main(["--checkpoint", str(folder), "--output", str(tmp_path / out), *options])
        return [Path(line) for line in capsys.readouterr().out.splitlines()]

    return call


def test_one_seeded_file_per_piece(run):
    level = ("--duration", "0.4", "--format", "flac", "--strategy", "peak")
    paths = run("a", "--text", "Happy rock!", "--text", "sad jazz", "--samples", "2", *level)
    assert [path.name for path in paths] == [
        "00_happy-rock.flac", "01_happy-rock.flac", "02_sad-jazz.flac", "03_sad-jazz.flac",
    ]  # fmt: skip
    wavs = [read_audio(path)[0] for path in paths]
    assert all(wav.shape == (1, int(0.4 * RATE)) for wav in wavs)
    assert not torch.equal(wavs[0], wavs[1])
    (alone,) = run("b", "--text", "sad jazz", "--seed", "3", *level)
    # The same tokens; the decoder rounds differently in another batch size: one 16-bit step.
    torch.testing.assert_close(read_audio(alone)[0], wavs[3], rtol=0, atol=2**-15)
    (again,) = run("c", "--text", "sad jazz", "--seed", "3", *level)
    assert torch.equal(read_audio(again)[0], read_audio(alone)[0])


def test_every_condition_reaches_the_model(run, tmp_path):
    audio_write(tmp_path / "tone", torch.cat([tone(0.1), tone(0.1, 300.0)], 1), RATE)
    sound = str(tmp_path / "tone.wav")
    variants = [
        (), ("--melody", sound), ("--prompt", sound),
        ("--prompt", sound, "--prompt-duration", "0.1"),
        ("--negative-text", "noise"), ("--cfg-coef", "1"), ("--top-k", "2"), ("--top-p", "0.8"),
        ("--temperature", "0.4"), ("--greedy",),
    ]  # fmt: skip
    made = []
    for i, options in enumerate(variants):
        (path,) = run(f"{i}", "--text", "rock", "--duration", "0.4", *options)
        made.append(read_audio(path)[0])
    for i, wav in enumerate(made):
        assert not any(torch.equal(wav, other) for other in made[:i]), variants[i]
    (two,) = run("two", "--text", "rock", "--duration", "0.4", "--two-pass")
    assert torch.equal(read_audio(two)[0], made[0])


def test_durations_and_negative_texts_may_be_said_per_text(run):
    texts = ("--text", "rock", "--text", "jazz")
    paths = run("a", *texts, "--duration", "0.2", "--duration", "1.3", "--samples", "2")
    assert [read_audio(path)[0].shape[1] for path in paths] == [320, 320, 2080, 2080]
    plain = run("b", *texts, "--duration", "0.3")
    negative = run("c", *texts, "--duration", "0.3", "--negative-text", "noise",
                   "--negative-text", "")  # fmt: skip
    pairs = [(read_audio(a)[0], read_audio(b)[0]) for a, b in zip(plain, negative, strict=True)]
    assert [torch.equal(*pair) for pair in pairs] == [False, True]


def test_the_settings_beside_a_file_make_it_again(run, tmp_path, capsys):
    audio_write(tmp_path / "tone", tone(0.3), RATE)
    paths = run(
        "a", "--text", "it's -loud-", "--text", "jazz", "--duration", "0.3", "--duration", "0.4",
        "--seed", "-5", "--negative-text", "noise", "--melody", str(tmp_path / "tone.wav"),
        "--top-k", "5", "--weights", "bfloat16", "--strategy", "clip",
    )  # fmt: skip
    for path, seed, text in zip(paths, (-5, -4), ("it's -loud-", "jazz"), strict=True):
        settings = json.loads(Path(f"{path}.json").read_text())
        assert (settings["seed"], settings["text"]) == (seed, [text])
        assert settings["versions"]["torch"] == torch.__version__
        assert settings["device"] == "cpu" or torch.cuda.is_available()
        before = read_audio(path)[0]
        words = shlex.split(settings["command"])
        assert words[:3] == ["python", "-m", "musicgen_train.generate"]
        main([*words[3:], "--output", str(tmp_path / "again")])
        again = Path(capsys.readouterr().out.strip())
        torch.testing.assert_close(read_audio(again)[0], before, rtol=0, atol=2**-15)


def test_a_streamed_file_is_the_music_at_the_models_own_level(run, folder):
    paths = run("a", "--text", "rock", "--text", "", "--duration", "1.7", "--stream")
    assert [path.name for path in paths] == ["00_rock.wav", "01_music.wav"]
    assert sorted(p.suffix for p in paths[0].parent.iterdir()) == [".json", ".json", ".wav", ".wav"]
    model = MusicGen.get_pretrained(folder)
    model.set_generation_params(duration=1.7)
    wavs = model.generate(["rock", None], seeds=[0, 1]).clamp(-1, 1).cpu()
    for path, wav in zip(paths, wavs, strict=True):
        assert soundfile.info(path).frames == 1.7 * RATE
        torch.testing.assert_close(read_audio(path)[0], wav, rtol=0, atol=2 / 32767)


def test_a_file_grows_under_another_name_and_goes_if_it_is_cancelled(run, tmp_path, monkeypatch):
    sizes = []
    stream = MusicGen.generate_stream

    def interrupted(self, *args, **options):
        for i, chunk in enumerate(stream(self, *args, chunk_duration=0.2, **options)):
            if i == 3:
                raise KeyboardInterrupt
            yield chunk
            sizes.append((tmp_path / "a" / "00_rock.part.wav").stat().st_size)

    monkeypatch.setattr(MusicGen, "generate_stream", interrupted)
    with pytest.raises(SystemExit) as exit_:
        run("a", "--text", "rock", "--duration", "1.7", "--stream")
    assert exit_.value.code == 130
    assert sizes == sorted(set(sizes)) and len(sizes) == 3
    assert not list((tmp_path / "a").iterdir())


def command(folder, *options: str) -> list[str]:
    return [sys.executable, "-m", "musicgen_train.generate", "--checkpoint", str(folder), *options]


def test_stdout_is_one_wav_and_nothing_else(folder, tmp_path):
    options = ("--text", "rock", "--duration", "1.3", "--device", "cpu", "--output", "-")
    done = subprocess.run(command(folder, *options), capture_output=True, cwd=tmp_path, env=env())
    assert done.returncode == 0, done.stderr
    wav, rate = soundfile.read(io.BytesIO(done.stdout))
    assert (len(wav), rate) == (1.3 * RATE, RATE) and abs(wav).max() > 0
    assert not list(tmp_path.iterdir())


def test_a_player_that_stops_is_one_line(folder, tmp_path):
    options = ("--duration", "500", "--device", "cpu", "--output", "-")
    process = subprocess.Popen(
        command(folder, *options), stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path,
        env=env(),
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.read(4) == b"RIFF"
    process.stdout.close()
    error = process.stderr.read().decode()
    assert process.wait() == 2 and "Traceback" not in error
    assert "error: stdout was closed" in error.strip().splitlines()[-1]


def env() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--checkpoint", "nowhere"], "nowhere"),
        (["--duration", "0"], "duration 0 s"),
        (["--duration", "3600"], "duration 3600 s"),
        (["--duration", "nan"], "duration nan s"),
        (["--text", "a", "--text", "b", "--duration", "-5", "--duration", "4"], "duration -5 s"),
        (["--text", "caf\udce9"], "--text 'caf\\udce9': is not UTF-8"),
        (["--negative-text", "caf\udce9"], "--negative-text 'caf\\udce9': is not UTF-8"),
        (["--output", "/proc/nope"], "--output /proc/nope: cannot be written"),
        (["--output", f"{__file__}/sub"], "sub: cannot be written (Not a directory)"),
        (["--cfg-coef", "1e30"], "cfg_coef 1e+30"),
        (["--device", "meta"], "device meta"),
        (["--duration", "1", "--duration", "2"], "2 --duration for 1 texts"),
        (["--negative-text", "a", "--negative-text", "b"], "2 --negative-text for 1 texts"),
        (["--melody", "missing.wav"], "missing.wav"),
        (["--melody", "a.wav", "--prompt", "b.wav"], "choose one"),
        (["--separator", "htdemucs"], "--separator without --melody"),
        (["--prompt-duration", "2"], "--prompt-duration without --prompt"),
        (["--samples", "0"], "--samples 0"),
        (["--top-k", "-3"], "top_k -3"),
        (["--temperature", "-1"], "temperature -1"),
        (["--stream", "--format", "mp3"], "a stream is wav"),
        (["--stream", "--strategy", "peak"], "a stream is wav"),
        (["--output", "-", "--samples", "2"], "takes one piece, not 2"),
        (["--stream", "--text", "a", "--text", "b", "--duration", "1", "--duration", "2"],
         "cannot be streamed together"),
        (["--device", "gpu7"], "device gpu7"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_before_anything_is_loaded(
    folder, tmp_path, capsys, monkeypatch, options, message
):
    if "nowhere" not in options:  # which only loading can find out

        def loaded(*args, **kwargs):
            raise AssertionError("loaded")

        monkeypatch.setattr("musicgen_train.formats.load_musicgen", loaded)
    arguments = ["--checkpoint", str(folder), "--output", str(tmp_path / "out"), *options]
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    error = capsys.readouterr().err
    assert exit_.value.code == 2
    assert error.startswith("error: ") and error.count("\n") == 1 and message in error
    assert not (tmp_path / "out").exists()


def refused(capsys, call) -> str:
    """The one line that a call ends with."""
    with pytest.raises(SystemExit) as exit_:
        call()
    error = capsys.readouterr().err
    assert exit_.value.code == 2 and error.count("\n") == 1, error
    return error


def test_a_format_that_lacks_the_models_rate_is_refused_before_a_step(run, capsys, monkeypatch):
    monkeypatch.delattr(MusicGen, "generate")
    error = refused(capsys, lambda: run("a", "--format", "mp3"))
    assert error.startswith("error: mp3 files cannot have 1 channels of 1600 Hz")


def test_without_a_stdout_nothing_is_streamed_to_it(folder, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    error = refused(capsys, lambda: main(["--checkpoint", str(folder), "--output", "-"]))
    assert error.startswith("error: --output - without a stdout")


@pytest.mark.parametrize(
    ("shell", "message"),
    [
        ("ulimit -f 1; {} --output out", "00_music.wav: cannot be written"),
        ("ulimit -f 1; {} --output out --stream", "00_music.wav: cannot be written (File too"),
        ("{} --output - >/dev/full", "stdout: cannot be written (No space left on device)"),
    ],
)
def test_a_full_disk_is_one_line_and_leaves_nothing(folder, tmp_path, shell, message):
    words = shlex.join(command(folder, "--duration", "1.5", "--device", "cpu"))
    done = subprocess.run(
        ["bash", "-c", shell.format(words)], stderr=subprocess.PIPE, text=True, cwd=tmp_path,
        env=env(),
    )  # fmt: skip
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert message in done.stderr.splitlines()[-1]
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_command_of_a_piece_makes_that_piece_under_its_own_name(run, capsys):
    paths = run("a", "--text", "rock", "--samples", "2", "--duration", "0.3")
    before = [read_audio(path)[0] for path in paths]
    command = json.loads(Path(f"{paths[1]}.json").read_text())["command"]
    main(shlex.split(command)[3:])
    assert capsys.readouterr().out.strip() == str(paths[1])
    assert len(list(paths[0].parent.iterdir())) == 4
    assert torch.equal(read_audio(paths[0])[0], before[0])
    torch.testing.assert_close(read_audio(paths[1])[0], before[1], rtol=0, atol=2**-15)


def test_another_piece_never_takes_a_name_that_is_taken(run, tmp_path):
    (tmp_path / "a" / "00_jazz.wav").mkdir(parents=True)
    (rock,) = run("a", "--text", "rock", "--duration", "0.3")
    before = rock.read_bytes()
    names = [
        run("a", "--text", text, "--duration", "0.3", *options)[0].name
        for text, options in (
            ("Rock!", ()), ("rock", ("--cfg-coef", "1")), ("rock", ("--cfg-coef", "1", "--stream")),
            ("rock", ("--cfg-coef", "1")), ("rock", ()), ("jazz", ()),
        )
    ]  # fmt: skip
    assert names == [
        "00_rock_2.wav", "00_rock_3.wav", "00_rock_4.wav", "00_rock_3.wav", "00_rock.wav",
        "00_jazz_2.wav",
    ]  # fmt: skip
    assert rock.read_bytes() == before


class Interrupted:
    """A finder of modules during which somebody presses Ctrl-C."""

    def find_spec(self, name, path=None, target=None):
        if name == "musicgen_train.musicgen":
            raise KeyboardInterrupt


def test_ctrl_c_while_it_loads_is_no_traceback(folder, tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "musicgen_train.musicgen")
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    with pytest.raises(SystemExit) as exit_:
        main(["--checkpoint", str(folder), "--output", str(tmp_path / "a")])
    assert exit_.value.code == 130


def test_an_output_that_is_a_file_is_refused(run, tmp_path):
    (tmp_path / "a").write_text("mine")
    with pytest.raises(SystemExit):
        run("a")
    assert (tmp_path / "a").read_text() == "mine"


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


def test_bad_options_are_refused_without_loading_torch(tmp_path):
    code = (
        "import sys; from musicgen_train.generate import main\n"
        "try: main(['--checkpoint', 'x', '--duration', '0'])\n"
        "finally: assert 'torch' not in sys.modules"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 2 and result.stderr.startswith("error: duration 0 s"), result.stderr


def test_file_names_are_short_and_plain():
    assert slug("Happy Rock: 120 bpm!") == "happy-rock-120-bpm"
    assert slug("  ") == "music"
    assert len(slug("word " * 50)) <= 40
