import errno
import functools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import fsspec
import numpy as np
import pytest
import soundfile
import torch
import webdataset

from data_prep import tracks
from data_prep.library import printable
from data_prep.prepare import prepare, summary
from musicgen_train.data.audio import decode_flac
from musicgen_train.data.index import load_index
from musicgen_train.data.shards import ShardReader
from musicgen_train.errors import UserError
from tests.data_prep.bad_audio import make_bad_audio
from tests.data_prep.small_library import (
    PITCHES,
    SOURCE_RATE,
    failures_of,
    files_of,
    read_npy,
    write_track,
)

SMALL: dict[str, Any] = {
    "sample_rate": 8000,
    "segment_duration": 2.0,
    "min_duration": 0.5,
    "chroma_window": 4096,
    "chroma_hop": 1024,
    "max_silence": None,
    "duplicates": "none",  # these tones are all alike
    "num_workers": 0,
}


def tone_level(wav, pitch, sample_rate):
    """Amplitude of the sine at `pitch` in a [C, N] wav."""
    time = torch.arange(wav.shape[1]) / sample_rate
    return 2 * (wav[0] * torch.exp(-2j * np.pi * pitch * time)).mean().abs().item()


def test_every_file_and_every_second_is_accounted_for(library, tmp_path):
    write_track(library, "eve", "brief", 0.2)
    (library / "noise.wav").write_bytes(b"this is not audio")
    info = prepare(library, tmp_path / "out", **SMALL)
    assert info["tracks"] == {"files": 10, "kept": 8, "filtered": 1, "failed": 1}
    assert info["samples"] == 8 * 3  # 5 s = 2 + 2 + 1
    assert info["hours"] == pytest.approx(8 * 5 / 3600, rel=1e-3)
    assert sum(part["samples"] for part in info["splits"].values()) == info["samples"]
    assert info["dropped_segments"] == {"silent": 0, "short": 1}
    failures = failures_of(tmp_path / "out")
    assert failures["noise.wav"]["status"] == "failed"
    assert "cannot be decoded" in failures["noise.wav"]["reason"]
    assert sum(info["reasons"].values()) == 2
    assert info["other_files"] == {}
    assert failures["eve/brief.flac"]["status"] == "filtered"
    assert "10 files = 8 prepared + 1 filtered + 1 failed" in summary(info, "out")


def test_the_same_music_gives_the_same_bytes_however_many_workers(library, tmp_path):
    prepare(library, tmp_path / "one", **SMALL)
    prepare(library, tmp_path / "again", **SMALL)
    prepare(library, tmp_path / "two", **SMALL | {"num_workers": 2})
    assert files_of(tmp_path / "one") == files_of(tmp_path / "again") == files_of(tmp_path / "two")


def test_shards_are_webdataset_shards_and_the_index_points_into_them(library, tmp_path):
    prepare(library, tmp_path / "out", shard_mb=0.05, **SMALL)
    index = load_index(tmp_path / "out")
    shards = sorted(str(path) for path in (tmp_path / "out").glob("shard-*.tar"))
    assert len(shards) > 1
    read = list(webdataset.WebDataset(shards, shardshuffle=False))
    assert [sample["__key__"] for sample in read] == [index.key(row) for row in range(len(index))]
    reader = ShardReader(index)
    for row, sample in enumerate(read):
        for member in ("flac", "json", "chroma.npy"):
            assert reader.read(row, member) == sample[member]


def test_segments_hold_the_music_of_their_place_in_the_track(library, tmp_path):
    path = library / "ada" / "one.flac"
    original, _ = soundfile.read(path, dtype="float32")
    prepare(library, tmp_path / "out", **SMALL | {"sample_rate": SOURCE_RATE})
    index = load_index(tmp_path / "out")
    reader = ShardReader(index)
    rows = [row for row in range(len(index)) if index.key(row).startswith("ada__one_")]
    assert len(rows) == 3
    for row in rows:
        metadata = json.loads(reader.read(row, "json"))
        start = round(metadata["offset"] * SOURCE_RATE)
        wav = decode_flac(reader.read(row, "flac"))[0]
        assert torch.allclose(wav, torch.tensor(original[start : start + len(wav), 0]), atol=2e-4)
        assert metadata["description"] == "one by ada"
        assert metadata["duration"] == index.duration[row] == len(wav) / SOURCE_RATE


