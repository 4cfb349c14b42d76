import pytest
import torch

from musicgen_train.evaluation.metrics.kl import kl_audiocraft
from musicgen_train.evaluation.scoring.divergence import divergence_measurements
from tests.evaluation.scoring.synthetic import NamedEmbedder, compared, made_up

TAGGER = NamedEmbedder("passt")


def tagged(n: int, seed: int, windows: int = 2, labels: int = 527):
    generator = torch.Generator().manual_seed(seed)
    return {f"{i}": {"logits": torch.randn(windows, labels, generator=generator)} for i in range(n)}


def measured(tmp_path, ours, real, compat=False):
    sets = made_up(tmp_path, "generated", TAGGER, ours), made_up(tmp_path, "real", TAGGER, real)
    (row,) = divergence_measurements(compared(*sets), TAGGER, compat)
    return row


def test_equal_clips_are_at_zero_and_others_further_than_their_own(tmp_path):
    row = measured(tmp_path, tagged(6, 0), tagged(6, 0))
    assert (row.name, row.value, row.n_clips) == ("kl.passt", pytest.approx(0, abs=1e-9), 6)
    assert row.bad_end > 0.1 and row.others["reversed"] == pytest.approx(0, abs=1e-9)


def test_compat_is_audiocrafts_mean_over_windows_with_its_epsilon(tmp_path):
    ours, real = tagged(4, 0), tagged(4, 1)
    ours["4"], real["4"] = tagged(1, 5, 3)["0"], tagged(1, 6, 3)["0"]
    row = measured(tmp_path / "a", ours, real, compat=True)
    every = torch.cat([kl_audiocraft(real[n]["logits"], ours[n]["logits"]) for n in ours])
    assert row.value == pytest.approx(float(every.mean()), rel=1e-6)
    assert row.n_vectors == 11 and row.settings["epsilon"] == 1e-6
    same = measured(tmp_path / "b", ours, ours, compat=True)
    assert same.value == pytest.approx(-527e-6, rel=0.02)


def test_heads_are_averaged(tmp_path):
    def two_heads(seed):
        logits = {head: torch.randn(3, 5, generator=torch.Generator().manual_seed(seed + i))
                  for i, head in enumerate(("logits.genre", "logits.tempo"))}  # fmt: skip
        return {"0": logits}

    both = measured(tmp_path / "both", two_heads(0), two_heads(10))
    each = [
        measured(tmp_path / head, *({"0": {head: side["0"][head]}} for side in pair)).value
        for head in ("logits.genre", "logits.tempo")
        for pair in [(two_heads(0), two_heads(10))]
    ]
    assert both.value == pytest.approx(sum(each) / 2)
    assert both.settings["heads"] == ["genre", "tempo"]


def test_partners_that_are_missing_or_deaf_are_named(tmp_path):
    ours, real = tagged(5, 0), tagged(4, 1)
    real["0"] = {"logits": torch.zeros(0, 527)}
    row = measured(tmp_path, ours, real)
    assert row.n_clips == 3
    assert row.settings["dropped"] == {
        "4": "no readable partner in generated or real", "0": "shorter than one window"
    }  # fmt: skip
