import json
import re

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from musicgen_train.errors import UserError
from musicgen_train.evaluation.embedders import vggish
from musicgen_train.evaluation.embedders.identity import sha256_of
from musicgen_train.evaluation.embedders.vggish import (
    PUBLISHED,
    Vggish,
    VggishEmbedder,
    load_vggish,
)
from musicgen_train.evaluation.embedders.vggish_features import LogMel, count_windows

RATE = 16_000
SHAPES = {  # of vggish-10086976.pth
    "features.0": (64, 1, 3, 3),
    "features.3": (128, 64, 3, 3),
    "features.6": (256, 128, 3, 3),
    "features.8": (256, 256, 3, 3),
    "features.11": (512, 256, 3, 3),
    "features.13": (512, 512, 3, 3),
    "embeddings.0": (4096, 12288),
    "embeddings.2": (4096, 4096),
    "embeddings.4": (128, 4096),
}


class LevelsOfBands(nn.Module):
    """Stands in for the network where only the windows matter: 64 mean levels, twice."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def forward(self, patches: Tensor) -> Tensor:
        self.batches.append(len(patches))
        return patches.mean((1, 2)).repeat(1, 2)


@pytest.fixture(scope="module")
def network() -> Vggish:
    """Random weights that pass signals on at their strength."""
    with torch.device("meta"):
        network = Vggish()
    network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 100
        nn.init.normal_(parameter, std=(2 / fan_in) ** 0.5, generator=generator)
    return network.eval().requires_grad_(False)


def bands(compat: bool = False) -> VggishEmbedder:
    return VggishEmbedder(LevelsOfBands(), "0" * 64, compat)  # type: ignore[arg-type]


def noise(seconds: float, rate: int = RATE, channels: int = 1, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(channels, int(seconds * rate), generator=generator)


def melody(seconds: float, rate: int = RATE) -> Tensor:
    """A tone that climbs from 200 Hz to 3 kHz, with two overtones."""
    time = torch.arange(int(seconds * rate), dtype=torch.float64) / rate
    phase = 2 * torch.pi * (200 * time + 1400 * time.square() / seconds)
    overtones = torch.arange(1, 4)[:, None]
    return (0.3 * (overtones * phase).sin() / overtones).sum(0, keepdim=True).float()


def reference_log_mel(samples: np.ndarray) -> np.ndarray:
    """Google's front end from its formulas, one frame and one band at a time, in float64."""

    def mel(hertz: float) -> float:
        return 1127.0 * np.log(1.0 + hertz / 700.0)

    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    starts = range(0, len(samples) - 400 + 1, 160)
    spectrum = np.array([np.abs(np.fft.rfft(samples[i : i + 400] * hann, 512)) for i in starts])
    edges = np.linspace(mel(125.0), mel(7500.0), 66)
    bins = np.array([mel(k * RATE / 512) for k in range(257)])
    bank = np.array([np.interp(bins, edges[b : b + 3], [0.0, 1.0, 0.0]) for b in range(64)])
    return np.log(spectrum @ bank.T + 0.01)


