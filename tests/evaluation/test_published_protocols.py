"""Both published protocols from end to end, with random weights in the published layouts."""

import json
from pathlib import Path

import pytest
import torch

from musicgen_train.evaluation.clips import Clip, write_clip
from musicgen_train.evaluation.embedders.passt import Passt
from musicgen_train.evaluation.embedders.vggish import Vggish
from tests.evaluation.embedders.small_clap import small_clap, small_tokenizer
from tests.evaluation.test_evaluate import run

N_CLIPS = 8


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> dict[str, Path]:
    """Files as they are published, but for the numbers in them."""
    root = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    torch.save(Vggish().state_dict(), root / "vggish.pth")
    torch.save(Passt().state_dict(), root / "passt.pt")
    small_clap().save_pretrained(root / "clap")
    small_tokenizer().save_pretrained(root / "clap")
    return {"vggish": root / "vggish.pth", "passt": root / "passt.pt", "clap": root / "clap"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Path:
    """Noises and the same noises softer, and texts of their names."""
    root = tmp_path_factory.mktemp("folders")
    for i in range(N_CLIPS):
        wav = 0.1 * torch.randn(1, 10 * 32_000, generator=torch.Generator().manual_seed(i))
        write_clip(root / "real" / f"{i}.flac", Clip("", wav, 32_000))
        write_clip(root / "made" / f"{i}.flac", Clip("", 0.3 * wav.roll(1000, -1), 32_000))
    texts = {f"{i}": "happy rock" if i % 2 else "sad jazz with piano" for i in range(N_CLIPS)}
    (root / "texts.json").write_text(json.dumps(texts))
    return root


def measured(weights, folders, protocol, out) -> dict:
    given = [f"weights.{name}={path}" for name, path in weights.items()]
    result = run(
        f"generated={folders / 'made'}", f"reference={folders / 'real'}",
        f"texts={folders / 'texts.json'}", f"protocol={protocol}", f"output_dir={out}", *given,
        "check_weights=false", f"cache_dir={folders / 'heard'}", "report=false",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return json.loads((out / "metrics.json").read_text())


@pytest.mark.slow
def test_the_default_protocol_measures_all_it_says_with_a_record_of_each(
    weights, folders, tmp_path
):
    rows = {r["name"]: r for r in measured(weights, folders, "default", tmp_path)["metrics"]}
    assert set(rows) == {
        "fad.vggish", "fad.clap", "kad.vggish", "kad.clap", "density.vggish", "density.clap",
        "coverage.vggish", "coverage.clap", "kl.passt", "clap", "chroma.argmax", "chroma.cosine",
        "failures.clips", "failures.loudness",
    }  # fmt: skip
    for name in ("fad.vggish", "kl.passt", "clap"):
        row, record = rows[name], rows[name]["settings"]
        assert row["n_clips"] == N_CLIPS and row["warnings"] and record["dropped"] == {}
        assert len(record["weights_sha256"]) == 64
        assert record["resampler"] == "soxr HQ" and record["sample_rate"]
    assert rows["fad.vggish"]["n_vectors"] == 19 * N_CLIPS
    assert rows["kl.passt"]["interval"][0] <= rows["kl.passt"]["value"]
    assert rows["fad.vggish"]["interval"] is None  # of 8 clips in 128 dimensions
    assert rows["fad.vggish"]["value"] < 1e-3  # one level, hence nearly the same clips


@pytest.mark.slow
def test_the_compatible_protocol_says_that_it_is_audiocrafts(weights, folders, tmp_path):
    rows = {
        r["name"]: r for r in measured(weights, folders, "musicgen_compat", tmp_path)["metrics"]
    }
    assert set(rows) == {"fad.vggish", "kl.passt", "clap", "chroma.argmax"}
    record = rows["fad.vggish"]["settings"]
    assert record["resampler"].startswith("julius")
    assert record["dtype"].startswith("float32 statistics")
    assert rows["kl.passt"]["settings"]["epsilon"] == 1e-6
    assert rows["kl.passt"]["n_vectors"] == N_CLIPS
    assert rows["chroma.argmax"]["settings"]["frames"] == "all, of all clips together"
