"""The codec equals transformers' EncodecModel on tiny random models of the three released kinds."""

import pytest
import torch
from transformers import EncodecConfig, EncodecModel

from musicgen_train.formats import load_codec

SMALL = {"hidden_size": 8, "num_filters": 4, "codebook_size": 16, "num_lstm_layers": 2}
KINDS = {
    # 50 frames/s, 4 codebooks, as the 32 kHz model
    "32khz": {
        **SMALL, "sampling_rate": 32000, "upsampling_ratios": [8, 5, 4, 4],
        "target_bandwidths": [0.8], "use_causal_conv": False, "use_conv_shortcut": False,
        "pad_mode": "constant",
    },
    # causal, reflecting, 2 to 8 codebooks, as the 24 kHz model
    "24khz": {
        **SMALL, "sampling_rate": 1500, "upsampling_ratios": [5, 4],
        "target_bandwidths": [0.6, 1.2, 2.4],
    },
    # stereo in normalised chunks that overlap, as the 48 kHz model
    "48khz": {
        **SMALL, "sampling_rate": 1000, "upsampling_ratios": [5, 4], "audio_channels": 2,
        "target_bandwidths": [0.4, 0.8], "use_causal_conv": False, "norm_type": "time_group_norm",
        "normalize": True, "chunk_length_s": 1.0, "overlap": 0.01,
    },
}  # fmt: skip
# Samples: less than a hop, whole hops, not whole hops; of the chunks, which begin every 0.99 s, the
# last is short at 1.3 s, and a single hop at 2 s.
CASES = [
    ("32khz", 300), ("32khz", 6400), ("32khz", 7001), ("24khz", 7), ("24khz", 1500),
    ("24khz", 1511), ("48khz", 500), ("48khz", 1000), ("48khz", 1300), ("48khz", 2000),
    ("48khz", 2977),
]  # fmt: skip


@pytest.fixture(scope="module", params=KINDS)
def pair(request, tmp_path_factory):
    """A random transformers model, and the codec that loads what it saves."""
    torch.manual_seed(0)
    model = EncodecModel(EncodecConfig(**KINDS[request.param])).eval()
    folder = tmp_path_factory.mktemp(request.param)
    model.save_pretrained(folder)
    codec = load_codec(folder)
    # Codebooks that lie where the latents do, or every frame would have the same codes.
    latents = codec.encoder(torch.randn(4, codec.channels, 100 * codec.hop_length))
    codec.quantizer.initialise(latents.detach().transpose(1, 2).flatten(0, 1))
    model.quantizer.load_state_dict(codec.quantizer.state_dict())
    model.save_pretrained(folder)
    return request.param, model, load_codec(folder)


def in_one_row(codes, n_padded):
    """transformers' codes [chunks, B, K, T] as [B, K, chunks * T], without the last padding."""
    joined = torch.cat(list(codes), -1)
    return joined[..., : joined.shape[-1] - n_padded]


@torch.no_grad()
def test_codes_are_equal_and_audio_is_close_at_every_bandwidth(pair):
    kind, model, codec = pair
    per_codebook = model.config.frame_rate * model.config.codebook_nbits / 1000
    for n_samples in [n for name, n in CASES if name == kind]:
        rng = torch.Generator().manual_seed(n_samples)
        wav = torch.randn(2, codec.channels, n_samples, generator=rng)
        for bandwidth in model.config.target_bandwidths:
            theirs = model.encode(wav, bandwidth=bandwidth, return_dict=True)
            expected = in_one_row(theirs.audio_codes, theirs.last_frame_pad_length)
            codes = codec.encode(wav, n_q=round(bandwidth / per_codebook))
            assert torch.equal(codes, expected), (n_samples, bandwidth)
            audio = model.decode(
                theirs.audio_codes,
                theirs.audio_scales,
                last_frame_pad_length=theirs.last_frame_pad_length,
            ).audio_values
            decoded = codec.decode(codes, codec.loudness(wav))
            torch.testing.assert_close(decoded, audio, rtol=1e-4, atol=1e-5)
    # On the last and longest; otherwise codes could be equal for want of choice.
    assert all(len(codes[:, k].unique()) > 8 for k in range(codec.n_q))


def test_the_codec_has_as_many_codebooks_as_the_highest_bandwidth(pair):
    _, model, codec = pair
    assert codec.n_q == model.config.num_quantizers == len(model.quantizer.layers) > 1
    assert codec.frame_rate == model.config.frame_rate
