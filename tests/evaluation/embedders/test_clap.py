"""CLAP as an embedder: deterministic windows, texts, and where the weights come from."""

import json

import pytest
import torch

from musicgen_train.errors import UserError
from musicgen_train.evaluation.embedders import clap, clap_files
from musicgen_train.evaluation.embedders.clap import ClapEmbedder, Source, load_clap
from musicgen_train.evaluation.embedders.clap_features import WINDOW
from musicgen_train.evaluation.embedders.identity import sha256_of
from musicgen_train.evaluation.embedders.weights import MissingWeights
from musicgen_train.formats.hub import fetch_files
from tests.evaluation.embedders.small_clap import save_laion, small_clap, small_tokenizer

RATE = 48_000
TEXTS = ["a happy rock song", "sad jazz", "", "piano and loud drums " * 40]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A CLAP in the format of transformers, its tokenizer with it."""
    path = tmp_path_factory.mktemp("models") / "small-clap"
    small_clap().save_pretrained(path)
    small_tokenizer().save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def embedder():
    return ClapEmbedder(small_clap(), small_tokenizer(), Source("file", "0" * 64))


@pytest.fixture(scope="module")
def compat():
    return ClapEmbedder(small_clap(), small_tokenizer(), Source("file", "0" * 64), compat=True)


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """A machine with empty caches and no network."""

    def refuse(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def sound(seconds, seed=0, channels=1):
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(channels, int(seconds * RATE), generator=generator)


def heard(embedder, wav, rate=RATE):
    return embedder.hear(embedder.prepare(wav, rate))["vectors"]


@pytest.mark.parametrize(
    ("seconds", "n_windows"), [(0, 1), (1e-4, 1), (3, 1), (10, 1), (10.5, 2), (15, 2), (26, 5)]
)
def test_there_is_a_unit_vector_for_each_window(embedder, seconds, n_windows):
    vectors = heard(embedder, sound(seconds))
    assert vectors.shape == (n_windows, 24) and vectors.dtype == torch.float32
    assert torch.allclose(vectors.norm(dim=1), torch.ones(n_windows), atol=1e-5)


def test_a_long_clip_is_heard_the_same_each_time_and_to_its_end(embedder):
    wav = sound(13)
    assert torch.equal(heard(embedder, wav), heard(embedder, wav))
    changed = wav.clone()
    changed[:, -RATE // 10 :] = 0
    difference = (heard(embedder, wav) - heard(embedder, changed)).abs().amax(1)
    assert difference[0] < 1e-5 and difference[1] > 1e-4


def test_each_window_is_heard_as_a_clip_of_its_own(embedder):
    wav = sound(15)
    alone = torch.cat([heard(embedder, wav[:, :WINDOW]), heard(embedder, wav[:, -WINDOW:])])
    assert (heard(embedder, wav) - alone).abs().max() < 1e-5


def test_channels_are_averaged_and_rates_are_heard_alike(embedder):
    stereo = sound(3, channels=2)
    assert torch.equal(heard(embedder, stereo), heard(embedder, stereo.mean(0, keepdim=True)))
    prepared = embedder.prepare(sound(1)[:, ::3], RATE // 3)
    assert prepared.shape == (RATE,)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_bad_samples_count_as_zero(embedder, compat, bad):
    wav = sound(1, channels=2)
    wav[1, 100:200] = bad
    zeroed = wav.clone()
    zeroed[1, 100:200] = 0
    for one in (embedder, compat):
        assert torch.equal(heard(one, wav), heard(one, zeroed))


def test_silence_has_a_finite_vector(embedder, compat):
    for one in (embedder, compat):
        assert heard(one, torch.zeros(1, 20 * RATE)).isfinite().all()


def test_compat_hears_one_window_at_a_place_that_the_clip_decides(compat):
    wav = sound(14)
    first = heard(compat, wav)
    assert first.shape == (1, 24) and torch.equal(first, heard(compat, wav))
    assert torch.equal(heard(compat, wav[:, :WINDOW]), heard(compat, wav[:, :WINDOW]))
    starts = []
    for seed in range(6):
        mono = sound(11, seed)[0]
        window = compat._windows(mono)[0]
        starts.append(int((mono.unfold(0, WINDOW, 1)[:, 0] == window[0]).nonzero()[0]))
    assert len(set(starts)) > 3 and all(0 <= start <= RATE for start in starts)


def test_compat_resamples_as_audiocraft_does(compat, embedder):
    import julius

    wav = sound(1, channels=2)
    theirs = julius.resample_frac(wav, 32_000, RATE).mean(0)
    assert (compat.prepare(wav, 32_000) - theirs).abs().max() < 1e-6
    assert (embedder.prepare(wav, 32_000) - theirs).abs().max() > 1e-4


def test_texts_have_unit_vectors_that_depend_on_no_other_text(embedder):
    together = embedder.text_vectors(TEXTS)
    assert together.shape == (4, 24)
    assert torch.allclose(together.norm(dim=1), torch.ones(4), atol=1e-5)
    for text, vector in zip(TEXTS, together, strict=True):
        assert (embedder.text_vectors([text])[0] - vector).abs().max() < 1e-5
    assert (together[0] - together[1]).abs().max() > 1e-3
    assert embedder.text_vectors([]).shape == (0, 24)


def test_a_text_is_cut_after_77_tokens(embedder):
    words = ["piano"] * 75  # and a token at each end
    full = embedder.text_vectors([" ".join(words), " ".join([*words, "drums"])])
    assert torch.equal(full[0], full[1])
    assert not torch.equal(full[0], embedder.text_vectors([" ".join(words[:-1])])[0])


def test_both_formats_give_the_same_model(folder, tmp_path):
    checkpoint = save_laion(small_clap(), tmp_path / "clap.pt")
    ours = [
        load_clap(folder),
        load_clap(checkpoint, check=False, tokenizer=folder),
    ]
    wav = sound(2)
    assert torch.equal(*[heard(one, wav) for one in ours])
    assert torch.equal(*[one.text_vectors(TEXTS) for one in ours])


def test_the_record_tells_weights_by_name_and_hash(folder, tmp_path):
    checkpoint = save_laion(small_clap(), tmp_path / "clap.pt")
    for path, name, file in (
        (folder, "small-clap", folder / "model.safetensors"),
        (checkpoint, "clap.pt", checkpoint),
    ):
        said = load_clap(path, check=False, text=False).protocol()
        assert said["weights"] == name and said["weights_sha256"] == sha256_of(file)
        json.dumps(said)


def test_the_identity_changes_with_whatever_changes_what_is_heard(embedder, compat):
    model, source = embedder.model, embedder.source
    others = [
        compat,
        ClapEmbedder(model, None, source._replace(sha256="1" * 64)),
        ClapEmbedder(model, None, source._replace(config="2" * 64)),
    ]
    assert ClapEmbedder(model, None, source).identity() == embedder.identity()
    assert len({one.identity() for one in (embedder, *others)}) == 4


def refused(said, *args, **options):
    with pytest.raises(UserError, match=said) as raised:
        load_clap(*args, **options)
    assert "\n" not in str(raised.value)
    return raised.value


def test_without_weights_the_error_tells_which_file_to_get(offline):
    error = refused("music_audioset_epoch_15_esc_90.14.pt")
    assert isinstance(error, MissingWeights) and error.wanted == clap.CLAP_MUSIC
    refused("no such file", "nowhere/clap.pt")
    refused("laion/none is no file or folder here", "laion/none")


def test_a_checkpoint_that_is_not_the_published_one_is_refused_unless_asked_for(folder, tmp_path):
    checkpoint = save_laion(small_clap(), tmp_path / "clap.pt")
    refused("check_weights=false", checkpoint, tokenizer=folder)


def test_without_a_tokenizer_the_error_tells_which_files_go_where(offline, tmp_path):
    checkpoint = save_laion(small_clap(), tmp_path / "clap.pt")
    refused("weights.clap_tokenizer=FOLDER", checkpoint, check=False)
    refused("is no folder with tokenizer.json", checkpoint, check=False, tokenizer=tmp_path)
    assert load_clap(checkpoint, check=False, text=False).tokenizer is None


def test_a_tokenizer_of_another_model_is_refused(folder, tmp_path):
    config = json.loads((folder / "tokenizer.json").read_text())
    config["model"]["vocab"]["foreign"] = 5000
    (tmp_path / "tokenizer.json").write_text(json.dumps(config))
    (tmp_path / "tokenizer_config.json").write_text((folder / "tokenizer_config.json").read_text())
    refused("gives the id 5000", folder, tokenizer=tmp_path)


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("config.json", {"model_type": "clip"}, "holds no CLAP"),
        ("config.json", {"audio_config": {"enable_fusion": True}}, "with fusion"),
        ("config.json", {"projection_dim": 8}, "another shape of"),
        ("preprocessor_config.json", {"frequency_min": 0}, "says frequency_min 0"),
    ],
)
def test_a_folder_of_another_kind_is_refused(folder, tmp_path, file, change, said):
    for path in folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    place = tmp_path / file
    content = json.loads(place.read_text()) if place.exists() else {}
    place.unlink(missing_ok=True)
    for name, value in change.items():
        content[name] = {**content[name], **value} if isinstance(value, dict) else value
    place.write_text(json.dumps(content))
    refused(said, tmp_path)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_an_incomplete_folder_is_refused(folder, tmp_path, file):
    for path in folder.iterdir():
        if path.name != file:
            (tmp_path / path.name).symlink_to(path)
    refused(f"{file} is missing", tmp_path)


def test_a_name_of_the_hub_is_looked_for_in_the_cache_first(folder, monkeypatch):
    asked = []

    def snapshot(name, allow_patterns, local_files_only):
        asked.append((name, local_files_only))
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    assert load_clap("somebody/clap").protocol()["weights"] == "somebody/clap"
    assert asked == [("somebody/clap", True)]
    assert fetch_files(("a/b",), [("x",)], lambda _: False) == (None, "it lacks files")


def test_roberta_is_asked_for_by_both_its_names(offline, monkeypatch):
    asked = []

    def snapshot(name, **_):
        asked.append(name)
        raise OSError("not there")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    with pytest.raises(UserError, match="not there"):
        clap_files.load_tokenizer(None, None, 50265)
    assert set(asked) == set(clap_files.ROBERTA)
