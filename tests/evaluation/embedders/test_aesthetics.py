"""Audiobox Aesthetics: windows, weights and messages; with the package if it is installed."""

import importlib.util
import json
import sys

import pytest
import torch

from musicgen_train.errors import UserError
from musicgen_train.evaluation.embedders import aesthetics
from musicgen_train.evaluation.embedders.aesthetics import AXES, AestheticsEmbedder, load_aesthetics

RATE = 16_000
SCALE = {axis: {"mean": 5.0 + i, "std": 1.0 + i} for i, axis in enumerate(AXES)}
installed = pytest.mark.skipif(
    importlib.util.find_spec("audiobox_aesthetics") is None, reason="an extra"
)


class Loudness(torch.nn.Module):
    """Answers as AesMultiOutput does, with what it was given: rms of what the mask shows."""

    target_transform = SCALE

    def __init__(self):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.ones(()))
        self.shapes = []

    def forward(self, batch):
        wav, mask = batch["wav"], batch["mask"]
        self.shapes.append((tuple(wav.shape), mask.dtype))
        assert not wav[~mask].any()
        rms = ((wav * mask).square().sum((1, 2)) / mask.sum((1, 2))).sqrt()
        return dict.fromkeys(AXES, self.gain * rms)


def heard(embedder, wav, rate=RATE):
    return embedder.hear(embedder.prepare(wav, rate))


@pytest.fixture
def embedder():
    return AestheticsEmbedder(Loudness(), "0" * 64)


def test_each_axis_is_put_on_its_own_scale(embedder):
    found = heard(embedder, torch.full((1, RATE), 0.5))
    assert found["scores"].tolist() == [pytest.approx([5.5, 7.0, 8.5, 10.0])]


def test_the_last_window_counts_by_its_length_and_its_silence_does_not(embedder):
    wav = torch.cat([torch.full((1, 10 * RATE), 0.2), torch.full((1, 4 * RATE), 0.4)], 1)
    found = heard(embedder, wav)
    assert found["scores"][:, 0].tolist() == pytest.approx([5.2, 5.4])
    assert found["weights"].tolist() == pytest.approx([1.0, 0.4])
    assert embedder.model.shapes == [((2, 1, 10 * RATE), torch.bool)]


@pytest.mark.parametrize(("seconds", "n"), [(0, 1), (1e-3, 1), (10, 1), (100, 10), (101, 11)])
def test_any_length_is_heard_and_silence_is_finite(embedder, seconds, n):
    found = heard(embedder, torch.zeros(2, int(seconds * RATE)))
    assert found["scores"].shape == (n, 4) and found["scores"].isfinite().all()
    assert found["weights"].shape == (n,) and (found["weights"] > 0).all()


def test_bad_samples_count_as_zero(embedder):
    wav = torch.full((1, RATE), 0.3)
    wav[0, ::2] = float("nan")
    zeroed = wav.nan_to_num(0)
    assert torch.equal(heard(embedder, wav)["scores"], heard(embedder, zeroed)["scores"])


def test_the_identity_changes_with_weights_and_scale(embedder):
    other, scaled = Loudness(), Loudness()
    torch.nn.init.zeros_(other.gain)
    scaled.target_transform = {**SCALE, "CE": {"mean": 0.0, "std": 1.0}}
    made = [AestheticsEmbedder(model, "0" * 64) for model in (other, scaled)]
    assert len({one.identity() for one in (embedder, *made)}) == 3
    json.dumps(embedder.protocol())


def test_without_the_package_the_error_tells_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "audiobox_aesthetics", None)
    with pytest.raises(UserError, match=r"pip install 'musicgen_train\[aesthetics\]'"):
        load_aesthetics()


def test_without_weights_the_error_tells_which_files_to_get(monkeypatch):
    def refuse(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    with pytest.raises(UserError, match=r"no network.*config.json and model.safetensors"):
        aesthetics._fetch()


@installed
@pytest.mark.slow
def test_a_published_folder_scores_as_the_package_does(tmp_path, capsys):
    from audiobox_aesthetics.model.aes import AesMultiOutput

    torch.manual_seed(0)
    model = AesMultiOutput(target_transform=SCALE).eval()
    model.save_pretrained(tmp_path)
    wav = 0.1 * torch.randn(1, 10 * RATE)
    with torch.inference_mode():
        said = model({"wav": wav[None], "mask": torch.ones_like(wav[None], dtype=torch.bool)})
    found = heard(load_aesthetics(tmp_path), wav)["scores"][0]
    theirs = [float(said[a]) * SCALE[a]["std"] + SCALE[a]["mean"] for a in AXES]
    assert found.tolist() == pytest.approx(theirs, abs=1e-5)
    assert not capsys.readouterr().out


@installed
def test_an_incomplete_or_broken_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"lacks config.json or model.safetensors"):
        load_aesthetics(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match="holds no audiobox aesthetics"):
        load_aesthetics(tmp_path)