def test_splits_are_disjoint_by_artist_and_none_is_empty(library, tmp_path):
    prepare(library, tmp_path / "out", **SMALL)
    index = load_index(tmp_path / "out")
    reader = ShardReader(index)
    artists = defaultdict(set)
    for split in ("train", "valid", "test"):
        for row in index.rows(split):
            metadata = json.loads(reader.read(row, "json"))
            artists[split].add(metadata["artist"])
            assert metadata["split"] == split
    assert all(artists[split] for split in ("train", "valid", "test"))
    assert sum(len(names) for names in artists.values()) == 4


def test_stems_take_the_vocals_out_and_drums_and_bass_out_of_the_melody(tmp_path):
    library = tmp_path / "library"
    write_track(library, "ada", "sung", 4.0, tuple(PITCHES))
    write_track(library, "bo", "mixed", 4.0)
    prepare(library, tmp_path / "out", **SMALL | {"separator": "stems"})
    index = load_index(tmp_path / "out")
    reader = ShardReader(index)
    wav = decode_flac(reader.read(0, "flac"))
    for stem, pitch in PITCHES.items():
        expected = 0.0 if stem == "vocals" else 0.2
        assert tone_level(wav, pitch, 8000) == pytest.approx(expected, abs=0.01), stem
    chroma = read_npy(reader.read(0, "chroma.npy"))
    assert chroma.dtype == np.float16
    assert chroma.shape == (1 + 16000 // 1024, 12)
    middle = chroma[4:-4].mean(0)  # A and C sound, the vocals' E too; the drums' B does not
    assert set(np.argsort(middle)[-3:]) == {9, 0, 4}
    assert "lists no stems" in failures_of(tmp_path / "out")["bo/mixed.flac"]["reason"]


def test_the_melody_of_a_mix_without_separation_is_its_loudest_pitch_class(tmp_path):
    time = np.arange(3 * SOURCE_RATE) / SOURCE_RATE
    (tmp_path / "library").mkdir()
    soundfile.write(tmp_path / "library/a.wav", 0.5 * np.sin(2 * np.pi * 440 * time), SOURCE_RATE)
    prepare(tmp_path / "library", tmp_path / "out", **SMALL)
    reader = ShardReader(load_index(tmp_path / "out"))
    chroma = read_npy(reader.read(0, "chroma.npy"))
    assert (chroma[2:-2].argmax(1) == 9).all()


def test_silence_is_dropped_and_counted(tmp_path):
    wav = np.zeros(8 * SOURCE_RATE)
    wav[: 2 * SOURCE_RATE] = 0.1 * np.random.default_rng(0).normal(size=2 * SOURCE_RATE)
    (tmp_path / "library").mkdir()
    soundfile.write(tmp_path / "library/quiet.wav", wav, SOURCE_RATE)
    info = prepare(tmp_path / "library", tmp_path / "out", **SMALL)
    assert info["samples"] == 1
    assert info["dropped_segments"] == {"silent": 3, "short": 0}


def test_a_sum_of_stems_above_full_scale_is_scaled_not_clipped(tmp_path):
    time = np.arange(2 * SOURCE_RATE) / SOURCE_RATE
    home = tmp_path / "library"
    home.mkdir()
    loud = 0.9 * np.sin(2 * np.pi * 440 * time)
    for name in ("mix", "a", "b"):
        soundfile.write(home / f"{name}.wav", loud, SOURCE_RATE)
    (home / "mix.json").write_text(json.dumps({"stems": {"melody": "a.wav", "bass": "b.wav"}}))
    prepare(home, tmp_path / "out", **SMALL | {"separator": "stems"})
    wav = decode_flac(ShardReader(load_index(tmp_path / "out")).read(0, "flac"))
    assert tone_level(wav, 440, 8000) == pytest.approx(1.0, abs=0.02)
    assert tone_level(wav, 1320, 8000) < 0.005  # a clipped sine has a third harmonic


@pytest.mark.parametrize("cut", ["song.flac", "song.wav"])
def test_a_truncated_file_is_recorded_and_the_run_goes_on(library, tmp_path, cut):
    noise = np.random.default_rng(0).normal(size=3 * SOURCE_RATE) * 0.1
    soundfile.write(library / cut, noise, SOURCE_RATE)
    whole = (library / cut).read_bytes()
    (library / cut).write_bytes(whole[: len(whole) // 2])
    info = prepare(library, tmp_path / "out", **SMALL)
    assert info["tracks"]["kept"] == 8
    assert failures_of(tmp_path / "out")[cut]["status"] == "failed"


def test_a_broken_sidecar_is_recorded_and_not_ignored(library, tmp_path):
    (library / "ada" / "one.json").write_text("{artist: ada")
    info = prepare(library, tmp_path / "out", **SMALL)
    assert info["tracks"]["failed"] == 1
    assert "is not JSON" in failures_of(tmp_path / "out")["ada/one.flac"]["reason"]


@pytest.mark.parametrize("content", [None, {}, {"readme.txt": b"hello"}, {"bad.wav": b"junk"}])
def test_nothing_usable_is_one_clear_error_and_leaves_nothing_behind(tmp_path, content):
    library = tmp_path / "library"
    if content is not None:
        library.mkdir()
        for name, data in content.items():
            (library / name).write_bytes(data)
    with pytest.raises(UserError, match=r"library|bad\.wav"):
        prepare(library, tmp_path / "out", **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ([] if content is None else ["library"])


def test_an_existing_output_folder_is_refused_and_untouched(library, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep")
    with pytest.raises(UserError, match="exists already"):
        prepare(library, tmp_path / "out", **SMALL)
    assert files_of(tmp_path / "out") == {"mine.txt": b"keep"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"separator": "magic"},
        {"segment_duration": 0},
        {"valid_fraction": 1.0},
        {"channels": 3},
        {"silence_db": "abc"},
        {"sample_rate": "fast"},
        {"shard_mb": 0},
        {"seed": [1]},
        {"loudness": float("nan")},
        {"nonsense": 1},
        {"duplicates": "all"},
        {"clap_model": "/nothing/here"},
    ],
    ids=str,
)
def test_impossible_settings_are_refused_before_any_work(library, tmp_path, wrong):
    with pytest.raises(UserError):
        prepare(library, tmp_path / "out", **SMALL | wrong)
    assert not (tmp_path / "out").exists()


def test_names_of_any_kind_become_distinct_safe_keys(tmp_path):
    for name in ("a b.wav", "a-b.wav", "歌.wav", "曲.wav", "x" * 150 + ".wav", "v1.2.final.wav"):
        (tmp_path / "library").mkdir(exist_ok=True)
        noise = np.random.default_rng(0).normal(size=SOURCE_RATE) * 0.1
        soundfile.write(tmp_path / "library" / name, noise, SOURCE_RATE)
    assert prepare(tmp_path / "library", tmp_path / "out", **SMALL)["samples"] == 6
    index = load_index(tmp_path / "out")
    keys = [index.key(row) for row in range(6)]
    assert len(set(keys)) == 6
    assert all(key.isascii() and "." not in key and len(key) < 100 for key in keys)


def test_the_command_reports_a_missing_folder_in_one_line_with_status_2(tmp_path):
    command = [sys.executable, "-m", "data_prep.prepare", f"input_dir={tmp_path}/none"]
    done = subprocess.run(
        [*command, f"output_dir={tmp_path}/out"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert (
        done.stderr.strip() == f"error: {tmp_path}/none: no such folder of music; check input_dir"
    )


def texts(folder):
    """The description of every track in a dataset."""
    reader = ShardReader(load_index(folder))
    metadata = [json.loads(reader.read(row, "json")) for row in range(len(reader.index))]
    return {entry["track_id"]: entry.get("description") for entry in metadata}


def test_a_table_describes_tracks_and_their_own_json_comes_first(library, tmp_path):
    (library / "ada/one.json").unlink()
    table = tmp_path / "songs.csv"
    table.write_text("file,description,artist\nada/one.flac,from the table,ada\nbo/two,no,bo\n")
    prepare(library, tmp_path / "out", metadata=table, **SMALL)
    described = texts(tmp_path / "out")
    assert described["ada__one"] == "from the table"
    assert described["bo__two"] == "two by bo"


def test_tracks_that_are_tagged_with_vocals_are_left_out_and_listed(library, tmp_path):
    sidecar = {"artist": "ada", "instrument": ["piano", "Female Vocals"]}
    (library / "ada/one.json").write_text(json.dumps(sidecar))
    info = prepare(library, tmp_path / "out", exclude_tags=["vocals"], **SMALL)
    assert info["tracks"] == {"files": 8, "kept": 7, "filtered": 1, "failed": 0}
    assert "is tagged with vocals" in failures_of(tmp_path / "out")["ada/one.flac"]["reason"]


def test_copies_of_a_track_are_left_out_and_name_it(tmp_path):
    library = tmp_path / "library"
    noise = np.random.default_rng(0).normal(size=(2, 6 * SOURCE_RATE)) * 3000
    noise = noise.astype(np.int16)
    library.mkdir()
    soundfile.write(library / "a.wav", noise[0], SOURCE_RATE)
    soundfile.write(library / "copy.flac", noise[0], SOURCE_RATE)
    soundfile.write(library / "other.wav", noise[1], SOURCE_RATE)
    info = prepare(library, tmp_path / "out", **SMALL | {"duplicates": "exact"})
    assert info["tracks"] == {"files": 3, "kept": 2, "filtered": 1, "failed": 0}
    reason = failures_of(tmp_path / "out")["copy.flac"]["reason"]
    assert reason == "is a duplicate (of a.wav)"


def test_kept_work_is_not_done_again_and_new_metadata_costs_none(library, tmp_path, monkeypatch):
    settings = SMALL | {"work_dir": tmp_path / "work"}
    prepare(library, tmp_path / "one", **settings)
    (library / "ada/one.json").write_text(json.dumps({"description": "new", "artist": "ada"}))
    write_track(library, "eve", "fresh", 5.0)
    worked = []
    original = tracks.segment_track
    monkeypatch.setattr(
        tracks, "segment_track", lambda path, *rest: worked.append(path) or original(path, *rest)
    )
    prepare(library, tmp_path / "two", **settings)
    assert [path.name for path in worked] == ["fresh.flac"]
    monkeypatch.undo()
    assert texts(tmp_path / "two")["ada__one"] == "new"
    prepare(library, tmp_path / "three", **SMALL)
    assert files_of(tmp_path / "two") == files_of(tmp_path / "three")


def test_a_file_that_changed_is_prepared_anew(library, tmp_path):
    settings = SMALL | {"work_dir": tmp_path / "work"}
    prepare(library, tmp_path / "one", **settings)
    write_track(library, "ada", "one", 2.5)
    prepare(library, tmp_path / "two", **settings)
    prepare(library, tmp_path / "three", **SMALL)
    assert files_of(tmp_path / "two") == files_of(tmp_path / "three")


def test_files_of_another_library_are_never_taken_for_those_of_this_one(tmp_path):
    settings = SMALL | {"work_dir": tmp_path / "work"}
    for seed, name in enumerate(("ja", "jb")):
        (tmp_path / name).mkdir()
        path = tmp_path / name / "01.wav"  # of one size, made at one time
        noise = 0.1 * np.random.default_rng(seed).normal(size=4 * SOURCE_RATE)
        soundfile.write(path, noise, SOURCE_RATE)
        os.utime(path, (1, 1))
        prepare(tmp_path / name, tmp_path / f"out_{name}", **settings)
    prepare(tmp_path / "jb", tmp_path / "straight", **SMALL)
    assert files_of(tmp_path / "out_jb") == files_of(tmp_path / "straight")
    assert files_of(tmp_path / "out_jb") != files_of(tmp_path / "out_ja")


@pytest.mark.parametrize("which", ["one.flac", "one.stems/bass.flac"])
def test_a_file_that_changes_while_it_is_prepared_fails_and_leaves_no_part(
    tmp_path, monkeypatch, which
):
    library = tmp_path / "library"
    write_track(library, "ada", "one", 4.0, ("melody", "bass"))
    write_track(library, "bo", "two", 4.0, ("melody", "bass"))
    original = tracks.segment_track
    before = (library / "ada" / which).read_bytes()

    def meanwhile(path, *rest):
        facts = original(path, *rest)
        if path.name == "one.flac":
            (library / "ada" / which).write_bytes(before + b"more")
        return facts

    settings = SMALL | {"work_dir": tmp_path / "work", "separator": "stems"}
    monkeypatch.setattr(tracks, "segment_track", meanwhile)
    prepare(library, tmp_path / "out", **settings)
    assert (
        failures_of(tmp_path / "out")["ada/one.flac"]["reason"] == "changed while it was prepared"
    )
    assert len(list((tmp_path / "work").rglob("*.tar"))) == 1
    assert not list((tmp_path / "work").rglob("*.tmp"))


def test_a_library_behind_http_gives_the_same_dataset(library, tmp_path):
    handler = functools.partial(QuietHandler, directory=str(library))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        prepare(f"http://127.0.0.1:{server.server_port}/", tmp_path / "remote", **SMALL)
    finally:
        server.shutdown()
        server.server_close()
    prepare(library, tmp_path / "local", **SMALL)
    assert files_of(tmp_path / "remote") == files_of(tmp_path / "local")


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_kept_work_never_lies_in_the_dataset(library, tmp_path):
    with pytest.raises(UserError, match="lies in output_dir"):
        prepare(library, tmp_path / "out", **SMALL | {"work_dir": tmp_path / "out/work"})


def test_rows_that_name_no_file_are_told(library, tmp_path, capsys):
    table = tmp_path / "songs.csv"
    table.write_text("file,genre\nada/one.flac,folk\nzzz.wav,jazz\n")
    prepare(library, tmp_path / "out", metadata=table, **SMALL)
    assert "rows that name no file: 1 (zzz.wav)" in capsys.readouterr().err


def test_a_full_disk_stops_the_run_and_keeps_what_is_finished(library, tmp_path, monkeypatch):
    original, calls = tracks.segment_track, []

    def fills_up(*arguments):
        calls.append(arguments)
        if len(calls) > 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(*arguments)

    monkeypatch.setattr(tracks, "segment_track", fills_up)
    with pytest.raises(UserError, match=r"make room .* run this again"):
        prepare(library, tmp_path / "out", **SMALL)
    monkeypatch.undo()
    assert not (tmp_path / "out").exists()
    prepare(library, tmp_path / "out", **SMALL)
    prepare(library, tmp_path / "straight", **SMALL)
    assert files_of(tmp_path / "out") == files_of(tmp_path / "straight")
    assert not list(tmp_path.glob(".*"))


def test_a_bucket_gives_the_same_dataset_as_a_folder(library, tmp_path):
    memory = fsspec.filesystem("memory")
    memory.put(str(library), "/bucket", recursive=True)
    try:
        prepare("memory://bucket", tmp_path / "remote", **SMALL)
    finally:
        memory.rm("/bucket", recursive=True)
    prepare(library, tmp_path / "local", **SMALL)
    assert files_of(tmp_path / "remote") == files_of(tmp_path / "local")


@pytest.mark.slow
def test_ray_gives_the_same_bytes_as_processes(library, tmp_path):
    prepare(library, tmp_path / "one", **SMALL | {"num_workers": 2})
    prepare(library, tmp_path / "two", executor="ray", **SMALL | {"num_workers": 2})
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["local", "ray"])
def test_a_worker_killed_during_the_run_changes_nothing(tmp_path, executor):
    for number in range(16):
        write_track(tmp_path / "library", "ada", f"song{number}", 20.0)
    settings = SMALL | {"num_workers": 2, "executor": executor}
    prepare(tmp_path / "library", tmp_path / "straight", **settings)
    killer = threading.Thread(target=kill_a_worker, args=(tmp_path / ".out.partial",))
    killer.start()
    prepare(tmp_path / "library", tmp_path / "out", **settings)
    killer.join()
    assert files_of(tmp_path / "out") == files_of(tmp_path / "straight")


def kill_a_worker(partial):
    """Kill the process that writes the first unfinished part."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for path in partial.rglob("*.tmp"):
            os.kill(int(path.name.split(".")[-2]), signal.SIGKILL)
            return
        time.sleep(0.001)
    raise AssertionError("no worker was seen at work")


def test_every_kind_of_bad_audio_is_listed_and_none_stops_the_run(tmp_path):
    expected = make_bad_audio(tmp_path / "library")
    assert len(expected) >= 35
    info = prepare(tmp_path / "library", tmp_path / "out", **SMALL | {"duplicates": "exact"})
    failures = failures_of(tmp_path / "out")
    reader = ShardReader(load_index(tmp_path / "out"))
    kept = {json.loads(reader.read(row, "json"))["file"] for row in range(len(reader.index))}
    found = {name: entry["reason"].split(" (")[0] for name, entry in failures.items()}
    found |= dict.fromkeys(kept, "kept")
    assert found == {printable(name): outcome for name, outcome in expected.items()}
    assert info["tracks"]["files"] == len(expected)
