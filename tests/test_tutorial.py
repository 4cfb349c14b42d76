"""The tutorial that users of MusicGen know runs here with nothing but its import line changed.

Random models of a few kB, laid out as the released ones, stand in the hub's cache for the names.
"""

from pathlib import Path

import huggingface_hub
import pytest
import soundfile
import torch
import torchaudio
from huggingface_hub.errors import LocalEntryNotFoundError

from musicgen_train import MusicGen
from musicgen_train.codec.encodec import Encodec
from musicgen_train.conditioning.chroma import ChromaExtractor
from musicgen_train.conditioning.text import T5TextEncoder
from musicgen_train.data.audio import audio_write, read_audio
from musicgen_train.formats import save_transformers_musicgen
from musicgen_train.lm import LanguageModel
from tests.conditioning.small_t5 import save_t5

RATE, FRAMES = 4000, 10  # few frames a second: 30 s are soon there
NAMES = ("small", "medium", "large", "melody")
IMPORT = "from musicgen_train import MusicGen, audio_write\n"

UNCONDITIONAL = """
model = MusicGen.get_pretrained('melody')
model.set_generation_params(duration=8)
wav = model.generate_unconditional(4)
"""
TEXT = """
descriptions = ['happy rock', 'energetic EDM', 'sad jazz']
wav = model.generate(descriptions)
"""
MELODY = """
import torchaudio

melody, sr = torchaudio.load('./assets/bach.mp3')
wav = model.generate_with_chroma(descriptions, melody[None].expand(3, -1, -1), sr)
"""
WRITE = """
for idx, one_wav in enumerate(wav):
    audio_write(f'{idx}', one_wav.cpu(), model.sample_rate, strategy="loudness")
"""
CONTINUE = """
import math
import torch

model = MusicGen.get_pretrained('small')
model.set_generation_params(use_sampling=True, top_k=250, duration=30)

t = torch.arange(16000) / 32000
bips = (torch.cos(2 * math.pi * 440 * t) * (t % 0.25 >= 0.125))[None]
res = model.generate_continuation(
    bips.expand(2, -1, -1), 32000,
    ['Jazz jazz and only jazz', 'Heartful EDM with beautiful synths and chords'], progress=True)
one = model.generate(['80s pop track with bassy drums and synth'], progress=True)
"""


def random_model(melody: bool, t5: Path) -> MusicGen:
    """A MusicGen of the released kinds, with a window of 30 s."""
    torch.manual_seed(0)
    codec = Encodec(
        sample_rate=RATE, channels=1, n_q=4, card=16, ratios=[8, 5, 5, 2], n_filters=2,
        dimension=4, lstm=1,
    )  # fmt: skip
    codec.quantizer.initialise(codec.encoder(torch.randn(4, 1, RATE)).transpose(1, 2).flatten(0, 1))
    lm = LanguageModel(
        n_q=4, card=16, dim=16, num_heads=2, num_layers=1, text_dim=12,
        chroma_dim=12 if melody else None, fuse_text="prepend" if melody else "cross",
        chroma_length=int(30 * RATE) // 1024 + 1,
    )  # fmt: skip
    chroma = ChromaExtractor(RATE, window=4096, hop=1024) if melody else None
    return MusicGen("random", codec, lm, T5TextEncoder(str(t5), dim=12), chroma, 30.0)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A hub cache as downloads leave it."""
    root = tmp_path_factory.mktemp("cache")
    t5 = save_t5(root / "t5", 12)
    for name in NAMES:
        repository = root / f"models--facebook--musicgen-{name}"
        (repository / "refs").mkdir(parents=True)
        (repository / "refs" / "main").write_text("0" * 40)
        model = random_model(name == "melody", t5)
        save_transformers_musicgen(model, repository / "snapshots" / ("0" * 40))
    return root


@pytest.fixture(autouse=True)
def somebody_at_work(cache, tmp_path, monkeypatch):
    """In a folder with assets/bach.mp3, offline, with a torchaudio that can read files."""
    real = huggingface_hub.snapshot_download

    def download(*args, local_files_only=False, **kwargs):
        if not local_files_only:
            raise LocalEntryNotFoundError("no network here")
        return real(*args, local_files_only=True, **kwargs)

    def load(path):  # torchaudio 2.11 leaves reading to torchcodec, which is a package of its own
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        return torch.from_numpy(samples.T.copy()), rate

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(torchaudio, "load", load)
    monkeypatch.chdir(tmp_path)
    tune = 0.3 * torch.sin(torch.arange(3 * 32_000) / 32_000 * torch.tensor([[1600.0], [2400.0]]))
    audio_write("assets/bach", tune, 32_000, format="mp3")


def run(block: str, variables: dict) -> None:
    """Execute a block as the next cell of a notebook."""
    exec(block, variables)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_a_model(name):
    model = MusicGen.get_pretrained(name)
    assert (model.sample_rate, model.frame_rate, model.max_duration) == (RATE, FRAMES, 30)
    assert (model.chroma is not None) == (name == "melody")


def test_unconditional_text_and_melody_run_to_files(tmp_path):
    variables: dict = {}
    made = []
    for block in (IMPORT, UNCONDITIONAL, TEXT, MELODY, WRITE):
        run(block, variables)
        made.append(variables.get("wav"))
    assert made[1].shape == (4, 1, 8 * RATE)
    assert made[2].shape == made[3].shape == (3, 1, 8 * RATE)
    assert not torch.equal(made[2], made[3])
    for i, wav in enumerate(made[3]):
        written, rate = read_audio(tmp_path / f"{i}.wav")
        assert rate == RATE and written.shape == wav.shape and written.abs().max() > 0


def test_a_continuation_and_30_seconds_run(capfd):
    variables: dict = {}
    run(IMPORT + CONTINUE, variables)
    assert variables["res"].shape == (2, 1, 30 * RATE)
    assert variables["one"].shape == (1, 1, 30 * RATE)
    assert "generating" in capfd.readouterr().err
