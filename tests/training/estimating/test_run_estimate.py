"""What a run will take, and settings that will fit where it does not."""

import pytest
import torch

from musicgen_train.errors import UserError
from musicgen_train.training.estimating import run_estimate
from musicgen_train.training.estimating.estimate import StepEstimate
from musicgen_train.training.estimating.run_estimate import (
    RunEstimate,
    Sizes,
    check_fit,
    estimate_run,
    model_sizes,
)
from tests.training.small_runs import parts_of, trainer_of

GB = 10**9
MUCH = Sizes(
    trained=GB, frozen=0, averaged=GB, weights=8 * GB, average_weights=4 * GB, gradients=4 * GB,
    state=8 * GB,
)  # fmt: skip


class Task:
    """Stands for a module that accumulates gradients and cannot recompute."""

    automatic_optimization = True


def expected(available, batch_size=8, item=1 * GB, fixed=14 * GB, **changes):
    step = StepEstimate(batch_size, float(fixed), float(item), 2.0)
    run = RunEstimate(step, MUCH, float(MUCH.state), 400, 1, available)
    return run._replace(**changes)


def advice(run, task=None, trainer=None):
    with pytest.raises(UserError) as refused:
        check_fit(run, task or Task(), None, trainer or trainer_of(max_steps=1))
    return str(refused.value)


def test_what_fits_is_not_refused():
    for available in (31 * GB, None):
        check_fit(expected(available), Task(), None, trainer_of(max_steps=1))


def test_a_smaller_batch_keeps_the_product_by_accumulating():
    said = advice(expected(27.5 * GB))
    assert "takes about 30.0 GB, but 27.5 GB are there" in said
    assert "data.batch_size=4 trainer.accumulate_grad_batches=2" in said
    said = advice(expected(27.5 * GB, batch_size=9, accumulate=4))
    assert "data.batch_size=3 trainer.accumulate_grad_batches=12" in said


def test_a_codec_does_not_accumulate():
    task = Task()
    task.automatic_optimization = False
    assert advice(expected(27.5 * GB), task).endswith("are there: data.batch_size=5")


def test_where_no_batch_fits_a_smaller_model_is_named():
    assert advice(expected(20 * GB)).endswith("take a smaller model (model=small, …) or a "
                                              "larger device")  # fmt: skip


def test_on_gpus_an_optimizer_of_8_bits_is_named_if_it_is_enough(monkeypatch):
    monkeypatch.setattr(run_estimate, "trainer_is_gpu", lambda trainer: True)
    assert "optim=adamw_8bit" in advice(expected(29 * GB))
    assert "optim=adamw_8bit" not in advice(expected(23 * GB))


def test_writing_the_model_at_the_end_has_to_fit_too():
    run = expected(40 * GB, export_memory=9 * GB)
    assert run.memory == 31 * GB and run.fitting_batch == 18
    assert run._replace(available=30 * GB).fitting_batch == 0


def test_a_line_says_it_all():
    assert str(expected(40 * GB)) == (
        "1.00 B parameters, averages of 1.00 B; 30.00 GB of 40.0 GB of memory; "
        "400 steps of about 2.0 s: 13 min"
    )


@pytest.mark.plain("recompute")
def test_recomputed_layers_are_measured_before_they_are_named(datasets, monkeypatch):
    _, task, datamodule = parts_of("lm_demo", datasets)
    trainer = trainer_of(max_steps=2)
    run = estimate_run(task, datamodule, trainer)
    with_it = run._replace(step=run.step._replace(item_memory=0.0), available=run.memory)
    monkeypatch.setattr(run_estimate, "estimate_run", lambda *arguments: with_it)
    with pytest.raises(UserError, match=r"task\.recompute=true"):
        check_fit(run._replace(available=run.memory - 1), task, datamodule, trainer)
    assert "forward" in vars(task.lm.layers[0])


@pytest.mark.parametrize("experiment", ["lm_demo", "codec_tiny"])
def test_parameters_averages_and_state_are_counted(experiment, datasets):
    averaged = ["task.ema_decay=0.9"]
    _, task, datamodule = parts_of(experiment, datasets, *averaged)
    sizes = model_sizes(task)
    trained = [p for p in task.parameters() if p.requires_grad]
    assert sizes.trained == sum(p.numel() for p in trained)
    assert sizes.frozen == 0 and 0 < sizes.averaged <= sizes.trained
    assert sizes.gradients == 4 * sizes.trained
    assert sizes.weights >= 4 * (sizes.trained + sizes.averaged)
    assert sizes.state == pytest.approx(8 * sizes.trained, rel=0.02)
    trainer = trainer_of(max_steps=7)
    run = estimate_run(task, datamodule, trainer, done=3)
    assert run.steps == 4 and run.extra_memory == sizes.state
    assert run.memory > sizes.weights + sizes.gradients + sizes.state
    assert run.export_memory == sizes.weights - sizes.average_weights >= 4 * sizes.trained
    assert all(p.grad is None for p in task.parameters())


def test_a_sharded_model_is_measured_shallow_and_divided(datasets, monkeypatch):
    monkeypatch.setattr(run_estimate, "ModelParallelStrategy", object)
    monkeypatch.setattr(run_estimate, "_world_size", lambda trainer: 4)
    _, task, datamodule = parts_of("lm_demo", datasets, "model.num_layers=6")
    before = {name: tensor.clone() for name, tensor in task.state_dict().items()}
    seen = []
    estimate = type(task).estimate
    monkeypatch.setattr(
        type(task), "estimate",
        lambda self, data: (seen.append(len(self.lm.layers)), estimate(self, data))[1],
    )  # fmt: skip
    run = estimate_run(task, datamodule, trainer_of(max_steps=2))
    assert seen == [1, 2] and len(task.lm.layers) == 6
    assert run.extra_memory == run.sizes.state / 4
    assert run.step.seconds > 0 and run.step.item_memory >= 0
    for name, tensor in task.state_dict().items():
        assert torch.equal(tensor, before[name]), name
