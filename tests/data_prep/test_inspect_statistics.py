"""What is counted of a dataset's metadata, and what of it is worth a warning."""

import json
from collections import Counter

import numpy as np
import pytest

from data_prep.inspection.charts import scale
from data_prep.inspection.checks import is_clipped
from data_prep.inspection.counting import Histogram, Tally
from data_prep.inspection.failures import read_failures
from data_prep.inspection.findings import find
from data_prep.inspection.statistics import Statistics
from data_prep.inspection.survey import survey
from data_prep.inspection.wording import percent, shown
from musicgen_train.data.audio import decode_flac
from musicgen_train.data.index import load_index
from tests.data.small_dataset import npy
from tests.data_prep.looked_at import CODES_INFO, INFO, codes, tone, write_looked_at

WELL = {
    "description": "slow piano piece with soft strings", "track_id": "t", "artist": "Ada",
    "loudness": -16.0, "silence": 0.0,
}  # fmt: skip


def looked_at(folder, metadata, **settings):
    return survey(load_index(write_looked_at(folder, metadata, **settings)))


def grades(found):
    return {finding.text: finding.grade for finding in find(found)}


def has(found, words, grade):
    return any(words in text and grade == found_grade for text, found_grade in found.items())


@pytest.mark.parametrize("step", [0.1, 1.0, 2.5])
def test_quantiles_are_exact_to_half_a_step(step):
    values = np.random.default_rng(0).normal(-20, 6, 5000)
    histogram = Histogram(-70, 30, step, group=4)
    for value in values:
        histogram.add(float(value))
    for q in (0.0, 0.05, 0.5, 0.95, 1.0):
        exact = np.quantile(values, q, method="inverted_cdf")
        assert histogram.quantile(q) == pytest.approx(exact, abs=step / 2 + 1e-9)


def test_bins_cover_all_values_once_and_begin_and_end_with_a_full_one():
    histogram = Histogram(0, 100, 1, group=10)
    for value in (12, 15, 15, 38, 500, -3):
        histogram.add(value, estimated=value == 15)
    bins = histogram.bins()
    assert [(low, high) for low, high, _, _ in bins[:2]] == [(0, 10), (10, 20)]
    assert sum(times for *_, times, _ in bins) == 6 and bins[0][2] and bins[-1][2]
    assert bins[1][3] == 2
    assert Histogram(0, 1, 0.1, group=1).bins() == []
    assert max(bar.given + bar.estimated for bar in scale("x", histogram).bars) == 100


def test_a_tally_counts_common_texts_exactly_in_bounded_memory():
    rng = np.random.default_rng(0)
    common = rng.choice(["jazz", "rock", "folk"], 3000, p=[0.5, 0.3, 0.2]).tolist()
    tally = Tally(most=100)
    largest = 0
    for number, text in enumerate(common):
        tally.add(text)
        tally.add(f"only once {number}", estimated=True)
        largest = max(largest, len(tally.counts), len(tally.estimated))
    expected = [(text, n, 0) for text, n in Counter(common).most_common()]
    assert tally.top(3) == expected
    assert largest <= 201 and tally.forgotten > 2000


def test_each_segment_counts_with_what_is_known_of_it():
    statistics = Statistics()
    for track, artist, split in (("a", "Ada", 0), ("a", "ADA", 0), ("b", "Bo", 1)):
        statistics.add(
            {
                "track_id": track, "artist": artist, "genre": ["jazz", "jazz"], "bpm": 120,
                "moods": "calm", "description": "a slow song", "loudness": -20.0, "silence": 0.1,
                "estimated": ["bpm"],
            },
            split,
        )  # fmt: skip
    statistics.add({"loudness": None}, 2)
    statistics.add(None, 0)
    assert (statistics.n, statistics.n_damaged, statistics.n_silent) == (5, 1, 1)
    assert len(statistics.tracks) == 2 and len(statistics.artists) == 2
    assert statistics.listed["genre"].top(9) == [("jazz", 3, 0)]
    assert statistics.missing("description") == pytest.approx(2 / 5)
    assert statistics.words.top(9) == [("slow", 3, 0), ("song", 3, 0)]
    assert statistics.n_words.quantile(0.5) == 3
    assert statistics.estimated["bpm"] == 3 and statistics.bpm.estimated.sum() == 3


