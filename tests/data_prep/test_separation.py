import json
from fractions import Fraction
from pathlib import Path

import pytest
import soundfile
import torch
from demucs.apply import apply_model
from demucs.htdemucs import HTDemucs
from safetensors import safe_open
from safetensors.torch import save_file

from data_prep import tracks
from data_prep.prepare import prepare
from data_prep.segmenting import SegmentSettings, segment_track
from data_prep.separation import is_vocal, separate_with_demucs
from musicgen_train.conditioning.stems import load_demucs
from musicgen_train.data.audio import decode_flac, read_audio, resample
from musicgen_train.errors import UserError
from tests.data_prep.small_library import files_of

RATE = 8000
TINY = {
    "sources": ["drums", "bass", "other", "vocals"], "channels": 8, "nfft": 512, "depth": 2,
    "t_layers": 1, "t_heads": 2, "bottom_channels": 16, "samplerate": RATE,
}  # fmt: skip


DEMUCS = {
    "sample_rate": 4000, "segment_duration": 1.0, "min_duration": 0.1, "separator": "demucs",
    "chroma_window": 1024, "chroma_hop": 256, "max_silence": None,
}  # fmt: skip


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A separator with random weights, in the files that the real one comes in."""
    load_demucs.cache_clear()
    tracks._separator_identity.cache_clear()
    torch.manual_seed(0)
    model = HTDemucs(**TINY, segment=Fraction(3, 2))
    kwargs = TINY | {"segment": {"_type": "fraction", "numerator": 3, "denominator": 2}}
    metadata = {"klass": "demucs.htdemucs.HTDemucs", "args": "[]", "kwargs": json.dumps(kwargs)}
    folder = tmp_path / "repo"
    folder.mkdir()
    save_file(model.state_dict(), folder / "a1b2c3d4.safetensors", metadata)
    (folder / "htdemucs.yaml").write_text("models: ['a1b2c3d4']\n")
    return folder


@pytest.fixture
def song(tmp_path: Path) -> Path:
    """3.2 s in mono at twice the separator's rate."""
    wav = torch.rand(round(3.2 * 2 * RATE), generator=torch.Generator().manual_seed(1)) - 0.5
    (tmp_path / "songs").mkdir()
    soundfile.write(tmp_path / "songs" / "a.wav", wav.numpy(), 2 * RATE)
    return tmp_path / "songs"


@pytest.mark.parametrize("batch_size", [1, 4])
def test_demucs_sums_keep_all_but_vocals_and_all_but_drums_and_bass(repo, song, batch_size):
    path = song / "a.wav"
    found = separate_with_demucs(path, "htdemucs", str(repo), batch_size, "cpu")
    target, melodic = torch.cat(list(found.blocks), dim=-1)
    wav = resample(read_audio(path)[0], 2 * RATE, RATE).expand(2, -1)
    level = wav.mean(0).mean(), wav.mean(0).std()
    with torch.inference_mode():
        model = load_demucs("htdemucs", str(repo))
        mix = (wav - level[0]) / level[1]
        stems = apply_model(model, mix[None], shifts=0)[0] * level[1] + level[0]
    drums, bass, other, vocals = stems
    assert found.sample_rate == RATE
    assert target.shape == melodic.shape == (2, round(3.2 * RATE))
    assert torch.allclose(target, drums + bass + other, atol=1e-5)
    assert torch.allclose(melodic, other + vocals, atol=1e-5)
    assert vocals.std() > 1e-3  # so that leaving them out makes a difference
    assert found.pcm.n_samples == round(3.2 * 2 * RATE)  # what the file held
    assert (found.pcm.sample_rate, found.pcm.channels) == (2 * RATE, 1)


def test_a_track_is_segmented_with_demucs_and_twice_alike(repo, song):
    settings = SegmentSettings(
        sample_rate=4000, segment_duration=1.0, min_duration=0.1, separator="demucs",
        demucs_repo=str(repo), chroma_window=1024, chroma_hop=256,
    )  # fmt: skip
    runs = []
    for _ in range(2):
        segments: list[dict[str, bytes]] = []
        facts = segment_track(song / "a.wav", {}, settings, "cpu", segments.append)
        assert len(segments) == facts.n_segments == 4  # 3.2 s = 1 + 1 + 1 + 0.2
        runs.append(segments)
    assert runs[0] == runs[1]
    found = separate_with_demucs(song / "a.wav", "htdemucs", str(repo), 4, "cpu")
    target = torch.cat(list(found.blocks), dim=-1)[0].mean(0, keepdim=True)
    heard = torch.cat([decode_flac(files["flac"]) for files in runs[0]], dim=1)
    assert (heard - resample(target, RATE, 4000)).abs().max() < 1e-4


def test_a_missing_separator_file_is_named_before_any_work(repo, song, tmp_path):
    (repo / "a1b2c3d4.safetensors").unlink()
    load_demucs.cache_clear()
    with pytest.raises(UserError, match=r"a1b2c3d4\.safetensors: no such file"):
        prepare(song, tmp_path / "out", separator="demucs", demucs_repo=str(repo), num_workers=0)
    assert not (tmp_path / "out").exists()


def test_a_file_that_names_a_foreign_class_is_refused(repo):
    save_file(
        {"x": torch.zeros(1)},
        repo / "a1b2c3d4.safetensors",
        {"klass": "subprocess.Popen", "args": '["true"]', "kwargs": "{}"},
    )
    load_demucs.cache_clear()
    with pytest.raises(UserError, match=r"not a demucs model but subprocess\.Popen"):
        load_demucs("htdemucs", str(repo))


def test_demucs_gives_the_same_bytes_in_this_process_and_in_workers(repo, song, tmp_path):
    for n in (0, 1):
        prepare(song, tmp_path / f"out{n}", num_workers=n, demucs_repo=str(repo), **DEMUCS)
    assert files_of(tmp_path / "out0") == files_of(tmp_path / "out1")


def test_other_weights_of_a_separator_are_other_work(repo, song, tmp_path):
    settings = DEMUCS | {"num_workers": 0, "demucs_repo": str(repo), "work_dir": tmp_path / "work"}
    prepare(song, tmp_path / "one", **settings)
    path = repo / "a1b2c3d4.safetensors"
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        state = {key: 1.1 * file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    save_file(state, path, metadata)
    load_demucs.cache_clear()
    tracks._separator_identity.cache_clear()
    prepare(song, tmp_path / "two", **settings)
    assert files_of(tmp_path / "one") != files_of(tmp_path / "two")
    assert len(list((tmp_path / "work").rglob("*.tar"))) == 2


@pytest.mark.parametrize("content", ["models: [", "- a", "models: 3", "{}"])
def test_a_damaged_recipe_of_a_separator_is_one_line(repo, content):
    (repo / "htdemucs.yaml").write_text(content)
    with pytest.raises(UserError, match="lists no models"):
        load_demucs("htdemucs", str(repo))


@pytest.mark.parametrize("name", ["vocals", "Lead Vox", "BGV", "choir", "backing_vocals"])
def test_stems_with_voices_are_known_by_their_names(name):
    assert is_vocal(name)


@pytest.mark.parametrize("name", ["no_vocals", "minus vocals", "other", "guitar"])
def test_stems_without_voices_are_too(name):
    assert not is_vocal(name)
