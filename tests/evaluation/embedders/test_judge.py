import math

import pytest
import torch

from musicgen_train.errors import UserError
from musicgen_train.evaluation.embedders.judge import (
    KEYS,
    SHIPPED,
    Judge,
    judge_identity,
    judge_training_record,
    key_label,
    load_judge,
    save_judge,
)
from musicgen_train.evaluation.embedders.judge_features import (
    SAMPLE_RATE,
    JudgeFeatures,
    normalise,
    windows,
)
from musicgen_train.evaluation.embedders.judge_training import (
    LabelledTrack,
    corpus_labels,
    held_out_accuracy,
    split_by_artist,
    track_targets,
    train_judge,
)


@pytest.fixture(scope="module")
def judge() -> Judge:
    torch.manual_seed(0)
    labels = {"instrument": ["a", "b"], "genre": ["x", "y", "z"], "key": KEYS, "tempo": ["s", "f"]}
    return Judge(labels, [100.0]).eval()


def chord(notes: list[int], seconds: float, rate: int = SAMPLE_RATE) -> torch.Tensor:
    time = torch.arange(int(seconds * rate)) / rate
    tones = [torch.sin(2 * math.pi * 440 * 2 ** ((n - 69) / 12) * time) for n in notes]
    return torch.stack(tones).mean(0)[None]


def test_gain_does_not_matter(judge):
    wav = chord([60, 64, 67], 5)
    loud, quiet = judge.embed(wav, SAMPLE_RATE), judge.embed(0.05 * wav, SAMPLE_RATE)
    assert torch.allclose(loud, quiet, atol=1e-3)


def test_the_file_rate_and_channels_hardly_matter(judge):
    mono = judge.embed(chord([60, 64, 67], 5), SAMPLE_RATE)
    stereo = judge.embed(chord([60, 64, 67], 5, rate=44_100).expand(2, -1), 44_100)
    assert mono.shape == stereo.shape
    assert (mono - stereo).norm() < 0.1 * mono.norm()


def test_silence_short_and_broken_clips_have_finite_embeddings(judge):
    broken = chord([60], 5)
    broken[:, 100:200] = torch.nan
    for wav in (torch.zeros(1, 80_000), torch.randn(1, 50), torch.zeros(1, 0), broken):
        assert torch.isfinite(judge.embed(wav, SAMPLE_RATE)).all()
    assert normalise(torch.zeros(1, 100), SAMPLE_RATE).abs().max() == 0
    # Dither must not become music: at most 40 dB of gain.
    assert normalise(torch.full((1, 100), 1e-5), SAMPLE_RATE).abs().max() < 2e-3


def test_windows_are_four_seconds_long_one_second_apart():
    assert windows(torch.zeros(8 * SAMPLE_RATE)).shape == (5, 4 * SAMPLE_RATE)
    assert windows(torch.zeros(4 * SAMPLE_RATE)).shape == (1, 4 * SAMPLE_RATE)
    assert windows(torch.zeros(SAMPLE_RATE)).shape == (1, 4 * SAMPLE_RATE)


def test_each_semitone_lights_its_own_band():
    features = JudgeFeatures()
    for note in (40, 57, 60, 83, 100):
        _, semitones = features(chord([note], 2))
        assert int(semitones[0].mean(-1).argmax()) == note - 36


def test_transposing_moves_the_pitch_features_round_the_circle(judge):
    spectrum = torch.zeros(1, 72, 10)
    spectrum[:, [20, 32, 36, 39, 44, 51]] = 3.0
    features, moved = judge.pitch(spectrum), judge.pitch(spectrum.roll(1, dims=1))
    assert (features.roll(1, -1) - moved).norm() < 0.1 * features.norm()
    assert (features - moved).norm() > 0.3 * features.norm()  # and they do move


def test_a_saved_judge_hears_the_same(judge, tmp_path):
    save_judge(judge, tmp_path, {"steps": 3})
    loaded, wav = load_judge(tmp_path), chord([60, 64, 67], 5)
    assert torch.equal(judge.embed(wav, SAMPLE_RATE), loaded.embed(wav, SAMPLE_RATE))
    assert judge_identity(loaded) == judge_identity(judge)
    assert judge_training_record(tmp_path) == {"steps": 3}


def test_an_absent_judge_is_named_with_the_remedy(tmp_path):
    with pytest.raises(UserError, match=r"no judge in .*train_judge"):
        load_judge(tmp_path)


def test_flats_and_sharps_are_one_key():
    assert key_label("Bb minor") == "A# minor"
    assert key_label("C major") == "C major"
    assert key_label("Db major") in KEYS


def track(artist: str, kind: int, bpm: float) -> LabelledTrack:
    wav = chord([48 + 12 * kind] if kind else [72, 76, 79], 5)[0]
    labels = {"instrument": "ab"[kind], "genre": "xy"[kind], "key": "C major"}
    return LabelledTrack(f"{artist}{kind}", artist, (wav * 20_000).to(torch.int16), labels, bpm)


@pytest.fixture(scope="module")
def tracks() -> list[LabelledTrack]:
    return [track(f"artist {i}", i % 2, 80 + 5 * i) for i in range(16)]


def test_labels_come_from_the_corpus_and_tempo_classes_share_it(tracks):
    labels, edges = corpus_labels(tracks)
    assert labels["instrument"] == ["a", "b"] and labels["genre"] == ["x", "y"]
    judge = Judge(labels, edges)
    classes = [track_targets(judge, t)["tempo"] for t in tracks]
    assert sorted({c: classes.count(c) for c in classes}.values()) == [4, 4, 4, 4]


def test_no_artist_is_in_both_splits(tracks):
    train, test = split_by_artist(tracks, 0.3)
    assert not {t.artist for t in train} & {t.artist for t in test}
    assert len(train) + len(test) == len(tracks)
    with pytest.raises(UserError, match="cannot be split"):
        split_by_artist(tracks[:1], 0.3)


def test_training_learns_to_tell_two_sounds_apart_and_is_reproducible(tracks):
    labels, edges = corpus_labels(tracks, n_tempo_classes=2)

    def trained(steps: int) -> Judge:
        torch.manual_seed(0)
        return train_judge(Judge(labels, edges), tracks, steps, batch_size=4, seed=1)

    assert judge_identity(trained(1)) == judge_identity(trained(1))
    first = trained(10)
    assert held_out_accuracy(first, tracks, duration=4.0)["instrument"]["accuracy"] == 1.0


def test_the_shipped_judge_is_small_and_its_card_stands_above_chance():
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) <= 2 << 20
    figures = judge_training_record()["held_out"]
    assert all(row["accuracy"] > 2 * row["chance"] for row in figures.values())
    assert set(load_judge().labels) == {"instrument", "genre", "key", "tempo"}