@pytest.mark.parametrize(
    "metadata",
    [
        {"description": 3, "genre": {"a": 1}, "bpm": "fast", "loudness": "x", "artist": ["a"]},
        {"bpm": float("nan"), "loudness": float("inf"), "silence": True, "estimated": "bpm"},
        {"bpm": 10**400, "genre": [None, ["x"], 5, "jazz"], "estimated": [["bpm"], 3]},
        {"description": "\ud800 \x1b[31m", "track_id": None, "moods": "", "key": []},
    ],
)
def test_values_of_any_type_are_no_reason_to_stop(metadata):
    statistics = Statistics()
    statistics.add(json.loads(json.dumps(metadata)), 0)
    assert statistics.n == 1 and statistics.n_damaged == 0
    assert statistics.bpm.n == 0 and statistics.loudness.n == 0 and statistics.silence.n == 0


def test_a_clean_dataset_has_nothing_to_warn_of(tmp_path):
    metadata = [
        {**WELL, "track_id": f"{n}", "artist": f"{n % 30 // 2}", "description": f"slow song in {n}"}
        for n in range(60)
    ]
    splits = ["valid" if n % 30 // 2 < 4 else "train" for n in range(60)]
    files = {"flac": tone(), "chroma.npy": b"-"}
    index = load_index(write_looked_at(tmp_path / "d", metadata, splits, files=files,
                                       info={**INFO, "tracks": None}))  # fmt: skip
    index.duration[:] = 3600
    found = survey(index, n_checked=0)
    assert [finding.grade for finding in find(found)] == ["good"]


@pytest.mark.parametrize(
    ("metadata", "words", "grade"),
    [
        ([{}], "There are no descriptions", "poor"),
        ([WELL] * 3 + [{**WELL, "description": ""}] * 4, "57 % of the segments have no", "poor"),
        ([WELL] * 9 + [{**WELL, "description": " "}], "10 % of the segments have no", "fair"),
        ([WELL, {**WELL, "track_id": "u"}], "All descriptions are the same", "poor"),
        ([{"description": "music", "track_id": "t"}], "fewer than 4 words", "fair"),
        ([{**WELL, "estimated": ["description"]}], "rest on estimates", "fair"),
        ([WELL, {**WELL, "artist": "ada"}], "The only artist is Ada", "fair"),
        ([WELL, WELL, {**WELL, "artist": "B"}], "67 % of the segments are by one artist", "fair"),
        ([{"description": "x"}], "No artist is known", "fair"),
        ([{**WELL, "loudness": -30.0 + 3 * n} for n in range(8)], "spreads over 21 LU", "fair"),
        ([{"description": "x"}], "Loudness and silence are not recorded", "fair"),
        ([WELL, {**WELL, "loudness": None}], "50 % of the segments are too quiet", "poor"),
        ([{**WELL, "silence": 0.5}], "silent for 50 % of their time", "fair"),
        ([WELL], "There is no validation split", "poor"),
        ([WELL], "Not every segment has chroma", "fair"),
        ([WELL], "1 s of music", "fair"),
        ([b"{not json", b"[1]"], "2 segments with damaged JSON", "poor"),
    ],
)
def test_what_would_hurt_a_training_is_said(metadata, words, grade, tmp_path):
    found = grades(looked_at(tmp_path / "d", metadata))
    assert has(found, words, grade), found


def test_an_artist_in_two_splits_is_found(tmp_path):
    metadata = [{**WELL, "track_id": str(n), "artist": "AB"[n // 2]} for n in range(4)]
    apart = grades(looked_at(tmp_path / "a", metadata, splits=["train"] * 2 + ["valid"] * 2))
    mixed = grades(looked_at(tmp_path / "b", metadata, splits=["train", "valid"] * 2))
    assert has(mixed, "2 artists are in more than one split", "poor")
    assert not any("more than one split" in text for text in apart)


def test_counts_that_do_not_add_up_are_found(tmp_path):
    info = {**INFO, "tracks": {"files": 9, "kept": 2, "filtered": 1, "failed": 0}}
    assert has(grades(looked_at(tmp_path / "a", [WELL], info=info)), "9 files are not", "poor")
    info = {**INFO, "tracks": {"files": 9, "kept": 2, "filtered": 1, "failed": 6}}
    found = grades(looked_at(tmp_path / "b", [WELL], info=info))
    assert has(found, "67 % of the files failed", "poor")
    assert has(found, "failures.jsonl lists 0 files, dataset.json counts 7", "poor")


def test_damaged_audio_is_found(tmp_path):
    for name, data, words in (
        ("garbage", b"no flac", "cannot be decoded (Format not recognised)"),
        ("short", tone(0.5), "holds 0.50 s, not the 1.00 s"),
        ("cut", tone()[:-400], "s0: "),
    ):
        found = looked_at(tmp_path / name, [WELL], files={"flac": data})
        assert found.checks.n_bad == 1 and words in found.checks.problems[0]
        assert has(grades(found), "1 fault in 1 decoded segment", "poor")


def test_clipping_is_several_samples_in_a_row_at_full_scale_not_one_peak(tmp_path):
    assert not is_clipped(decode_flac(tone(level=1.0))[:, :2])
    assert not is_clipped(decode_flac(tone(level=0.9)))
    assert is_clipped(decode_flac(tone(level=3.0)).clamp(-1, 1))
    found = looked_at(tmp_path / "d", [WELL], files={"flac": tone(level=3.0)})
    assert has(grades(found), "100 % of 1 decoded segment are clipped", "fair")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (codes(n_q=3), "shape [3, 50], not [2, T]"),
        (codes(highest=16), "holds the code 16"),
        (npy(np.full((2, 50), -5)), "holds the code -5, not in 0 to 15"),
        (npy(np.full((2, 50), np.nan)), "float64, not whole numbers"),
        (codes(n_frames=5), "holds 5 frames for 1.00 s"),
        (b"nothing", "cannot be read"),
    ],
)
def test_codes_that_do_not_fit_are_found(data, words, tmp_path):
    found = looked_at(tmp_path / "d", [WELL], files={"codes.npy": data}, info=CODES_INFO)
    assert found.checks.n_bad == 1 and words in found.checks.problems[0]


def test_sound_codes_pass_and_unused_codebooks_are_named(tmp_path):
    found = looked_at(tmp_path / "d", [WELL], files={"codes.npy": codes()}, info=CODES_INFO)
    assert found.checks.n_codes == 1 and found.checks.n_bad == 0
    assert has(grades(found), "Few codes of codebook 2 (6 %)", "fair")


def test_failures_are_grouped_by_the_phrase_that_reasons_begin_with(tmp_path):
    rows = [
        ("a", "is a duplicate (of b (live).mp3)"),
        ("c", "is a near-duplicate (of d, 97 % alike)"),
        *((f"e{n}", f"cannot be decoded (byte {n})") for n in range(9)),
        ("f", "is truncated"),
    ]
    entries = [{"file": file, "status": "failed", "reason": reason} for file, reason in rows]
    folder = write_looked_at(tmp_path / "d", [WELL], failures=entries)
    with (folder / "failures.jsonl").open("a") as file:
        file.write('{"no reason": 1}\nnot json\n')
    failures = read_failures(folder)
    assert failures.phrases == {
        "is a duplicate": 1, "is a near-duplicate": 1, "cannot be decoded": 9, "is truncated": 1,
    }  # fmt: skip
    assert failures.examples["cannot be decoded"] == [(f"e{n}", f"byte {n}") for n in range(3)]
    assert failures.duplicates == [("a", "b (live).mp3"), ("c", "d, 97 % alike")]
    assert failures.n_damaged == 2 and failures.recorded
    (folder / "failures.jsonl").unlink()
    assert not read_failures(folder).recorded


def test_shown_text_is_one_bounded_line_that_controls_nothing():
    text = shown("a\x1b[31m\n\u202eb\ud800" + "x" * 10**6, 30)
    assert len(text) == 30 and text.isprintable() and text.startswith("a [31m b x")


def test_a_share_that_is_neither_none_nor_all_never_reads_as_that():
    shares = [0, 1e-6, 0.5, 1 - 1e-6, 1]
    assert list(map(percent, shares)) == ["0 %", "under 1 %", "50 %", "over 99 %", "100 %"]
