import hashlib
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from musicgen_train.data.audio import resample
from musicgen_train.errors import UserError
from musicgen_train.evaluation.embedders.embedder import Embedder
from musicgen_train.evaluation.embedders.passt import Passt
from musicgen_train.evaluation.embedders.passt_embedder import (
    PUBLISHED,
    TIME_PATCHES,
    PasstEmbedder,
    load_passt,
)

SHORTEST = 4801  # samples at 32 kHz that are heard: more than 0.15 s


def tiny(seed: int = 0, **settings) -> PasstEmbedder:
    """Windows of one second, eleven labels."""
    torch.manual_seed(seed)
    network = Passt(time_patches=10, dim=24, heads=3, layers=1, classes=11)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return PasstEmbedder(network, **{"window_duration": 1.0, **settings})


def noise(channels: int, n_samples: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(channels, n_samples, generator=torch.Generator().manual_seed(seed))


def hear(embedder: Embedder, wav: Tensor, sample_rate: int = 32000) -> dict[str, Tensor]:
    return embedder.hear(embedder.prepare(wav, sample_rate))


@pytest.mark.parametrize(
    ("n_samples", "windows"),
    [(SHORTEST, 1), (32000, 1), (36800, 1), (36801, 2), (64000, 2), (64000 + 4800, 2)],
)
@pytest.mark.parametrize("compat", [False, True])
def test_windows_lie_side_by_side_and_a_short_rest_is_dropped(n_samples, windows, compat):
    heard = hear(tiny(compat=compat), noise(1, n_samples))
    assert heard["logits"].shape == (windows, 11)
    assert heard["vectors"].shape == (windows, 24)
    assert heard["logits"].dtype == heard["vectors"].dtype == torch.float32


def test_each_window_is_heard_as_if_it_were_a_clip_without_padding():
    embedder, wav = tiny(), noise(1, 32000 + 9000)
    whole = hear(embedder, wav)["logits"]
    assert torch.equal(whole[:1], hear(embedder, wav[:, :32000])["logits"])
    assert torch.equal(whole[1:], hear(embedder, wav[:, 32000:])["logits"])
    padded = torch.cat([wav[:, 32000:], torch.zeros(1, 23000)], 1)
    assert not torch.allclose(whole[1:], hear(embedder, padded)["logits"], atol=1e-3)


@pytest.mark.parametrize("duration", [10, 20, 30])
def test_the_positions_of_the_published_files_suffice_for_their_windows(duration):
    network = Passt(TIME_PATCHES[duration], dim=8, heads=1, layers=1, classes=3)
    embedder = PasstEmbedder(network, duration)
    n_samples = 32000 * duration
    assert hear(embedder, noise(1, n_samples + 3200))["logits"].shape[0] == 1  # 10.1 s: #38
    assert hear(embedder, noise(1, n_samples + SHORTEST))["logits"].shape[0] == 2


def test_windows_longer_than_the_positions_are_refused_at_once():
    with pytest.raises(AssertionError, match=r"2\.0 s are 19 patches for 10 positions"):
        tiny(window_duration=2.0)


def test_a_clip_too_short_is_none_for_audiocraft_and_is_repeated_otherwise():
    short = noise(1, 3000)
    assert hear(tiny(compat=True), short)["logits"].shape == (0, 11)
    assert hear(tiny(compat=True), short)["vectors"].shape == (0, 24)
    twice = torch.cat([short, short], 1)[:, :SHORTEST]
    assert torch.equal(hear(tiny(), short)["logits"], hear(tiny(), twice)["logits"])


@pytest.mark.parametrize("n_samples", [0, 1, 7])
def test_a_clip_of_almost_nothing_is_heard_without_nan(n_samples):
    for rate in (8000, 32000, 44100):
        heard = hear(tiny(), torch.ones(2, n_samples), rate)
        assert heard["logits"].shape == (1, 11)
        assert heard["logits"].isfinite().all()
        assert hear(tiny(compat=True), torch.ones(2, n_samples), rate)["logits"].shape == (0, 11)


@pytest.mark.parametrize("compat", [False, True])
def test_samples_that_are_no_numbers_count_as_silence(compat):
    clean, broken = noise(2, 12000), noise(2, 12000)
    clean[0, 5000:5100] = 0
    broken[0, 5000:5050], broken[0, 5050:5099], broken[0, 5099] = math.nan, math.inf, -math.inf
    embedder = tiny(compat=compat)
    logits = hear(embedder, broken, 44100)["logits"]
    assert logits.isfinite().all()
    assert torch.equal(logits, hear(embedder, clean, 44100)["logits"])


def test_channels_are_averaged():
    left, right = noise(1, 9000, 1), noise(1, 9000, 2)
    both = tiny().prepare(torch.cat([left, right]), 32000)
    assert torch.allclose(both, (left + right)[0] / 2)


def test_the_rate_is_changed_by_soxr_and_for_audiocraft_by_julius():
    julius = pytest.importorskip("julius")
    wav = noise(2, 44100)
    soxr = tiny().prepare(wav, 44100)
    assert torch.allclose(soxr, resample(wav.mean(0, keepdim=True), 44100, 32000)[0], atol=1e-6)
    audiocraft = tiny(compat=True).prepare(wav, 44100)
    assert torch.equal(audiocraft, julius.resample_frac(wav, 44100, 32000).mean(0))
    assert soxr.shape == audiocraft.shape
    assert not torch.allclose(soxr, audiocraft, atol=1e-3)


def test_what_is_heard_does_not_depend_on_an_autocast_around_it():
    embedder, wav = tiny(), noise(1, 16000)
    with torch.autocast("cpu", torch.bfloat16):
        inside = hear(embedder, wav)["logits"]
    assert torch.equal(inside, hear(embedder, wav)["logits"])


def test_the_identity_tells_weights_windows_and_resamplers_apart():
    settings = [{}, {"seed": 1}, {"window_duration": 0.5}, {"compat": True}]
    found = [tiny(**setting).identity() for setting in settings]
    assert len(set(found)) == len(settings)
    assert tiny().identity() == found[0]
    assert int(found[0], 16) >= 0


def test_the_record_names_the_weights_and_what_was_done_to_the_clip():
    record = tiny(compat=True, weights="some.pt", weights_sha256="ab12").protocol()
    assert record["weights"] == "some.pt"
    assert record["weights_sha256"] == "ab12"
    assert str(record["resampler"]).startswith("julius")
    assert record["window_duration"] == 1.0
    assert tiny().protocol()["resampler"] == "soxr HQ"


def published(duration: int, **changes: Tensor) -> dict[str, Tensor]:
    """A file's content in the full layout, each tensor one number that takes no space."""
    with torch.device("meta"):
        state = Passt(TIME_PATCHES[duration]).state_dict()
    return {k: torch.tensor([0.01]).expand(v.shape) for k, v in state.items()} | changes


def saved(content: object, folder: Path, duration: int = 20) -> Path:
    path = folder / PUBLISHED[duration].file
    torch.save(content, path)
    return path


def test_a_file_in_the_published_layout_is_loaded_and_heard(tmp_path):
    bias = torch.linspace(-1, 1, 527)
    path = saved(published(20, **{"head.1.bias": bias}), tmp_path)
    embedder: Embedder = load_passt(path)
    assert (embedder.name, embedder.sample_rate) == ("passt", 32000)
    heard = hear(embedder, noise(1, SHORTEST))
    assert heard["vectors"].shape == (1, 768)
    # All features are alike, so the norm of the head leaves its bias and one constant.
    assert torch.allclose(heard["logits"][0] - heard["logits"].mean(), bias, atol=1e-3)
    record = embedder.protocol()
    assert record["weights"] == "passt-s-f128-20sec-p16-s10-ap.474-swa.pt"
    assert record["weights_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ([1, 2], "no weights by name"),
        ({"model": published(20)}, "no weights by name"),
        (published(10), r"time_new_pos_embed: \[1, 768, 1, 99\], not \[1, 768, 1, 200\]"),
        (published(20, extra=torch.zeros(3)), "unknown weight 'extra'"),
        ({**published(20), "norm.bias": 3}, "no weights by name"),
    ],
)
def test_a_file_in_another_layout_is_refused_in_one_line(content, complaint, tmp_path):
    with pytest.raises(UserError, match=complaint) as refused:
        load_passt(saved(content, tmp_path))
    message = str(refused.value)
    assert "\n" not in message
    assert "weights.passt=" in message
    assert PUBLISHED[20].address in message


def test_the_file_follows_from_the_window_and_other_windows_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"passt-s-f128-p16-s10-ap\.476-swa\.pt"):
        load_passt(tmp_path / "none.pt", window_duration=10.0)
    with pytest.raises(UserError, match=r"passt-s-f128-30sec-p16-s10-ap\.473-swa\.pt"):
        load_passt(tmp_path / "none.pt", window_duration=30.0)
    for duration in (10.1, 0.0, math.nan, math.inf):
        with pytest.raises(UserError, match="10, 20 and 30 s"):
            load_passt(window_duration=duration)


def test_the_ten_second_file_is_known_by_its_hash(tmp_path):
    path = saved(published(10), tmp_path, 10)
    with pytest.raises(UserError, match="is not the published passt-s-f128-p16-s10"):
        load_passt(path, window_duration=10.0)
    assert load_passt(path, check=False, window_duration=10.0).network.time_patches == 99