def tensorflow_graph(patch: np.ndarray, state: dict[str, Tensor]) -> np.ndarray:
    """Google's network on one patch [96, 64], channels last, in float64, no ReLU at the end."""
    x = patch[:, :, None]
    for layer in ("0", "3", "6", "8", "11", "13"):
        kernel = state[f"features.{layer}.weight"].double().permute(2, 3, 1, 0).numpy()  # HWIO
        padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
        rows, columns = x.shape[:2]
        x = sum(
            padded[i : i + rows, j : j + columns] @ kernel[i, j] for i in range(3) for j in range(3)
        )
        x = np.maximum(x + state[f"features.{layer}.bias"].double().numpy(), 0.0)
        if layer not in ("6", "11"):
            x = x.reshape(rows // 2, 2, columns // 2, 2, -1).max((1, 3))
    x = x.reshape(-1)
    for layer in ("0", "2", "4"):
        x = state[f"embeddings.{layer}.weight"].double().numpy() @ x
        x = x + state[f"embeddings.{layer}.bias"].double().numpy()
        x = np.maximum(x, 0.0) if layer != "4" else x
    return x


def test_names_and_shapes_are_the_published_ones(network):
    expected = {f"{name}.weight": shape for name, shape in SHAPES.items()}
    expected |= {f"{name}.bias": shape[:1] for name, shape in SHAPES.items()}
    assert {name: tuple(value.shape) for name, value in network.state_dict().items()} == expected


def test_the_network_is_googles_graph(network):
    patch = torch.from_numpy(reference_log_mel(melody(1.0)[0].double().numpy())[:96])
    ours = network(patch[None, None].float())[0].double().numpy()
    theirs = tensorflow_graph(patch.numpy(), network.state_dict())
    assert np.abs(ours - theirs).max() < 1e-5 * np.abs(theirs).max()


def test_embeddings_are_those_before_the_last_relu(network):
    vectors = VggishEmbedder(network, "").hear(noise(1.0)[0])["vectors"]
    assert 0.2 < (vectors < 0).float().mean() < 0.8


@pytest.mark.parametrize("clip", [noise(2.0), melody(2.0), torch.zeros(1, 2 * RATE)])
def test_the_front_end_is_googles(clip):
    ours = LogMel()(clip[0]).numpy()
    assert np.abs(ours - reference_log_mel(clip[0].double().numpy())).max() < 1e-9


def test_silence_is_the_logarithm_of_the_offset():
    assert np.allclose(LogMel()(torch.zeros(RATE)), np.log(0.01), atol=1e-12)


def test_patches_of_single_windows_are_cuts_from_the_whole_clip():
    samples = bands(compat=True).prepare(melody(3.3), RATE)  # numbers that need 64 bits
    whole = reference_log_mel(samples.numpy())
    patches = LogMel().patches(samples, 0, 5).numpy()
    for i in range(5):
        window = reference_log_mel(samples[8000 * i : 8000 * i + 16_000].numpy())[:96]
        assert np.abs(window - whole[50 * i : 50 * i + 96]).max() < 1e-12
        assert np.abs(window - patches[i]).max() < 1e-10


def test_only_whole_seconds_every_half_second_are_windows():
    counts = {10.0: 19, 30.0: 59, 1.0: 1, 1.49: 1, 1.5: 2, 15_999 / RATE: 0, 0.0: 0}
    assert {s: count_windows(round(s * RATE)) for s in counts} == counts
    for compat in (False, True):
        embedder = bands(compat)
        vectors = embedder.hear(embedder.prepare(noise(10.0, 32_000, 2), 32_000))["vectors"]
        assert vectors.shape == (19, 128) and vectors.dtype == torch.float32


def test_a_long_clip_is_heard_in_parts_that_do_not_show():
    embedder, network = bands(), LevelsOfBands()
    embedder.network = network  # type: ignore[assignment]
    clip = noise(100.0)[0]
    vectors = embedder.hear(clip)["vectors"]
    assert network.batches == [64, 64, 64, 7]
    whole = LogMel().patches(clip, 0, 199).mean(1).float()
    assert torch.allclose(vectors[:, :64], whole, atol=1e-6)


def test_the_size_of_the_parts_hardly_matters_to_the_network(network, monkeypatch):
    embedder, clip = VggishEmbedder(network, ""), melody(2.5)[0]
    whole = embedder.hear(clip)["vectors"]
    monkeypatch.setattr(vggish, "BATCH", 3)
    assert torch.allclose(embedder.hear(clip)["vectors"], whole, atol=1e-4 * float(whole.std()))


def test_a_clip_is_heard_alike_whatever_was_heard_before_and_whatever_a_trainer_set(network):
    embedder = VggishEmbedder(network, "")
    first = embedder.hear(melody(1.0)[0])["vectors"]
    assert torch.equal(first, network(LogMel().patches(melody(1.0)[0], 0, 1)[:, None].float()))
    embedder.hear(noise(1.5)[0])
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            again = embedder.hear(melody(1.0)[0])["vectors"]
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(precision)
    assert torch.equal(first, again)


@pytest.mark.parametrize("compat", [False, True])
def test_gain_hardly_matters(compat):
    embedder = bands(compat)
    loud, quiet = (
        embedder.hear(embedder.prepare(gain * melody(3.0), RATE))["vectors"] for gain in (1.0, 0.05)
    )
    assert torch.allclose(loud, quiet, atol=1e-3)


@pytest.mark.parametrize("compat", [False, True])
def test_rate_and_channels_of_the_file_hardly_matter(compat):
    embedder = bands(compat)
    mono = embedder.hear(embedder.prepare(melody(3.0), RATE))["vectors"]
    stereo = melody(3.0, 44_100) * torch.tensor([[1.5], [0.5]])
    vectors = embedder.hear(embedder.prepare(stereo, 44_100))["vectors"]
    assert vectors.shape == mono.shape and (vectors - mono).abs().mean() < 0.02


def test_short_clips_are_repeated_and_only_audiocraft_loses_them():
    for n_samples in (0, 1, 4000):
        clip = noise(n_samples / RATE)
        assert bands().hear(bands().prepare(clip, RATE))["vectors"].shape == (1, 128)
        assert bands().prepare(clip, 44_100).shape == (RATE,)
        lost = bands(compat=True).hear(bands(compat=True).prepare(clip, RATE))["vectors"]
        assert lost.shape == (0, 128) and lost.dtype == torch.float32
    repeated = bands().prepare(noise(0.25), RATE)
    assert torch.equal(repeated[:12_000], repeated[4000:])


@pytest.mark.parametrize("compat", [False, True])
def test_silent_and_broken_clips_are_heard_as_finite_numbers(compat):
    embedder = bands(compat)
    silent = embedder.hear(embedder.prepare(torch.zeros(2, RATE), RATE))["vectors"]
    assert torch.allclose(silent, torch.tensor(np.log(0.01)).float())
    broken, mended = noise(2.0), noise(2.0)
    broken[0, 100:200] = torch.tensor([float("nan"), float("inf")]).repeat(50)
    mended[0, 100:200] = 0.0
    assert torch.equal(embedder.prepare(broken, RATE), embedder.prepare(mended, RATE))


def test_audiocrafts_way_is_rate_then_channels_then_level():
    from julius.resample import ResampleFrac

    clip = noise(1.5, 44_100, 2)
    mono = ResampleFrac(44_100, RATE)(clip[None])[0].mean(0).numpy()
    integers = np.rint(mono * (np.float32(10 ** (-1 / 20)) / np.abs(mono).max()) * 32768)
    expected = integers.astype(np.float64) / integers.max()
    assert np.array_equal(bands(compat=True).prepare(clip, 44_100).numpy(), expected)


def test_identity_follows_weights_and_way_but_not_the_name_of_the_file(network):
    same = VggishEmbedder(network, "a" * 64).identity()
    assert re.fullmatch("[0-9a-f]{64}", same)
    assert VggishEmbedder(network, "a" * 64, weights_file="copy.pth").identity() == same
    others = [VggishEmbedder(network, "b" * 64), VggishEmbedder(network, "a" * 64, compat=True)]
    assert len({same, *(other.identity() for other in others)}) == 3


def test_the_protocol_says_how_to_repeat_it(network):
    for compat in (False, True):
        protocol = VggishEmbedder(network, "a" * 64, compat).protocol()
        assert json.loads(json.dumps(protocol)) == protocol
        assert protocol["weights"] == "vggish-10086976.pth"
        assert protocol["weights_sha256"] == "a" * 64
        assert (protocol["sample_rate"], protocol["window_duration"]) == (RATE, 1.0)
        assert protocol["hop_duration"] == 0.5
        assert protocol["resampler"] == ("julius 24/0.945" if compat else "soxr HQ")
        assert {"channels", "normalisation", "short_clips", "layer", "dtype"} < protocol.keys()


def small_state() -> dict[str, Tensor]:
    """Weights of the published names and shapes that take a few kilobytes on disk."""
    state = {}
    for name, shape in SHAPES.items():
        rows = torch.randn(shape[0], *[1] * (len(shape) - 1))
        state[f"{name}.weight"], state[f"{name}.bias"] = rows.expand(shape), torch.randn(shape[0])
    return state


def test_published_weights_are_loaded(tmp_path):
    state = small_state()
    torch.save(state, tmp_path / "mine.pth")
    with pytest.raises(UserError, match=f"sha256 is .*, not {PUBLISHED.sha256}"):
        load_vggish(tmp_path / "mine.pth")
    embedder = load_vggish(tmp_path / "mine.pth", check=False, compat=True)
    loaded = embedder.network.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in state.items())
    assert not embedder.network.training and embedder.compat
    assert embedder.protocol()["weights"] == "mine.pth"
    assert embedder.protocol()["weights_sha256"] == sha256_of(tmp_path / "mine.pth")


