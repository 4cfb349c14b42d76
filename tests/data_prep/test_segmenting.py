"""From a file to its segments."""

import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from data_prep.segmenting import SegmentSettings, TrackFacts, segment_track
from musicgen_train.conditioning.chroma import ChromaExtractor
from musicgen_train.data.audio import AudioError, decode_flac, read_audio, resample, to_channels
from musicgen_train.data.audio_file import AudioFile
from musicgen_train.data.loudness_meter import measure_loudness
from tests.data_prep.bad_audio import music

RATE = 16000
SETTINGS: dict[str, Any] = {
    "sample_rate": 8000, "segment_duration": 2.0, "min_duration": 0.5, "chroma_window": 1024,
    "chroma_hop": 256,
}  # fmt: skip


class Segment:
    """A segment as it is read back."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        assert list(files) == ["flac", "json", "chroma.npy"]
        self.wav = decode_flac(files["flac"])
        self.facts = json.loads(files["json"])
        self.chroma = np.load(io.BytesIO(files["chroma.npy"]), allow_pickle=False)


def segmented(
    path: Path, stems: Mapping[str, Path] | None = None, **settings: Any
) -> tuple[TrackFacts, list[Segment]]:
    files: list[dict[str, bytes]] = []
    chosen = SegmentSettings(**{**SETTINGS, **settings})
    facts = segment_track(path, stems or {}, chosen, "cpu", files.append)
    assert facts.n_segments == len(files)
    return facts, [Segment(segment) for segment in files]


def written(folder: Path, wav: np.ndarray, name: str = "x.wav", rate: int = RATE) -> Path:
    subtype = "FLOAT" if name.endswith(".wav") else None
    soundfile.write(folder / name, wav, rate, subtype=subtype)
    return folder / name


def test_segments_are_the_resampled_track_in_order(tmp_path):
    path = written(tmp_path, music(0, 5.2, channels=2))
    facts, segments = segmented(path)
    whole = to_channels(resample(read_audio(path)[0], RATE, 8000), 1)
    assert [s.facts["offset"] for s in segments] == [0.0, 2.0, 4.0]
    assert [s.facts["duration"] for s in segments] == pytest.approx([2.0, 2.0, 1.2])
    assert (torch.cat([s.wav for s in segments], 1) - whole).abs().max() < 2**-14
    assert (facts.duration, facts.sample_rate, facts.channels) == (5.2, RATE, 2)
    assert (facts.n_silent, facts.n_short, facts.estimates) == (0, 0, {})
    assert facts.fingerprint.dtype == np.uint32
    extract = ChromaExtractor(8000, window=1024, hop=256)
    expected = extract(whole[None, :, :16000])[0].numpy()
    assert segments[0].chroma.dtype == np.float16
    assert segments[0].chroma == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("settings", [{}, {"loudness": -20.0, "channels": 2}])
def test_the_size_of_blocks_changes_nothing(tmp_path, monkeypatch, settings):
    wav = np.concatenate([music(0, 3.1), np.zeros((RATE * 3, 1)), music(1, 2.2)])
    path = written(tmp_path, wav, "x.flac")
    results = []
    blocks = AudioFile.blocks
    for size in (1 << 18, 5001):
        monkeypatch.setattr(AudioFile, "blocks", lambda self, size=size: blocks(self, size))
        files: list[dict[str, bytes]] = []
        chosen = SegmentSettings(**SETTINGS, **settings)
        facts = segment_track(path, {}, chosen, "cpu", files.append)
        results.append((facts._replace(fingerprint=facts.fingerprint.tolist()), files))  # type: ignore[arg-type]
    assert results[0] == results[1]
    assert len(results[0][1]) == 3


def test_equal_samples_have_equal_hashes_in_any_lossless_format(tmp_path):
    wav = np.round(music(0) * 2**14).astype(np.int16)
    kinds = {
        "x.wav": "PCM_16",
        "y.wav": "PCM_24",
        "z.wav": "PCM_32",
        "x.flac": None,
        "x.aiff": None,
    }
    for name, subtype in kinds.items():
        soundfile.write(tmp_path / name, wav, RATE, subtype)
    hashes = {segmented(tmp_path / name)[0].audio_hash for name in kinds}
    assert len(hashes) == 1
    other = segmented(written(tmp_path, wav, "other.flac", rate=RATE // 2))[0].audio_hash
    stereo = segmented(written(tmp_path, np.tile(wav, 2), "stereo.flac"))[0].audio_hash
    assert len(hashes | {other, stereo}) == 3


def test_a_track_has_the_loudness_asked_for_unless_it_would_clip(tmp_path):
    path = written(tmp_path, 0.1 * music(0, 6.0))
    for loudness in (-30.0, -20.0):
        whole = torch.cat([s.wav for s in segmented(path, loudness=loudness)[1]], dim=1)
        assert measure_loudness(whole, 8000) == pytest.approx(loudness, abs=0.05)
    _, segments = segmented(path, loudness=0.0)
    whole = torch.cat([s.wav for s in segments], dim=1)
    assert whole.abs().max() == pytest.approx(1.0, abs=1e-3)
    loudest = measure_loudness(whole, 8000)
    assert loudest is not None and loudest < -3
    assert segments[0].facts["loudness"] == pytest.approx(
        measure_loudness(segments[0].wav, 8000), abs=0.02
    )


def test_what_exceeds_full_scale_is_scaled_to_it_and_the_rest_is_left(tmp_path):
    _, [segment] = segmented(written(tmp_path, 7 * music(0, 2.0)))
    assert segment.wav.abs().max() == pytest.approx(1.0, abs=1e-3)
    quiet = written(tmp_path, 0.01 * music(0, 2.0))
    peak = resample(read_audio(quiet)[0], RATE, 8000).abs().max().item()
    assert segmented(quiet)[1][0].wav.abs().max() == pytest.approx(peak, abs=1e-4)


def test_silence_is_not_raised_to_be_heard(tmp_path):
    facts, segments = segmented(written(tmp_path, 1e-4 * music(0, 4.0)), loudness=-16.0)
    assert (segments, facts.n_silent, len(facts.fingerprint)) == ([], 1, 0)


def test_long_silence_is_cut_out_and_no_segment_crosses_it(tmp_path):
    silence = np.zeros((3 * RATE, 1))
    parts = [silence, music(0, 2.5), silence[:RATE], music(1, 1.5), silence, music(2, 3.0), silence]
    path = written(tmp_path, np.concatenate(parts))
    facts, segments = segmented(path, max_silence=2.0)
    assert facts.n_silent == 3
    assert facts.n_short == 0
    assert [s.facts["offset"] for s in segments] == pytest.approx([3, 5, 7, 11, 13], abs=0.06)
    assert [s.facts["duration"] for s in segments] == pytest.approx([2, 2, 1, 2, 1], abs=0.11)
    assert segments[1].facts["silence"] == pytest.approx(0.5, abs=0.06)  # the silence of 1 s
    facts, segments = segmented(path, max_silence=None)
    assert [s.facts["offset"] for s in segments] == [2, 4, 6, 10, 12]  # those at 0, 8, 14 and 16 s
    assert facts.n_silent == 4


def test_a_rest_that_is_too_short_is_counted(tmp_path):
    facts, segments = segmented(written(tmp_path, music(0, 4.4)))
    assert (len(segments), facts.n_short) == (2, 1)
    facts, segments = segmented(written(tmp_path, music(0, 0.3)))
    assert (len(segments), facts.n_short, facts.n_silent) == (0, 1, 0)


def test_stems_give_the_target_without_vocals_and_the_melody_without_drums_and_bass(tmp_path):
    names = ("Vocals", "backing_vocals", "bass", "drums", "melody", "strings")
    parts = {
        name: torch.from_numpy(music(seed, 3.0, rate=8000)[:, 0]).float() / 8
        for seed, name in enumerate(names)
    }
    parts["strings"] = parts["strings"][:12_345]  # it ends earlier
    stems = {
        name: written(tmp_path, part.numpy(), f"{name}.wav", 8000) for name, part in parts.items()
    }
    unread = tmp_path / "mix.wav"
    facts, segments = segmented(unread, stems, separator="stems", segment_duration=3.0)

    def total(*wanted: str) -> torch.Tensor:
        wav = torch.zeros(1, 24_000)
        for name in wanted:
            wav[0, : len(parts[name])] += parts[name]
        return wav

    target = total("bass", "drums", "melody", "strings")
    assert (segments[0].wav - target).abs().max() <= 2**-15  # what 16 bits can tell
    melodic = total("Vocals", "backing_vocals", "melody", "strings")
    chroma = ChromaExtractor(8000, window=1024, hop=256)(melodic[None])[0].numpy()
    assert np.array_equal(segments[0].chroma, chroma.astype(np.float16))
    assert (facts.duration, facts.sample_rate, facts.channels) == (3.0, 8000, 1)


@pytest.mark.parametrize(
    ("stems", "reason"),
    [
        ({}, "its metadata lists no stems"),
        ({"vocals": "good.wav"}, "all its stems are vocals"),
        ({"a": "good.wav", "b": "fast.wav"}, r"its stems differ in sample rate \(\[8000, 16000\]"),
        ({"a": "good.wav", "b": "cut.wav"}, r"a stem cannot be used \(cut.wav is truncated"),
        ({"a": "good.wav", "b": "nan.wav"}, r"a stem cannot be used \(nan.wav holds NaN"),
        ({"a": "two.wav", "b": "three.wav"}, r"its stems differ in channels \(\[2, 3\]\)"),
    ],
)
def test_bad_stems_are_named(tmp_path, stems, reason):
    written(tmp_path, music(0, 1.0), "good.wav")
    written(tmp_path, music(0, 1.0), "fast.wav", 8000)
    written(tmp_path, music(0, 1.0, channels=2), "two.wav")
    written(tmp_path, music(0, 1.0, channels=3), "three.wav")
    written(tmp_path, np.full(RATE, np.nan), "nan.wav")
    (tmp_path / "cut.wav").write_bytes((tmp_path / "good.wav").read_bytes()[:-9])
    with pytest.raises(AudioError) as caught:
        segmented(
            tmp_path / "x.wav", {k: tmp_path / v for k, v in stems.items()}, separator="stems"
        )

    assert re.match(reason, caught.value.reason)


def test_mono_and_stereo_stems_are_summed_in_stereo(tmp_path):
    mono, stereo = music(0, 1.0, rate=8000) / 4, music(1, 1.0, rate=8000, channels=2) / 4
    stems = {
        "a": written(tmp_path, mono, "a.wav", 8000),
        "b": written(tmp_path, stereo, "b.wav", 8000),
    }
    _, [segment] = segmented(tmp_path / "x", stems, separator="stems", channels=2)
    assert (segment.wav - torch.from_numpy(mono + stereo).T).abs().max() < 2**-14


def test_estimates_are_asked_for_and_hear_the_target(tmp_path, monkeypatch):
    import sys
    import types

    heard: dict[str, int] = {}

    def fake(module: str, name: str, result: Any) -> None:
        def function(blocks, *rest):
            heard[name] = sum(block.shape[-1] for block in blocks)
            return result

        stand_in = types.ModuleType(module)
        setattr(stand_in, name, function)
        monkeypatch.setitem(sys.modules, module, stand_in)

    fake("data_prep.tempo", "estimate_tempo", 119.6)
    fake("data_prep.key", "estimate_key", None)
    fake("data_prep.clap_tags", "clap_tags", {"genre": ["folk"], "moods": []})
    path = written(tmp_path, music(0, 4.0))
    assert segmented(path)[0].estimates == {}
    facts, _ = segmented(path, estimates=True, clap_model="m", clap_vocabulary="v")
    assert facts.estimates == {"bpm": 120, "genre": ["folk"]}
    assert heard == dict.fromkeys(("estimate_tempo", "estimate_key", "clap_tags"), 32_000)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length(tmp_path):
    """Twenty minutes more, 147 MiB of samples, need no more than 60 MiB (allocators vary)."""
    import subprocess
    import sys

    minute = music(0, 60.0)
    code = (
        "import resource, sys; from pathlib import Path;"
        "from data_prep.segmenting import SegmentSettings, segment_track;"
        "segment_track(Path(sys.argv[1]), {}, SegmentSettings(loudness=-16.0), 'cpu', len);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
    )
    peaks = []
    for n_minutes in (5, 25):
        path = tmp_path / f"{n_minutes}.flac"
        with soundfile.SoundFile(path, "w", RATE, 1) as file:
            for _ in range(n_minutes):
                file.write(minute)
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
        )
        peaks.append(int(done.stdout))
    assert peaks[1] - peaks[0] < 60, peaks
