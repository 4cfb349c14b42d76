"""Chroma features: the reference's numbers, and what they must do with known notes."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from musicgen_train.conditioning.chroma import ChromaExtractor, fit_length, one_hot

GOLDEN = Path(__file__).parents[1] / "golden" / "chroma.safetensors"


def tone(hertz: float, sample_rate: int, seconds: float = 2.0) -> torch.Tensor:
    t = torch.arange(int(seconds * sample_rate)) / sample_rate
    return torch.sin(2 * torch.pi * hertz * t)[None, None]


@pytest.mark.parametrize("radix", [12, 14])
def test_chroma_equals_the_reference(radix):
    golden = load_file(GOLDEN)
    extractor = ChromaExtractor(32000, window=2**radix, hop=2**radix // 4)
    chroma = extractor(golden[f"wav_sr32000_r{radix}"])
    torch.testing.assert_close(chroma, golden[f"chroma_sr32000_r{radix}_raw"], rtol=1e-4, atol=1e-5)
    assert torch.equal(one_hot(chroma), golden[f"chroma_sr32000_r{radix}_argmax"])


@pytest.mark.parametrize("semitone", range(12))
@pytest.mark.parametrize("sample_rate", [16000, 44100])
def test_a_note_lights_its_own_pitch_class(semitone, sample_rate):
    hertz = 261.6256 * 2 ** (semitone / 12)  # from middle C upwards
    chroma = one_hot(ChromaExtractor(sample_rate)(tone(hertz, sample_rate)))
    assert chroma.argmax(dim=-1).unique().tolist() == [semitone]


def test_stereo_is_heard_as_its_mean_and_silence_is_null():
    extractor = ChromaExtractor(16000, window=1024, hop=256)
    wav = tone(440.0, 16000, 0.5)
    stereo = torch.cat([wav, torch.zeros_like(wav)], dim=1)
    torch.testing.assert_close(extractor(stereo), extractor(wav))
    silent = extractor(torch.zeros(1, 1, 4000))
    assert not silent.any()
    assert one_hot(silent).argmax(dim=-1).unique().tolist() == [0]


@pytest.mark.parametrize("n_samples", [1, 900, 1024, 5000])
def test_n_frames_predicts_the_length(n_samples):
    extractor = ChromaExtractor(16000, window=1024, hop=256)
    assert extractor(torch.randn(2, 1, n_samples)).shape[1] == extractor.n_frames(n_samples)


def test_the_config_rebuilds_the_extractor():
    extractor = ChromaExtractor(16000, window=1024, hop=256)
    wav = torch.randn(1, 1, 5000)
    assert torch.equal(ChromaExtractor(**extractor.config)(wav), extractor(wav))
    assert not extractor.state_dict()


def test_fit_length_repeats_and_cuts():
    chroma = torch.arange(3.0)[None, :, None].expand(1, 3, 12)
    assert fit_length(chroma, 7)[0, :, 0].tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert fit_length(chroma, 2)[0, :, 0].tolist() == [0, 1]
