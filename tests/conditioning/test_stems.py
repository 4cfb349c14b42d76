"""A melody without its drums and bass, by a tiny random separator."""

import json
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from demucs.htdemucs import HTDemucs
from safetensors.torch import save_file

from musicgen_train.conditioning.stems import find_separator, load_demucs, melodic_stems, separate
from musicgen_train.data.audio import resample, to_channels
from musicgen_train.errors import UserError
from tests.small_musicgen import RATE, tiny

TINY = {
    "sources": ["drums", "bass", "other", "vocals"], "channels": 8, "nfft": 512, "depth": 2,
    "t_layers": 1, "t_heads": 2, "bottom_channels": 16, "samplerate": 8000,
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files that the real one comes in."""
    load_demucs.cache_clear()
    torch.manual_seed(0)
    model = HTDemucs(**TINY, segment=Fraction(1, 2))
    kwargs = TINY | {"segment": {"_type": "fraction", "numerator": 1, "denominator": 2}}
    metadata = {"klass": "demucs.htdemucs.HTDemucs", "args": "[]", "kwargs": json.dumps(kwargs)}
    save_file(model.state_dict(), tmp_path / "a1b2c3d4.safetensors", metadata)
    (tmp_path / "htdemucs.yaml").write_text("models: ['a1b2c3d4']\n")
    return tmp_path


def test_the_melody_is_all_but_drums_and_bass(folder):
    model, wav = find_separator(str(folder)), torch.randn(2, 4000)
    stems = separate(model, wav)
    assert list(stems) == TINY["sources"]
    melodic = melodic_stems(model, wav)
    torch.testing.assert_close(melodic, stems["other"] + stems["vocals"])
    assert not torch.allclose(melodic, sum(stems.values()))
    assert torch.equal(melodic_stems(model, wav), melodic)


@pytest.mark.parametrize("wav", [torch.zeros(2, 800), torch.randn(2, 1)])
def test_silence_and_a_single_sample_stay_finite(folder, wav):
    assert melodic_stems(find_separator(str(folder)), wav).isfinite().all()


def test_musicgen_hears_the_separated_melody(folder, monkeypatch):
    model = tiny()
    model.set_generation_params(duration=0.3)
    heard, steps = [], model.lm.steps

    def spy(n_frames, text, chroma, **options):
        heard.append(chroma)
        return steps(n_frames, text, chroma, **options)

    monkeypatch.setattr(model.lm, "steps", spy)
    melody = torch.randn(1, 2 * RATE)
    options = {"seeds": [1, 2], "separator": str(folder)}
    model.generate_with_chroma(["", ""], [melody, None], RATE, **options)
    separator = find_separator(str(folder))
    stems = melodic_stems(separator, to_channels(resample(melody, RATE, 8000), 2))
    mono = resample(stems.mean(0, keepdim=True), 8000, RATE)
    model.generate_with_chroma(["", ""], [mono, None], RATE, seeds=[1, 2])
    model.generate_with_chroma(["", ""], [melody, None], RATE, seeds=[1, 2])
    assert torch.equal(heard[0], heard[1])
    assert not torch.equal(heard[0], heard[2])
    list(model.generate_stream(
        ["", ""], 0.1, melody_wavs=[melody, None], melody_sample_rate=RATE, **options
    ))  # fmt: skip
    assert torch.equal(heard[3], heard[0])


def test_a_folder_without_a_separator_is_named(tmp_path):
    with pytest.raises(UserError, match=r"holds 0 \.yaml files"):
        find_separator(str(tmp_path))


def test_a_separator_that_cannot_be_had_says_what_to_do(monkeypatch):
    import demucs.hf

    def offline(name):
        raise OSError("no network here.\nTry again.")

    load_demucs.cache_clear()
    monkeypatch.setattr(demucs.hf, "get_hf_model", offline)
    with pytest.raises(
        UserError, match=r"cannot be downloaded \(no network.*name that folder"
    ) as e:
        find_separator("htdemucs")
    assert "\n" not in str(e.value)
