import pytest
import torch

from musicgen_train.evaluation.comparison import Comparison, Prompt, System
from musicgen_train.evaluation.scoring.melody import MelodyScorer
from tests.evaluation.scoring.synthetic import NamedEmbedder, compared, made_up

LISTENER = NamedEmbedder("chroma")


def melodies(n: int, seed: int, frames: int = 40) -> dict:
    generator = torch.Generator().manual_seed(seed)
    return {f"{i}": {"chroma": torch.rand(frames, 12, generator=generator)} for i in range(n)}


def made(tmp_path, title, arrays):
    return made_up(tmp_path, title, LISTENER, arrays)


def test_a_folder_is_held_against_the_real_clips_of_its_names(tmp_path):
    tunes = melodies(8, 0)
    sets = made(tmp_path, "generated", tunes), made(tmp_path, "reference", tunes)
    argmax, cosine = MelodyScorer(compared(*sets), LISTENER, False).measurements()
    assert (argmax.name, argmax.value, cosine.value) == ("chroma.argmax", 1.0, pytest.approx(1.0))
    assert argmax.bad_end == pytest.approx(1 / 12, abs=0.04)


def test_compat_counts_silent_frames_as_c_and_frames_not_clips(tmp_path):
    silent, tune = torch.zeros(30, 12), melodies(1, 0, 10)["0"]["chroma"]
    other = tune.roll(1, dims=1)
    ours = {"a": {"chroma": silent}, "b": {"chroma": other}}
    real = {"a": {"chroma": silent}, "b": {"chroma": tune}}
    sets = made(tmp_path, "generated", ours), made(tmp_path, "reference", real)
    (compat,) = MelodyScorer(compared(*sets), LISTENER, True).measurements()
    assert compat.value == pytest.approx(30 / 40)
    argmax, _ = MelodyScorer(compared(*sets), LISTENER, False).measurements()
    assert argmax.value == 0.0 and argmax.n_clips == 1
    assert argmax.settings["dropped"] == {"a": "undefined"}


def test_a_system_that_was_given_melodies_is_held_against_those(tmp_path):
    asked, others = melodies(6, 0), melodies(6, 1)
    follows = made(tmp_path, "melody", asked)
    free, real = made(tmp_path, "text", others), made(tmp_path, "reference", others)
    comparison = Comparison(
        [System("text", "from text", free), System("melody", "with", follows, with_melody=True)],
        real, real, prompts={name: Prompt(chroma=tune["chroma"]) for name, tune in asked.items()},
    )  # fmt: skip
    argmax, cosine = MelodyScorer(comparison, LISTENER, False).measurements()
    assert argmax.value == 1.0 and argmax.good_end < 0.3
    assert argmax.others["from text, without a melody"] == argmax.good_end
    assert cosine.good_end_is == "the real clip, whole mix"
