import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from matplotlib.image import imread

from musicgen_train.app.request import Limits
from musicgen_train.app.take_files import _band, file_name
from musicgen_train.app.takes import TakeStore, read_settings
from musicgen_train.data.audio import audio_write, write_with_comment
from musicgen_train.errors import UserError
from musicgen_train.evaluation.report.plots import display_mel

RATE = 16_000
SETTINGS = {"text": "calm piano", "seed": 7, "adapters": {"mine": 0.5}, "duration": 1.0}


def noise(seconds=1.0, channels=1):
    generator = torch.Generator().manual_seed(0)
    return 0.2 * torch.randn(channels, round(seconds * RATE), generator=generator)


@pytest.fixture
def store(tmp_path):
    store = TakeStore(tmp_path, Limits(max_takes=3))
    yield store
    store.close()


def test_a_take_is_the_music_as_the_command_line_writes_it(store, tmp_path):
    take = store.add("ada", noise(), RATE, SETTINGS)
    path = audio_write(
        tmp_path / "expected", noise(), RATE, strategy="loudness", loudness_compressor=True
    )
    assert np.array_equal(soundfile.read(take.wav)[0], soundfile.read(path)[0])
    assert soundfile.info(take.wav).subtype == "PCM_16"
    assert (take.title, take.duration) == ("calm piano · seed 7", 1.0)
    assert json.loads((take.folder / "settings.json").read_text()) == SETTINGS


def test_the_picture_shows_what_sounds_where(store):
    time = torch.arange(2 * RATE) / RATE
    wav = 0.5 * torch.sin(2 * torch.pi * 5000 * time)[None]
    wav[:, :RATE] = 0.5 * torch.sin(2 * torch.pi * 100 * time[:RATE])
    image = imread(store.add("ada", wav, RATE, SETTINGS).spectrogram)
    bright = image[..., :3].mean(-1) * image[..., 3]
    rows, columns = np.nonzero(bright > 0.85)  # from the top, from the left
    early, late = (rows[columns < bright.shape[1] // 2], rows[columns > bright.shape[1] // 2 + 40])
    assert np.median(early) > np.median(late) + 0.3 * len(image)


@pytest.mark.parametrize("hertz", [200, 1000, 5000])
def test_frequencies_are_written_beside_their_bands(hertz):
    wav = torch.sin(2 * torch.pi * hertz * torch.arange(RATE) / RATE)[None]
    loudest = display_mel(wav, RATE).mean(1).argmax()
    assert _band(hertz, RATE) == pytest.approx(float(loudest), abs=0.7)


@pytest.mark.parametrize("format", ["wav", "flac", "mp3"])
@pytest.mark.parametrize(
    "text", ["calm piano", "", 'ピアノ 🎹 مرحبا\n\0"\\', "🎹" * 2000], ids=["a", "b", "c", "d"]
)
def test_downloads_carry_their_settings(store, format, text):
    settings = SETTINGS | {"text": text, "negative_text": text}
    take = store.add("ada", noise(), RATE, settings)
    path = store.download(take, format)
    assert path.suffix == f".{format}"
    assert len(path.name.encode()) < 255
    assert read_settings(path) == settings
    wav, rate = soundfile.read(path)
    assert rate == RATE
    assert len(wav) == pytest.approx(RATE, abs=2500)  # an mp3 has whole frames


def test_a_flac_has_the_samples_of_the_wav(store):
    take = store.add("ada", noise(channels=2), RATE, SETTINGS)
    flac, wav = (soundfile.read(store.download(take, f), dtype="int16")[0] for f in ("flac", "wav"))
    assert np.array_equal(flac, wav)


def test_a_format_that_cannot_hold_the_music_is_refused_in_one_line(store):
    take = store.add("ada", torch.randn(1, 1600) / 9, 1600, SETTINGS)
    with pytest.raises(UserError, match="use wav or flac"):
        store.download(take, "mp3")
    with pytest.raises(UserError, match="choose wav, flac, mp3"):
        store.download(take, "../../etc/passwd")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Calm piano, with strings!", "calm-piano-with-strings_7"),
        ("", "music_7"),
        ("🎹", "music_7"),
        ("ピアノ 曲", "ピアノ-曲_7"),
        ("../../etc/passwd", "etc-passwd_7"),
        ("x" * 100, "x" * 40 + "_7"),
    ],
)
def test_a_file_says_its_text_and_seed(text, name):
    assert file_name(text, 7) == name


def test_files_without_settings_are_refused(tmp_path):
    audio_write(tmp_path / "none", noise(), RATE)
    for name, comment in (("plain", "{}"), ("deep", "[" * 10_000), ("word", "hi"), ("list", "[]")):
        write_with_comment(tmp_path / f"{name}.wav", noise(), RATE, "wav", comment)
    (tmp_path / "text.wav").write_text("nothing")
    for path in (*tmp_path.iterdir(), tmp_path / "gone.wav", tmp_path):
        with pytest.raises(UserError, match="holds no settings"):
            read_settings(path)


