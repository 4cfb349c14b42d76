"""Small MusicGens of every kind, as transformers and as this project have them."""

from pathlib import Path

import torch
from torch import Tensor
from transformers import (
    EncodecConfig,
    EncodecFeatureExtractor,
    GenerationConfig,
    MusicgenConfig,
    MusicgenForConditionalGeneration,
    MusicgenMelodyConfig,
    MusicgenMelodyFeatureExtractor,
    MusicgenMelodyForConditionalGeneration,
    MusicgenMelodyProcessor,
    MusicgenProcessor,
    PreTrainedModel,
)

from musicgen_train.codec.encodec import Encodec
from musicgen_train.codec.stereo import StereoCodec
from musicgen_train.conditioning.chroma import ChromaExtractor
from musicgen_train.conditioning.text import T5TextEncoder
from musicgen_train.lm.delay import default_delays
from musicgen_train.lm.model import LanguageModel
from musicgen_train.musicgen import MusicGen
from tests.conditioning.small_t5 import small_tokenizer, t5_config

KINDS = {  # name: (whether it takes a melody, channels)
    "text": (False, 1),
    "stereo text": (False, 2),
    "melody": (True, 1),
    "stereo melody": (True, 2),
}
CARD, WINDOW, HOP = 16, 1024, 256
RATE, FRAMES = 3200, 100  # samples and codec frames per second
DURATION = 2.0
CHROMA_LENGTH = int(DURATION * RATE) // HOP + 1


def their_model(kind: str, folder: Path, width: int = 16, text_width: int = 12) -> PreTrainedModel:
    """A random MusicGen of transformers, saved with its processor."""
    melody, channels = KINDS[kind]
    name = "musicgen_melody" if melody else "musicgen"
    decoder = {
        "model_type": f"{name}_decoder", "vocab_size": CARD, "hidden_size": width,
        "num_hidden_layers": 2, "ffn_dim": 2 * width, "num_attention_heads": 2,
        "num_codebooks": 4 * channels, "audio_channels": channels, "pad_token_id": CARD,
        "bos_token_id": CARD,
    }  # fmt: skip
    codec = EncodecConfig(
        num_filters=2, hidden_size=4, sampling_rate=RATE, codebook_size=CARD,
        upsampling_ratios=[8, 4], target_bandwidths=[1.6], use_causal_conv=False,
    )  # fmt: skip
    parts = {
        "text_encoder": t5_config(text_width).to_dict(),
        "audio_encoder": codec.to_dict(),
        "decoder": decoder,
    }
    torch.manual_seed(0)
    if melody:
        config = MusicgenMelodyConfig(**parts, num_chroma=12, chroma_length=CHROMA_LENGTH)
        model = MusicgenMelodyForConditionalGeneration(config)
        extractor = MusicgenMelodyFeatureExtractor(
            sampling_rate=RATE, n_fft=WINDOW, hop_length=HOP, chunk_length=2
        )
        processor = MusicgenMelodyProcessor(extractor, small_tokenizer())
    else:
        model = MusicgenForConditionalGeneration(MusicgenConfig(**parts))
        extractor = EncodecFeatureExtractor(
            feature_size=channels, sampling_rate=RATE, padding_side="left"
        )
        processor = MusicgenProcessor(extractor, small_tokenizer())
    _enliven(model)
    model.generation_config = GenerationConfig(
        bos_token_id=CARD, pad_token_id=CARD, decoder_start_token_id=CARD, max_length=200
    )
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return model.eval()


def _enliven(model: PreTrainedModel) -> None:
    """Weights large enough that every condition changes the music, codebooks that differ."""
    for name, parameter in model.named_parameters():
        if not name.startswith("text_encoder"):
            torch.nn.init.normal_(parameter, 1.0 if "norm.weight" in name else 0.0, 0.3)
    for name, buffer in model.named_buffers():
        if name.endswith("codebook.embed"):
            torch.nn.init.normal_(buffer)


def our_model(kind: str, t5: str | Path, **options) -> MusicGen:
    """A random MusicGen of this project around a T5."""
    melody, channels = KINDS[kind]
    torch.manual_seed(1)
    codec: Encodec | StereoCodec = Encodec(
        sample_rate=RATE, channels=1, n_q=4, card=CARD, ratios=[8, 4], n_filters=2, dimension=4,
        lstm=0,
    )  # fmt: skip
    codec.quantizer.initialise(codec.encoder(torch.randn(4, 1, RATE)).transpose(1, 2).flatten(0, 1))
    if channels == 2:
        codec = StereoCodec(codec)
    arguments = {
        "n_q": 4 * channels, "card": CARD, "dim": 16, "num_heads": 2, "num_layers": 2,
        "delays": default_delays(4 * channels, channels), "text_dim": 12, "ffn_mult": 2,
        "fuse_text": "prepend" if melody else "cross", "chroma_length": CHROMA_LENGTH,
        "chroma_dim": 12 if melody else None,
    }  # fmt: skip
    lm = LanguageModel(**(arguments | options))
    for name, parameter in lm.named_parameters():
        torch.nn.init.normal_(parameter, 1.0 if "norm" in name and "weight" in name else 0.0, 0.3)
    chroma = ChromaExtractor(RATE, window=WINDOW, hop=HOP) if melody else None
    width = lm.config["text_dim"]
    encoder = T5TextEncoder(str(t5), dim=width) if width else None
    return MusicGen(kind, codec, lm, encoder, chroma, max_duration=DURATION)


def random_chroma(n_rows: int) -> Tensor:
    """One-hot [B, F, 12]."""
    bins = torch.randint(12, (n_rows, CHROMA_LENGTH), generator=torch.Generator().manual_seed(5))
    return torch.nn.functional.one_hot(bins, 12).float()


def random_sequence(lm: LanguageModel, n_rows: int) -> Tensor:
    """Delayed steps with their start [B, K, S], whatever stands where codes are special."""
    generator = torch.Generator().manual_seed(6)
    return lm.with_start(torch.randint(lm.card, (n_rows, lm.n_q, 9), generator=generator))


@torch.no_grad()
def their_logits(model: PreTrainedModel, sequence: Tensor, **inputs: Tensor) -> Tensor:
    """Logits [B, K, S, card] of a sequence [B, K, S]."""
    B, K, S = sequence.shape
    logits = model(**inputs, decoder_input_ids=sequence.flatten(0, 1)).logits
    return logits[:, -S:].unflatten(0, (B, K))


def their_tokens(
    model: PreTrainedModel, monkeypatch, n_frames: int, guidance: float, **inputs: Tensor
) -> Tensor:
    """What transformers generates greedily, as codes [B, K, T]: what it gives its codec."""
    decoder = model.config.decoder
    given: list[Tensor] = []
    decode = model.audio_encoder.decode

    def remember(audio_codes, *args, **kwargs):
        given.append(audio_codes[0])
        return decode(audio_codes, *args, **kwargs)

    monkeypatch.setattr(model.audio_encoder, "decode", remember)
    n_steps = n_frames + decoder.num_codebooks // decoder.audio_channels - 1
    model.generate(**inputs, do_sample=False, guidance_scale=guidance, max_new_tokens=n_steps)
    monkeypatch.undo()
    codes = torch.stack(given, dim=2)  # [B, K, T] of one codec, or of left and right
    return codes.flatten(1, 2)
