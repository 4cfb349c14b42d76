"""A folder of short songs and a tiny random base, for a fine-tuning that takes seconds."""

import json
from pathlib import Path

import torch

from musicgen_train.data.audio import encode_flac
from musicgen_train.formats import save_musicgen
from recipes.finetuning.settings import read_settings
from tests.small_musicgen import tiny

ROOT = Path(__file__).parents[2]
RATE = 8000
MINIATURE = {
    "separator": "none", "num_workers": 0, "steps": 4, "batch_size": 2, "segment_duration": 1.0,
    "min_duration": 0.5, "prior_clips": 4, "clips": 4, "shown": 2, "rank": 2, "method": "full",
    "sampling": {"cfg_coef": 3.0, "top_k": 250, "temperature": 1.0}, "device": "cpu",
}  # fmt: skip


def song(folder, name, seconds=4.0, hertz=220.0, about=None):
    """A chord with a beat; `about` goes into the JSON beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    time = torch.arange(int(seconds * RATE)) / RATE
    wav = sum(torch.sin(2 * torch.pi * hertz * k * time) for k in (1, 1.25, 1.5)) / 6
    wav = wav * (0.4 + 0.6 * (time * 2 % 1 < 0.5))
    path = folder / f"{name}.flac"
    path.write_bytes(encode_flac(wav[None].float(), RATE))
    if about is not None:
        path.with_suffix(".json").write_text(json.dumps(about))
    return path


def songs(folder, n=3, **options):
    for i in range(n):
        song(folder, f"song {i}", hertz=180.0 + 37 * i, **options)
    return folder


def base(folder, **options):
    """A MusicGen whose window is 1 s, at 1.6 kHz."""
    save_musicgen(tiny(**options), folder, licence="cc-by-nc-4.0")
    return folder


def settings(input_dir, base_dir, **changes):
    """conf/finetune.yaml as it is, in miniature."""
    import yaml

    given = yaml.safe_load((ROOT / "conf/finetune.yaml").read_text())
    given |= MINIATURE | {"input_dir": str(input_dir), "base": str(base_dir)} | changes
    return read_settings(given)


def t5_base(folder, melody):
    """A base that reads text by the T5 that ships, as the tiny one does."""
    from musicgen_train.conditioning.text import T5TextEncoder
    from musicgen_train.lm import LanguageModel
    from musicgen_train.musicgen import MusicGen

    like = tiny(melody=melody)
    torch.manual_seed(0)
    config = like.lm.config | {"text_dim": 384}
    if melody:
        rate = like.chroma.sample_rate / like.chroma.hop / like.codec.frame_rate
        config |= {"fuse_chroma": "sum", "chroma_rate": rate}
    encoder = T5TextEncoder("tiny_text_encoder", dim=384)
    lm = LanguageModel(**config)
    save_musicgen(MusicGen("t5", like.codec, lm, encoder, like.chroma, 1.0), folder)
    return folder