@pytest.mark.slow
def test_safetensors_of_the_same_names_are_loaded(tmp_path, network):
    save_file(network.state_dict(), tmp_path / "mine.safetensors")
    loaded = load_vggish(tmp_path / "mine.safetensors", check=False)
    clip = melody(1.0)[0]
    expected = VggishEmbedder(network, "").hear(clip)["vectors"]
    assert torch.equal(loaded.hear(clip)["vectors"], expected)


def test_weights_that_do_not_fit_are_named(tmp_path):
    changes = {
        "unknown weight 'pproc.pca_means'": {"pproc.pca_means": torch.zeros(3)},
        "shape of embeddings.4.weight: [527, 4096], not [128, 4096]": {
            "embeddings.4.weight": torch.zeros(527, 1).expand(527, 4096)
        },
        "embeddings.4.bias, which holds no floating point numbers": {
            "embeddings.4.bias": torch.zeros(128, dtype=torch.int64)
        },
    }
    for said, change in changes.items():
        torch.save(small_state() | change, tmp_path / "other.pth")
        with pytest.raises(UserError, match=re.escape(said)) as caught:
            load_vggish(tmp_path / "other.pth", check=False)
        message = str(caught.value)
        assert "other.pth" in message and PUBLISHED.address in message and "\n" not in message


@pytest.mark.parametrize("content", [[1, 2], {**small_state(), "features.0.bias": "zeros"}])
def test_files_with_something_else_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(UserError, match="no weights by name"):
        load_vggish(tmp_path / "other.pth", check=False)


def test_safetensors_are_known_by_their_suffix(tmp_path):
    save_file({"features.0.bias": torch.zeros(64)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match=r"lacks the weight features\.0\.weight"):
        load_vggish(tmp_path / "other.safetensors", check=False)
