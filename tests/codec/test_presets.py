"""The configured codecs are the published ones."""

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from musicgen_train.codec.encodec import Encodec

CONF = Path(__file__).parents[2] / "conf"
PRESETS = sorted(path.stem for path in (CONF / "codec").glob("*.yaml"))
# What the conversion of the released models to transformers sets beside its defaults.
RELEASED = {
    "encodec_24khz": {},
    "encodec_48khz": {
        "sampling_rate": 48000, "audio_channels": 2, "target_bandwidths": [3.0, 6.0, 12.0, 24.0],
        "use_causal_conv": False, "norm_type": "time_group_norm", "normalize": True,
        "chunk_length_s": 1.0, "overlap": 0.01,
    },
    "encodec_32khz": {
        "sampling_rate": 32000, "upsampling_ratios": [8, 5, 4, 4], "target_bandwidths": [2.2],
        "num_filters": 64, "codebook_size": 2048, "use_causal_conv": False,
        "use_conv_shortcut": False, "pad_mode": "constant",
    },
}  # fmt: skip


def preset(name: str) -> Encodec:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(overrides=[f"+codec={name}"])
    with torch.device("meta"):
        return instantiate(config.codec, _convert_="all")


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_names_its_frame_rate(name):
    codec = preset(name)  # refuses a frame_rate that does not fit
    with initialize_config_dir(str(CONF), version_base="1.3"):
        assert compose(overrides=[f"+codec={name}"]).codec.frame_rate == codec.frame_rate


@pytest.mark.parametrize(
    ("name", "hop_length", "frame_rate", "n_q", "card", "millions"),
    [
        ("encodec_16khz", 320, 50, 4, 2048, 58.9),
        ("encodec_24khz", 320, 75, 32, 1024, 23.3),
        ("encodec_32khz", 640, 50, 4, 2048, 59.0),
        ("encodec_48khz", 320, 150, 16, 1024, 19.1),
    ],
)
def test_published_codecs_have_the_published_size(
    name, hop_length, frame_rate, n_q, card, millions
):
    codec = preset(name)
    assert (codec.hop_length, codec.frame_rate) == (hop_length, frame_rate)
    assert (codec.n_q, codec.card) == (n_q, card)
    count = sum(t.numel() for t in codec.state_dict().values()) / 1e6  # with the codebooks
    assert count == pytest.approx(millions, abs=0.05)


@pytest.mark.parametrize("name", RELEASED)
def test_a_preset_has_the_tensors_and_options_of_the_released_model(name):
    from transformers import EncodecConfig, EncodecModel

    from musicgen_train.formats.transformers_codec import config_to_transformers

    codec = preset(name)
    released = EncodecConfig(**RELEASED[name])
    with torch.device("meta"):
        model = EncodecModel(released)
    ours, theirs = (
        {name: tensor.shape for name, tensor in m.state_dict().items()} for m in (codec, model)
    )
    assert ours == theirs
    written = config_to_transformers(codec)
    for option in [name for name in written if name in EncodecConfig.__annotations__]:
        value = getattr(released, option)
        assert written[option] == (list(value) if isinstance(value, tuple) else value), option
    assert written["target_bandwidths"] == list(released.target_bandwidths)
