"""Audio files of every kind that a folder of music may hold, most of them bad."""

import io
import os
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

RATE = 16000
SECONDS = 3.0  # that those to be kept last: prepare them with a min_duration below

KEPT = "kept"
UNDECODABLE = "cannot be decoded"
TRUNCATED = "is truncated"
NO_NUMBERS = "holds NaN or infinite samples"
EMPTY = "holds no audio samples"
NO_SEGMENT = "no segment is long and loud enough"
UNOPENABLE = "cannot be opened"
DUPLICATE = "is a duplicate"
NO_FILE = "is not a file"


def make_bad_audio(folder: Path) -> dict[str, str]:
    """Fill a folder; name of each file, relative to it -> "kept", or the phrase of its reason."""
    folder.mkdir(parents=True, exist_ok=True)
    expected: dict[str, str] = {}
    for make in (_sample_kinds, _formats, _wrong_names, _odd_names, _cut, _no_audio, _no_music):
        for name, (content, outcome) in make().items():
            (folder / name).write_bytes(content)
            expected[name] = outcome
    for make_here in (_copies, _links, _locked):
        expected |= make_here(folder)
    return expected


def music(seed: int, seconds: float = SECONDS, rate: int = RATE, channels: int = 1) -> np.ndarray:
    """A melody of random notes under some noise [n, channels], another for each seed."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    notes = 220 * 2 ** (rng.integers(0, 36, size=12) / 12)
    pitch = notes[np.minimum((time * 4).astype(int), 11)]
    noise = 0.05 * rng.standard_normal((len(time), channels))
    return 0.3 * np.sin(2 * np.pi * np.cumsum(pitch)[:, None] / rate) + noise


def encoded(
    wav: np.ndarray, format: str = "WAV", subtype: str | None = None, rate: int = RATE
) -> bytes:
    """Audio [n, channels] as the content of a file."""
    buffer = io.BytesIO()
    soundfile.write(buffer, wav, rate, format=format, subtype=subtype)
    return buffer.getvalue()


def aac(wav: np.ndarray, format: str = "ipod", codec: str = "aac", rate: int = RATE) -> bytes:
    """Mono audio [n, 1] as AAC (or ALAC) in MP4 ("ipod") or ADTS ("adts")."""
    import av

    buffer = io.BytesIO()
    file: Any = av.open(buffer, "w", format=format)
    with file:
        stream = file.add_stream(codec, rate=rate, layout="mono")
        for start in range(0, len(wav), 1024):
            samples = np.ascontiguousarray(wav[start : start + 1024].T, np.float32)
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return buffer.getvalue()


Files = dict[str, tuple[bytes, str]]


def _sample_kinds() -> Files:
    kinds = {
        "8_bit": "PCM_U8", "16_bit": "PCM_16", "24_bit": "PCM_24", "32_bit": "PCM_32",
        "float": "FLOAT", "double": "DOUBLE", "mu_law": "ULAW", "adpcm": "MS_ADPCM",
    }  # fmt: skip
    files = {
        f"{name}.wav": encoded(music(seed), "WAV", subtype)
        for seed, (name, subtype) in enumerate(kinds.items())
    }
    files["8_channels.wav"] = encoded(music(20, channels=8))
    files["192_khz.wav"] = encoded(music(21, rate=192_000), rate=192_000)
    files["4_khz.wav"] = encoded(music(22, rate=4000), rate=4000)
    files["over_full_scale.wav"] = encoded(9 * music(23), "WAV", "FLOAT")
    files["quiet_then_loud.wav"] = encoded(np.concatenate([np.zeros((4 * RATE, 1)), music(24)]))
    return {name: (content, KEPT) for name, content in files.items()}


def _formats() -> Files:
    files = {
        "good.flac": encoded(music(30), "FLAC"),
        "good.mp3": encoded(music(31), "MP3"),
        "good.ogg": encoded(music(32), "OGG", "VORBIS"),
        "good.opus": encoded(music(33), "OGG", "OPUS"),
        "good.aiff": encoded(music(34), "AIFF"),
        "float.aif": encoded(music(35), "AIFF", "FLOAT"),
        "rf64.wav": encoded(music(36), "RF64"),
        "extensible.wav": encoded(music(37), "WAVEX"),
        "good.m4a": aac(music(38)),
        "good.aac": aac(music(39), "adts"),
        "lossless.m4a": aac(music(40), codec="alac"),
        "huge_tags.mp3": _id3(3 << 20) + encoded(music(41), "MP3"),
        "unmeasured.mp3": _without_first_frame(encoded(music(42), "MP3")),
        "recorded_to_a_pipe.wav": _with_data_length(encoded(music(43)), 0xFFFFFFFF),
        "more_after_it.wav": encoded(music(44)) + b"LIST" + struct.pack("<I", 400) + b"INFO",
    }
    return {name: (content, KEPT) for name, content in files.items()}


def _wrong_names() -> Files:
    files = {
        "a_wav.mp3": encoded(music(50)),
        "an_mp3.wav": encoded(music(51), "MP3"),
        "an_ogg.m4a": encoded(music(52), "OGG"),
        "an_m4a.flac": aac(music(53)),
        "an_aac.ogg": aac(music(54), "adts"),
        "a_flac.aiff": encoded(music(55), "FLAC"),
    }
    return {name: (content, KEPT) for name, content in files.items()}


def _odd_names() -> Files:
    names = [
        "日本語 🎵 Ünï.wav", "n" * 246 + ".wav", "-rf new\nline.wav", "a.b.c.wav", "LOUD.WAV",
        os.fsdecode(b"caf\xe9.wav"), "quote' \"&<b>.wav", "%s{0}.wav",
    ]  # fmt: skip
    return {name: (encoded(music(60 + seed)), KEPT) for seed, name in enumerate(names)}


def _cut() -> Files:
    whole: dict[str, tuple[bytes, str]] = {
        "wav": (encoded(music(70)), TRUNCATED),
        "aiff": (encoded(music(71), "AIFF"), TRUNCATED),
        "flac": (encoded(music(72), "FLAC"), UNDECODABLE),
        "mp3": (encoded(music(73), "MP3"), TRUNCATED),
        "ogg": (encoded(music(74, 20), "OGG"), TRUNCATED),
        "opus": (encoded(music(75, 20), "OGG", "OPUS"), TRUNCATED),
        "m4a": (aac(music(76)), UNDECODABLE),
        "aac": (aac(music(77), "adts"), UNDECODABLE),
    }
    files: Files = {}
    for suffix, (content, outcome) in whole.items():
        files[f"cut_in_half.{suffix}"] = content[: len(content) // 2], outcome
    files["cut_by_one_byte.wav"] = whole["wav"][0][:-1], TRUNCATED
    files["cut_in_its_header.wav"] = whole["wav"][0][:20], UNDECODABLE
    files["absurd_length.wav"] = _with_data_length(whole["wav"][0], 0x7FFFFFFF), TRUNCATED
    return files


def _no_audio() -> Files:
    noise = np.random.default_rng(0).bytes(20_000)
    flac = encoded(music(80), "FLAC")
    files = {f"garbage.{suffix}": noise for suffix in ("wav", "mp3", "flac", "ogg", "m4a", "aac")}
    files |= {
        "empty.wav": b"",
        "empty.mp3": b"",
        "text.mp3": b"This is a list of songs.\n" * 100,
        "page.wav": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
        "playlist.m4a": b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        "picture.mp3": b"\x89PNG\r\n\x1a\n" + noise,
        "riff_then_garbage.wav": b"RIFF" + struct.pack("<I", 19_992) + b"WAVE" + noise[:19_988],
        "magic_then_garbage.flac": b"fLaC" + noise,
        "hole.flac": flac[:8000] + b"\0" * 8000 + flac[16_000:],
        "absurd_rate.wav": encoded(music(81, 0.5), rate=1),
        "no_channels.wav": _with_channels(encoded(music(82, 0.5)), 0),
    }
    return {name: (content, UNDECODABLE) for name, content in files.items()}


def _no_music() -> Files:
    nan, infinite = music(90), music(91)
    nan[RATE], infinite[-1] = np.nan, np.inf
    return {
        "nan.wav": (encoded(nan, "WAV", "FLOAT"), NO_NUMBERS),
        "infinite.wav": (encoded(infinite, "WAV", "DOUBLE"), NO_NUMBERS),
        "no_samples.wav": (encoded(np.zeros((0, 1))), EMPTY),
        "one_sample.wav": (encoded(np.full((1, 1), 0.5)), NO_SEGMENT),
        "short.flac": (encoded(music(92, 0.2), "FLAC"), NO_SEGMENT),
        "zeros.wav": (encoded(np.zeros((5 * RATE, 1))), NO_SEGMENT),
        "faint.wav": (encoded(1e-5 * music(93), "WAV", "FLOAT"), NO_SEGMENT),
    }


def _copies(folder: Path) -> dict[str, str]:
    wav = (32767 * music(100)).astype(np.int16)  # the formats round floats differently
    (folder / "copy_a.wav").write_bytes(encoded(wav))
    (folder / "copy_b.wav").write_bytes(encoded(wav))
    (folder / "copy_c.flac").write_bytes(encoded(wav, "FLAC"))
    return {"copy_a.wav": KEPT, "copy_b.wav": DUPLICATE, "copy_c.flac": DUPLICATE}


def _links(folder: Path) -> dict[str, str]:
    """Links that lead nowhere, to themselves and around; a pipe; a folder with a file's name."""
    (folder / "loop.wav").symlink_to("loop.wav")
    (folder / "dangling.mp3").symlink_to("nowhere.mp3")
    (folder / "copy_d.wav").symlink_to("copy_a.wav")
    (folder / "folder.wav").mkdir()
    (folder / "folder.wav" / "inside.wav").write_bytes(encoded(music(101)))
    (folder / "folder.wav" / "around").symlink_to("..")
    os.mkfifo(folder / "pipe.wav")  # reading it would wait for ever
    return {
        "loop.wav": UNOPENABLE,
        "dangling.mp3": UNOPENABLE,
        "copy_d.wav": DUPLICATE,
        "folder.wav/inside.wav": KEPT,
        "pipe.wav": NO_FILE,
    }


def _locked(folder: Path) -> dict[str, str]:
    """A file that may not be read, except by root."""
    path = folder / "locked.wav"
    path.write_bytes(encoded(music(102)))
    path.chmod(0)
    return {"locked.wav": KEPT if os.access(path, os.R_OK) else UNOPENABLE}


def _with_data_length(wav: bytes, length: int) -> bytes:
    at = wav.index(b"data") + 4
    return wav[:at] + struct.pack("<I", length) + wav[at + 4 :]


def _with_channels(wav: bytes, channels: int) -> bytes:
    at = wav.index(b"fmt ") + 10
    return wav[:at] + struct.pack("<H", channels) + wav[at + 2 :]


def _without_first_frame(mp3: bytes) -> bytes:
    """An MP3 without the frame that says how long it is."""
    return mp3[mp3.index(mp3[:2], 4) :]


def _id3(size: int) -> bytes:
    """An ID3v2.3 tag with a picture of so many bytes."""
    picture = b"\0image/png\0\3\0" + bytes(size)
    frame = b"APIC" + struct.pack(">IH", len(picture), 0) + picture
    length = bytes(len(frame) >> shift & 127 for shift in (21, 14, 7, 0))
    return b"ID3\3\0\0" + length + frame