def test_each_visitor_sees_their_own_takes_newest_first(store):
    first, second = (store.add("ada", noise(), RATE, SETTINGS) for _ in range(2))
    store.add("bo", noise(), RATE, SETTINGS)
    assert [take.id for take in store.of("ada")] == [second.id, first.id]
    assert store.get("ada", first.id) == first
    for visitor, id in (("bo", first.id), ("ada", ""), ("ada", "../x"), ("ada", None), ("", "")):
        with pytest.raises(UserError, match="this take is gone"):
            store.get(visitor, id)
    with pytest.raises(UserError, match="this take is gone"):
        store.remove("bo", first.id)
    assert first.wav.exists()
    store.remove("ada", first.id)
    assert not first.folder.exists()
    assert store.of("ada") == [second]
    with pytest.raises(UserError, match="this take is gone"):
        store.download(first, "wav")


def test_a_visitor_who_gives_a_path_gets_no_folder_there(store, tmp_path):
    for visitor in ("../../up", "/tmp/x", "a/b", "\0", "\ud83d", "x" * 10_000):
        take = store.add(visitor, noise(0.1), RATE, SETTINGS)
        assert take.folder.parent.parent == tmp_path
        assert store.of(visitor) == [take]


def test_of_too_many_takes_the_oldest_go(store):
    takes = [store.add("ada", noise(), RATE, SETTINGS) for _ in range(5)]
    other = store.add("bo", noise(), RATE, SETTINGS)
    assert store.of("ada") == takes[:1:-1]
    assert [take.folder.exists() for take in takes] == [False, False, True, True, True]
    assert store.of("bo") == [other]


def test_the_disk_is_bounded_whoever_fills_it_and_however(tmp_path):
    store = TakeStore(tmp_path, Limits(max_disk_bytes=250_000))
    takes = [store.add(visitor, noise(), RATE, SETTINGS) for visitor in ("ada", "bo", "cy", "dee")]
    store.download(takes[-1], "flac")
    store.download(takes[-1], "mp3")
    used = sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file())
    assert used <= 250_000
    assert takes[-1].wav.exists()
    assert not takes[0].wav.exists()
    store.close()


def test_the_newest_take_stays_even_if_it_is_larger_than_the_bound(tmp_path):
    store = TakeStore(tmp_path, Limits(max_disk_bytes=1000))
    take = store.add("ada", noise(), RATE, SETTINGS)
    assert store.of("ada") == [take]
    store.close()


def test_a_take_that_cannot_be_written_leaves_nothing(store, monkeypatch):
    def full(*given):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("musicgen_train.app.takes.draw_spectrogram", full)
    with pytest.raises(UserError, match="No space left"):
        store.add("ada", noise(), RATE, SETTINGS)
    assert store.of("ada") == []
    assert [path.name for path in store._home.path.iterdir()] == [".musicgen_train-server"]


def test_takes_of_many_threads_are_all_there(tmp_path):
    store = TakeStore(tmp_path, Limits())
    errors = []

    def add(visitor):
        try:
            for _ in range(3):
                store.download(store.add(visitor, noise(0.2), RATE, SETTINGS), "flac")
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=add, args=(str(i),)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []
    assert [len(store.of(str(i))) for i in range(4)] == [3] * 4
    store.close()


def test_a_closed_store_leaves_nothing_and_takes_nothing(tmp_path):
    store = TakeStore(tmp_path, Limits())
    store.add("ada", noise(), RATE, SETTINGS)
    store.close()
    store.close()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError):
        store.add("ada", noise(), RATE, SETTINGS)
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_killed_servers_go_and_nothing_else(tmp_path):
    script = (
        "import sys, os; from pathlib import Path\n"
        "from musicgen_train.app.server_folder import ServerFolder\n"
        "folder = ServerFolder(Path(sys.argv[1])); (folder.path / 'take.wav').write_text('x')\n"
        "print(folder.path); sys.stdout.flush(); os.kill(os.getpid(), 9)"
    )
    run = [sys.executable, "-c", script, str(tmp_path)]
    killed = subprocess.run(run, capture_output=True, text=True, check=False).stdout.strip()
    assert (Path(killed) / "take.wav").exists()
    living = TakeStore(tmp_path, Limits())
    take = living.add("ada", noise(), RATE, SETTINGS)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "song.wav").write_text("not ours")
    (tmp_path / "link").symlink_to(take.folder.parent)
    TakeStore(tmp_path, Limits()).close()
    assert not Path(killed).exists()
    assert take.wav.exists()
    assert (tmp_path / "mine" / "song.wav").exists()
    living.close()


def test_a_root_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        TakeStore(tmp_path / "file" / "x", Limits())


def test_a_root_that_another_user_made_or_a_link_is_refused(tmp_path, monkeypatch):
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(UserError, match="TMPDIR"):
        TakeStore(link, Limits())
    monkeypatch.setattr("os.getuid", lambda: 54321)
    with pytest.raises(UserError, match="another user"):
        TakeStore(tmp_path / "elsewhere", Limits())
    assert not list((tmp_path / "elsewhere").iterdir())
