import math

import pytest
import torch

from musicgen_train.evaluation.metrics.codec_metrics import SI_SDR_LIMIT
from musicgen_train.evaluation.metrics.fidelity import (
    Fidelity,
    fidelity,
    mean_fidelity,
    undefined_because,
)
from musicgen_train.evaluation.metrics.loudness import integrated_loudness

RATE = 16_000


def noise(*shape: int, level: float = 0.1) -> torch.Tensor:
    return level * torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_a_sine_has_the_loudness_that_the_standard_says():
    rate = 48_000
    sine = 0.1 * torch.sin(2 * math.pi * 997 * torch.arange(3 * rate) / rate)[None]
    assert integrated_loudness(sine, rate) == pytest.approx(-23.06, abs=0.05)  # -20 dBFS, mono
    assert integrated_loudness(sine.expand(2, -1), rate) == pytest.approx(-20.05, abs=0.05)


@pytest.mark.parametrize("wav", [torch.zeros(1, RATE), noise(1, 6000), noise(1, RATE, level=1e-5)])
def test_silent_short_and_gated_clips_have_no_loudness(wav):
    assert math.isnan(integrated_loudness(wav, RATE))


def test_a_rate_below_the_weighting_filters_has_no_loudness_and_no_warning(recwarn):
    wav = noise(1, 8000)
    assert math.isnan(integrated_loudness(wav, 2000)) and not recwarn
    assert undefined_because(fidelity(wav, wav, 2000), wav, 2000) == (
        "a rate below 4000 Hz: no loudness"
    )


@pytest.mark.parametrize("channels", [1, 2])
def test_a_copy_is_at_no_distance(channels):
    wav = noise(channels, RATE)
    found = fidelity(wav, wav, RATE)
    assert found == Fidelity(0, 0, 0, 0, SI_SDR_LIMIT, 0)
    assert undefined_because(found, wav, RATE) == ""


def test_a_gain_of_six_decibels_is_six_loudness_units_and_no_distortion():
    wav = noise(1, RATE)
    found = fidelity(10 ** (6 / 20) * wav, wav, RATE)
    assert found.loudness_difference == pytest.approx(6, abs=0.01)
    assert found.si_sdr == SI_SDR_LIMIT
    assert found.mel_distance == pytest.approx(0.3 * math.log(10), abs=1e-3)


def test_a_silent_original_leaves_ratios_undefined_and_says_so():
    silence = torch.zeros(1, RATE)
    found = fidelity(noise(1, RATE, level=1e-2), silence, RATE)
    undefined = {name for name, value in found.to_json().items() if value is None}
    assert undefined == {"stft_distance", "spectral_convergence", "si_sdr", "loudness_difference"}
    assert found.mel_distance > 1  # the noise that the codec made of nothing is not hidden
    said = undefined_because(found, silence, RATE)
    assert said == "silent, or one constant: no STFT distance, no SI-SDR, no loudness"


def test_one_sample_and_a_constant_count_as_silence():
    for wav in (noise(1, 1), torch.full((1, RATE), 0.5)):
        assert math.isnan(fidelity(0 * wav, wav, RATE).si_sdr)


def test_a_short_clip_only_lacks_its_loudness():
    wav = noise(1, 3000)
    found = fidelity(wav, wav, RATE)
    assert [name for name, value in found.to_json().items() if value is None] == [
        "loudness_difference"
    ]
    assert undefined_because(found, wav, RATE) == "shorter than 0.4 s: no loudness"


def test_a_silent_channel_does_not_count():
    wav = torch.cat([noise(1, RATE), torch.zeros(1, RATE)])
    copy = wav + 0.1 * noise(1, RATE, level=0.1).flip(-1) * torch.tensor([[1.0], [0.0]])
    alone = fidelity(copy[:1], wav[:1], RATE)
    both = fidelity(copy, wav, RATE)
    assert both.si_sdr == pytest.approx(alone.si_sdr) and 15 < both.si_sdr < 25
    assert both.spectral_convergence == pytest.approx(alone.spectral_convergence, rel=1e-3)


def test_broken_output_is_undefined_everywhere_and_named():
    wav = noise(1, RATE)
    found = fidelity(wav * torch.nan, wav, RATE)
    assert set(found.to_json().values()) == {None}
    assert undefined_because(found, wav, RATE).startswith("the codec's output holds NaN")


def test_the_mean_is_over_the_clips_where_a_figure_is_defined():
    rows = [Fidelity(1, 2, 1, 1, 10, math.nan), Fidelity(3, math.nan, math.nan, 2, 20, math.nan)]
    mean = mean_fidelity(rows)
    assert mean[:5] == (2, 2, 1, 1.5, 15) and math.isnan(mean.loudness_difference)
