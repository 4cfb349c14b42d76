"""The last n checkpoints and the best are kept, over any number of resumes."""

import os
from pathlib import Path

import pytest
import torch

import train
from musicgen_train.errors import UserError
from musicgen_train.training.surviving.checkpoint_files import WholeFileIO
from tests.small_training import config, fit
from tests.training.survival import assert_same_run, auto

TWO = "callbacks.checkpoint.save_top_k=2"


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def names(run_dir: Path) -> list[str]:
    return sorted(path.name for path in (run_dir / "checkpoints").iterdir())


def periodic(run_dir: Path) -> list[str]:
    return [name for name in names(run_dir) if name.startswith("step")]


def test_resumes_leave_the_last_two_and_the_best_and_end_as_the_straight_run(datasets, capsys):
    straight = fit(config("lm_demo", datasets, "max_steps=10", "name=straight", TWO))
    for n_steps in (3, 6, 7, 10):
        # The schedule is that of the whole run.
        stop = ("max_steps=10", f"trainer.max_steps={n_steps}")
        run_dir = fit(auto("lm_demo", datasets, "name=resumed", TWO, *stop))
        assert len(periodic(run_dir)) == 2 and f"step={n_steps}.ckpt" in names(run_dir)
        assert os.readlink(run_dir / "checkpoints" / "last.ckpt") == f"step={n_steps}.ckpt"
    assert "trainer.max_steps 3 -> 6" in capsys.readouterr().out
    assert_same_run(straight, run_dir)


def test_the_best_is_that_of_the_lowest_loss(datasets):
    run_dir = fit(config("lm_demo", datasets, "max_steps=8", "optim.lr=0.1"))
    state = torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)["callbacks"]
    best = next(value for name, value in state.items() if "valid/ce" in name)
    from tests.training.survival import logged

    values = {step: float(*v) for (step, name), v in logged(run_dir).items() if name == "valid/ce"}
    lowest = min(values, key=lambda step: values[step])
    assert len(set(values.values())) > 2
    assert Path(best["best_model_path"]).name == f"best-step={lowest + 1}.ckpt"
    assert [name for name in names(run_dir) if name.startswith("best")] == [
        f"best-step={lowest + 1}.ckpt"
    ]


def test_a_codec_is_not_the_best_while_nothing_is_quantized(datasets):
    warm_up = ("task.warmup_steps=4", "max_steps=6")
    run_dir = fit(config("codec_tiny", datasets, *warm_up))
    assert [name for name in names(run_dir) if name.startswith("best")] == ["best-step=6.ckpt"]


def test_going_back_makes_the_later_checkpoints_those_of_another_run(datasets, capsys):
    run_dir = fit(config("lm_demo", datasets, "max_steps=8", TWO))
    assert periodic(run_dir) == ["step=6.ckpt", "step=8.ckpt"]
    back = f"resume={run_dir}/checkpoints/step\\=6.ckpt"
    fit(config("lm_demo", datasets, "max_steps=8", "trainer.max_steps=7", back, TWO))
    assert "step=8.ckpt is of a step to come: the next checkpoint removes it" in (
        capsys.readouterr().out
    )
    assert periodic(run_dir) == ["step=6.ckpt", "step=7.ckpt"]


def test_a_run_whose_directory_was_moved_still_removes_its_old_checkpoints(datasets):
    fit(config("lm_demo", datasets, "max_steps=8", "trainer.max_steps=4", "name=here", TWO))
    Path("runs/here").rename("runs/there")
    run_dir = fit(auto("lm_demo", datasets, "max_steps=8", "name=there", TWO))
    assert periodic(run_dir) == ["step=6.ckpt", "step=8.ckpt"]
    assert len([name for name in names(run_dir) if name.startswith("best")]) == 1


def test_a_metric_that_is_not_logged_is_told_once_and_stops_nothing(datasets, capsys):
    fit(config("lm_demo", datasets, "max_steps=6", "callbacks.best.monitor=valid/nothing"))
    assert capsys.readouterr().out.count("valid/nothing is not logged") == 1


def test_a_checkpoint_without_its_step_in_the_name_is_refused(datasets):
    with pytest.raises(UserError, match=r"its one field is \{step\}"):
        fit(config("lm_demo", datasets, "callbacks.best.filename=best"))


def test_a_full_disk_ends_the_run_with_what_was_saved(datasets, monkeypatch):
    real = WholeFileIO.save_checkpoint

    def save(self, checkpoint, path, storage_options=None):
        if "step=6" in str(path):
            raise UserError(f"{path} does not fit")
        real(self, checkpoint, path)

    monkeypatch.setattr(WholeFileIO, "save_checkpoint", save)
    cfg = config("lm_demo", datasets, "max_steps=8", TWO, "callbacks.best=null")
    with pytest.raises(UserError, match=r"step=6\.ckpt does not fit"):
        train.run(cfg)
    assert names(Path("runs") / cfg.name) == ["last.ckpt", "step=2.ckpt", "step=4.ckpt"]
