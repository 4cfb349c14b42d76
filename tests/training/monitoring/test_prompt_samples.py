"""Samples of a language model under training: the same prompts, heard, seen, and no trace."""

import re
import shutil
from pathlib import Path

import pytest
import soundfile
import torch

from musicgen_train.errors import UserError
from musicgen_train.training.monitoring.prompt_samples import PromptSamples, validation_prompts
from tests.training.small_runs import parts_of, trainer_of

AVERAGED = ("task.ema_decay=0.9", "task.ema_every=1")


def run(datasets, folder, *overrides, steps=2, **options):
    """Train with samples after every second step; what was trained, and the trainer."""
    dropout = ("model.dropout=0.1", *overrides)
    _, task, datamodule = parts_of("lm_demo", datasets, *dropout)
    samples = [] if folder is None else [PromptSamples(folder, 2, **options)]
    trainer = trainer_of(*samples, max_steps=steps)
    trainer.fit(task, datamodule)
    return task, trainer


@pytest.mark.parametrize("overrides", [(), AVERAGED])
def test_training_is_bitwise_the_same_with_and_without_samples(datasets, tmp_path, overrides):
    (with_samples, _), (without, _) = (
        run(datasets, folder, *overrides, steps=3) for folder in (tmp_path / "samples", None)
    )
    assert (tmp_path / "samples" / "step_2").is_dir() and (tmp_path / "samples" / "step_3").is_dir()
    for name, tensor in without.state_dict().items():
        assert torch.equal(tensor, with_samples.state_dict()[name]), name


def test_parts_train_on_in_the_mode_they_were_in(datasets, tmp_path):
    task, _ = run(datasets, tmp_path / "samples")
    assert task.lm.training and task.lm.layers[0].dropout.training
    assert task.text_encoder.training


def test_prompts_are_the_validation_sets_with_their_melodies(datasets, tmp_path):
    run(datasets, tmp_path / "samples", n_prompts=2)
    _, _, datamodule = parts_of("lm_demo", datasets)
    prompts = validation_prompts(datamodule, 2)
    assert len({prompt.text for prompt in prompts}) == len(prompts) > 0
    for prompt in prompts:
        assert prompt.chroma is not None and prompt.chroma.shape[1] == 12
        for folder in ("original", "step_2"):
            audio = soundfile.info(tmp_path / "samples" / folder / f"{prompt.key}.flac")
            assert audio.samplerate == 2000
            assert audio.duration == pytest.approx(datamodule.duration, abs=0.02)
            picture = tmp_path / "samples" / folder / f"{prompt.key}.png"
            assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_melody_of_the_cache_is_followed_and_a_seed_repeats(datasets, tmp_path):
    _, task, datamodule = parts_of("lm_demo", datasets)
    samples = PromptSamples(tmp_path, n_prompts=1)
    samples.prompts, samples.seconds = validation_prompts(datamodule, 1), 0.5
    model = task.musicgen()
    (codes,), (again,) = samples._codes(model), samples._codes(model)
    assert torch.equal(codes, again) and codes.shape == (4, 50)
    samples.prompts = [samples.prompts[0]._replace(chroma=None)]
    (other,) = samples._codes(model)
    assert not torch.equal(codes, other)


def test_texts_of_ones_own_and_their_page(datasets, tmp_path):
    run(datasets, tmp_path / "samples", prompts=["a <b>loud</b> song", "quiet"], duration=0.3)
    page = (tmp_path / "samples" / "index.html").read_text()
    assert "a &lt;b&gt;loud&lt;/b&gt; song" in page
    sources = re.findall(r'src="([^"]+)"', page)
    assert sorted(s for s in sources if s.endswith("flac")) == [
        "step_2/prompt_0.flac", "step_2/prompt_1.flac"
    ]  # fmt: skip
    assert all((tmp_path / "samples" / source).exists() for source in sources)
    assert soundfile.info(tmp_path / "samples" / sources[1]).duration == pytest.approx(0.3)


def test_a_resumed_runs_page_holds_the_earlier_steps_too(datasets, tmp_path):
    folder = tmp_path / "samples"
    run(datasets, folder, prompts=["quiet"], duration=0.1)
    shutil.move(folder / "step_2", folder / "step_1")
    run(datasets, folder, prompts=["quiet"], duration=0.1)
    page = (folder / "index.html").read_text()
    assert page.index("step_1/prompt_0.flac") < page.index("step_2/prompt_0.flac")


def test_what_cannot_be_written_is_told_and_training_goes_on(datasets, tmp_path, capsys):
    (tmp_path / "samples").write_text("in the way")
    _, trainer = run(datasets, tmp_path / "samples", prompts=["quiet"], duration=0.1)
    assert trainer.global_step == 2
    assert "samples of step 2 were left out" in capsys.readouterr().out


def test_samples_longer_than_the_model_can_make_are_refused(datasets, tmp_path):
    with pytest.raises(UserError, match=r"samples of 99 s are longer than task.max_duration=8"):
        run(datasets, tmp_path / "samples", duration=99)
    with pytest.raises(UserError, match="every_n_steps 0"):
        PromptSamples(Path("samples"), 0)
