import pytest
import torch
from torch.nn import functional as F

from musicgen_train.evaluation.comparison import Comparison, Prompt, System
from musicgen_train.evaluation.scoring.text import clap_measurements
from tests.evaluation.scoring.synthetic import NamedEmbedder, made_up

TEXTS = {"a": "calm piano", "b": "fast drums", "c": "slow strings"}


class Clap(NamedEmbedder):
    """Text vectors that point where the clips of their names do."""

    def text_vectors(self, texts):
        return torch.eye(8)[[list(TEXTS.values()).index(text) for text in texts]]


def heard(tmp_path, title, clap, names, tilt=0.0):
    vectors = {name: torch.eye(8)[i] + tilt * torch.eye(8)[7] for i, name in enumerate(TEXTS)}
    return made_up(
        tmp_path, title, clap,
        {n: {"vectors": F.normalize(vectors[n].expand(2, -1), dim=-1)} for n in names},
    )  # fmt: skip


def test_clap_scores_stand_between_real_music_and_other_texts(tmp_path):
    clap = Clap("clap")
    ours = heard(tmp_path, "generated", clap, "abc", tilt=1.0)
    real = heard(tmp_path, "real", clap, "abc")
    comparison = Comparison(
        [System("", "generated", ours)], real, real,
        prompts={name: Prompt(text) for name, text in TEXTS.items()},
    )  # fmt: skip
    (row,) = clap_measurements(comparison, clap)
    assert (row.name, row.n_clips) == ("clap", 3)
    assert row.value == pytest.approx(0.5**0.5)
    assert row.good_end == pytest.approx(1.0) and row.bad_end == pytest.approx(0.0, abs=1e-9)


def test_clips_without_a_text_are_named(tmp_path):
    clap = Clap("clap")
    ours = heard(tmp_path, "generated", clap, "abc")
    comparison = Comparison(
        [System("", "generated", ours)], ours, ours, prompts={"a": Prompt(TEXTS["a"])}
    )
    (row,) = clap_measurements(comparison, clap)
    assert row.n_clips == 1 and set(row.settings["dropped"]) == {"b", "c"}
    comparison.prompts["lost"] = Prompt(TEXTS["b"])
    (row,) = clap_measurements(comparison, clap)
    assert row.settings["dropped"]["lost"] == "no such clip"
    assert row.bad_end is None  # one text has no other
