"""Preparing and tokenising in multiples of real time per core, and where the time goes.

The music is rendered by the demo corpus: 44.1 kHz stereo, as FLAC and as MP3. Everything runs in
processes with one thread; speeds are seconds of music per second of processor time, medians over
rounds, so that others on the machine matter little. HT-Demucs is not part of it.
"""

import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.memory import in_fresh_process, peak_mib
from benchmarks.results import Row
from benchmarks.timing import one_thread

TRACK_DURATION = 150.0  # seconds
RATE, SEGMENT_DURATION = 32000, 30.0
SETTINGS: dict[str, Any] = {
    "sample_rate": RATE, "segment_duration": SEGMENT_DURATION, "num_workers": 0,
}  # fmt: skip
RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "mp3 to mono": ("mp3", {}),
    "flac to mono": ("flac", {}),
    "mp3 to stereo": ("mp3", {"channels": 2}),
    "mp3 to mono, -16 LUFS, bpm and key": ("mp3", {"loudness": -16.0, "estimates": True}),
}


def render(folder: Path, minutes: float) -> dict[str, Path]:
    """Folders of the same tracks as FLAC and as MP3, and nothing beside them."""
    import soundfile

    from data_prep.demo.corpus import Settings, write_corpus

    n_tracks = max(1, round(60 * minutes / TRACK_DURATION))
    settings = Settings(0, TRACK_DURATION, TRACK_DURATION)
    write_corpus(folder / "corpus", settings, n_tracks, os.cpu_count() or 1)
    folders = {kind: folder / kind for kind in ("flac", "mp3")}
    for path in folders.values():
        path.mkdir()
    mixes = (path for path in (folder / "corpus").rglob("*.flac") if ".stems" not in str(path))
    for number, path in enumerate(sorted(mixes)):
        wav, rate = soundfile.read(path, dtype="float32")
        soundfile.write(folders["mp3"] / f"{number}.mp3", wav, rate)
        path.rename(folders["flac"] / f"{number}.flac")
    return folders


def prepare_once(music: Path, output: Path, settings: dict[str, Any]) -> dict[str, float]:
    """Seconds of music and of processor time, and the peak of memory in MiB."""
    from data_prep.prepare import prepare

    one_thread()
    spent = 0.0
    for attempt in ("warm", "timed"):  # what is imported or planned on first use is no speed
        began = time.process_time()
        prepare(music, output / attempt, **(SETTINGS | settings))
        spent = time.process_time() - began
    return {"music": music_seconds(music), "spent": spent, "MiB": peak_mib()}


def tokenize_once(dataset: Path, output: Path, preset: str) -> dict[str, float]:
    """Seconds of music and of processor time that a random codec of a preset's shape takes."""
    from benchmarks.codec_models import our_codec
    from data_prep.tokenize import tokenize

    one_thread()
    codec = our_codec(preset)
    began = time.process_time()
    info = tokenize(dataset, output, codec)
    return {"music": 3600 * info["hours"], "spent": time.process_time() - began, "MiB": peak_mib()}


def stages(music: Path) -> dict[str, float]:
    """Seconds of processor time that each stage takes alone, of all tracks."""
    one_thread()
    spent: dict[str, float] = {}
    paths = sorted(music.iterdir())
    for path in (paths[0], *paths):
        if path == paths[0]:
            spent = {}  # the first time warms up
        stages_of(path, spent)
    return spent


def stages_of(path: Path, spent: dict[str, float]) -> None:
    """Add the seconds of one track."""
    from data_prep.pcm import Pcm
    from musicgen_train.data.audio_blocks import resample_blocks
    from musicgen_train.data.audio_file import AudioFile

    def timed(name: str, work: Callable[[], Any]) -> Any:
        began = time.process_time()
        result = work()
        spent[name] = spent.get(name, 0.0) + time.process_time() - began
        return result

    file = AudioFile(path)
    pcm = Pcm(file.sample_rate, file.channels)
    blocks = timed("decode", lambda: list(file.blocks()))
    timed("hash", lambda: list(pcm.hear(iter(blocks))))
    mono = timed("to mono", lambda: [block.mean(0, keepdim=True) for block in blocks])
    wav = timed("resample", lambda: list(resample_blocks(iter(mono), file.sample_rate, RATE)))
    for name, work in analyses(wav):
        timed(name, work)


def analyses(blocks: list[Any]) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What is done to a track at the dataset's rate, and to its segments: (name, the work)."""
    import torch

    from data_prep.fingerprint import fingerprint
    from data_prep.key import estimate_key
    from data_prep.silence import frame_levels
    from data_prep.tempo import estimate_tempo
    from musicgen_train.conditioning.chroma import ChromaExtractor
    from musicgen_train.data.audio import encode_flac
    from musicgen_train.data.loudness_meter import measure_loudness

    yield "silence", lambda: frame_levels(iter(blocks), RATE)
    segments = torch.cat(blocks, -1).split(round(RATE * SEGMENT_DURATION), -1)
    yield "loudness", lambda: [measure_loudness(segment, RATE) for segment in segments]
    extract = ChromaExtractor(RATE, window=16384, hop=4096)
    yield "chroma", lambda: [extract(segment[None]) for segment in segments]
    yield "encode flac", lambda: [encode_flac(segment, RATE) for segment in segments]
    yield "fingerprint", lambda: fingerprint(iter(blocks), RATE)
    yield "tempo (estimates)", lambda: estimate_tempo(iter(blocks), RATE)
    yield "key (estimates)", lambda: estimate_key(iter(blocks), RATE)


def music_seconds(folder: Path) -> float:
    import soundfile

    return sum(soundfile.info(path).duration for path in folder.iterdir())


def speed(case: str, once: Callable[[int], dict[str, float]], rounds: int) -> Row:
    """Multiples of real time per core, the median over rounds, and the most memory."""
    found = [once(number) for number in range(rounds)]
    times = statistics.median(result["music"] / result["spent"] for result in found)
    mib = max(result["MiB"] for result in found)
    return Row("data", case, times, "x real time", rounds=rounds, mib=mib, note="per core")


def rows(folder: Path, minutes: float, rounds: int, preset: str) -> Iterator[Row]:
    """Speeds of preparing and tokenising, and of each stage alone; `folder` is filled."""
    music = render(folder, minutes)
    seconds = music_seconds(music["mp3"])
    for name, (kind, settings) in RUNS.items():
        yield speed(
            f"preparing, {name}",
            lambda n, name=name, kind=kind, settings=settings: in_fresh_process(
                prepare_once, music[kind], folder / f"{name}{n}", settings
            ),
            rounds,
        )
    found = [in_fresh_process(stages, music["mp3"]) for _ in range(rounds)]
    for stage in found[0]:
        times = seconds / statistics.median(spent[stage] for spent in found)
        case = f"preparing, {stage} alone"
        yield Row("data", case, times, "x real time", rounds=rounds, note="per core, of mp3")
    dataset = dataset_for(preset, music["mp3"], folder)
    yield speed(
        f"tokenising, {preset} codec",
        lambda n: in_fresh_process(tokenize_once, dataset, folder / f"codes{n}", preset),
        1,
    )


def dataset_for(preset: str, music: Path, folder: Path) -> Path:
    """The dataset of the first run, or one more if the preset's codec wants another rate."""
    from benchmarks.codec_models import PRESETS

    rate = PRESETS[preset]["sample_rate"]
    if rate == RATE:
        return folder / f"{next(iter(RUNS))}0" / "timed"
    in_fresh_process(prepare_once, music, folder / f"at {rate}", {"sample_rate": rate})
    return folder / f"at {rate}" / "timed"
