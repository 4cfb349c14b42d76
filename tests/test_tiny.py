"""The model that ships."""

import hashlib

import torch

from musicgen_train.formats.native import ASSETS
from musicgen_train.musicgen import MusicGen


def test_the_model_that_ships_is_the_one_that_was_checked_and_is_small():
    folder = ASSETS / "tiny"
    for line in (folder / "SHA256SUMS").read_text().splitlines():
        expected, name = line.split()
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == expected, name
    parts = [*folder.iterdir(), *(ASSETS / "tiny_text_encoder").iterdir()]
    assert sum(path.stat().st_size for path in parts) < 20e6


def test_the_model_that_ships_follows_text_and_melody_offline(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    model = MusicGen.get_pretrained("tiny", device="cpu")
    assert (model.sample_rate, model.frame_rate, model.max_duration) == (16000, 25.0, 8.0)
    model.set_generation_params(duration=1.0)
    texts = ["calm ambient piano", "fast rock, electric guitar"]
    wavs = model.generate(texts, seeds=[1, 1])
    # An A: a C throughout is what stands for no melody.
    melody = torch.sin(torch.arange(16000) * 2 * torch.pi * 440 / 16000).expand(2, 1, -1)
    followed = model.generate_with_chroma(texts, melody, 16000, seeds=[1, 1])
    assert wavs.shape == followed.shape == (2, 1, 16000) and wavs.abs().amax((1, 2)).min() > 1e-3
    assert not torch.equal(wavs[0], wavs[1]) and not torch.equal(wavs, followed)
