"""Training an adapter: the base stays as it is and out of checkpoints, all else as in any run."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import train
from musicgen_train.adapters.adapter_file import WEIGHTS, read_adapter
from musicgen_train.errors import UserError
from musicgen_train.formats import load_lm, load_musicgen
from musicgen_train.formats.probing import probe
from musicgen_train.training.surviving import checkpoint_files
from tests.small_training import arguments, config, fit, losses
from tests.test_train import same
from tests.training.small_runs import parts_of
from tests.training.survival import (
    assert_same_run,
    auto,
    differences,
    end_of,
    fit_and_die,
    in_a_process,
    status,
)

ROOT = Path(__file__).parents[2]
LORA = "task.adapter={rank:2,alpha:4,dropout:0.3}"
DORA = "task.adapter={kind:dora,rank:2,alpha:4,trigger:my style,licence:MIT}"
AVERAGED = ("task.ema_decay=0.5", "task.ema_every=2")
FAST = ("optim.lr=0.01", "schedule=constant")


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def base(datasets, tmp_path_factory):
    """The folder of a model that was trained for two steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("base"))
        return fit(config("lm_demo", datasets, "max_steps=2", "name=base")).absolute() / "model"


@pytest.fixture(scope="module")
def runs(base, datasets, tmp_path_factory):
    """A run of four steps for each kind of adapter."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("runs"))
        small = ("max_steps=4", "task.name=mine", *AVERAGED)
        return {
            kind: fit(adapting(base, datasets, *small, f"name={kind}", adapter=adapter)).absolute()
            for kind, adapter in (("lora", LORA), ("dora", DORA))
        }


def adapting(base, datasets, *overrides, adapter=LORA):
    return config("lm_demo", datasets, adapter, f"init_from={base}", *FAST, *overrides)


def checkpoint(run_dir, name="last"):
    return torch.load(run_dir / "checkpoints" / f"{name}.ckpt", weights_only=True)


def logits(model):
    with torch.no_grad():
        return probe(model.lm).logits(model.lm)


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_a_run_exports_its_adapter_and_the_merged_model(base, runs, kind):
    merged, model = load_musicgen(runs[kind] / "model"), load_musicgen(base)
    before, plain = logits(model), load_lm(base).state_dict()
    assert model.load_adapter(runs[kind] / "adapter") == "mine"
    torch.testing.assert_close(logits(model), logits(merged), rtol=0, atol=1e-5)
    assert (logits(model) - before).abs().max() > 1e-3
    found = read_adapter(runs[kind] / "adapter")
    assert found.record.training == {"run": "mine", "steps": 4, "songs": 8}
    assert found.kind.dora == (kind == "dora")
    if kind == "dora":
        assert (found.record.trigger, found.record.licence) == ("my style", "MIT")
    state = merged.lm.state_dict()
    changed = {name for name, tensor in state.items() if not torch.equal(tensor, plain[name])}
    layer = ("self_attn.qkv", "self_attn.out", "cross_attn.q", "cross_attn.kv", "cross_attn.out",
             "ffn.up", "ffn.down")  # fmt: skip
    assert changed == {
        "fuser.text_proj.weight", *(f"layers.0.{name}.weight" for name in layer)
    }  # fmt: skip


def test_only_the_adapter_is_trained_and_in_checkpoints(base, runs):
    content = checkpoint(runs["lora"])
    names = [name for name in content["state_dict"] if name != "average.n_averaged"]
    assert names and all(".lora_" in name for name in names)
    assert any(name.startswith("average.module.lm.") for name in names)
    states = content["optimizer_states"][0]["state"]
    assert len(states) == sum(name.startswith("lm.") for name in names)
    words, theirs = (
        load_musicgen(path).text_encoder.state_dict() for path in (runs["lora"] / "model", base)
    )
    assert same(dict(words), dict(theirs))


def test_the_average_of_an_adapter_is_what_is_exported(runs):
    name = "layers.0.ffn.up.lora_B"
    states = [checkpoint(runs["lora"], f"step={step}")["state_dict"] for step in (2, 4)]
    first, last = (state[f"lm.{name}.default.weight"] for state in states)
    average = states[1][f"average.module.lm.{name}.default.weight"]
    torch.testing.assert_close(average, 0.5 * first + 0.5 * last)
    exported = load_file(runs["lora"] / "adapter" / WEIGHTS)
    assert torch.equal(exported[f"base_model.model.{name}.weight"], average)
    assert not torch.equal(average, last)


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_a_checkpoint_is_the_model_that_its_run_exports(runs, kind):
    last = runs[kind] / "checkpoints" / "last.ckpt"
    ours, theirs = load_musicgen(last), load_musicgen(runs[kind] / "model")
    torch.testing.assert_close(logits(ours), logits(theirs), rtol=0, atol=1e-5)
    assert same(dict(ours.text_encoder.state_dict()), dict(theirs.text_encoder.state_dict()))
    assert same(dict(load_lm(last).state_dict()), dict(ours.lm.state_dict()))


@pytest.mark.parametrize(
    ("adapter", "more"),
    [
        (LORA, AVERAGED),
        (DORA, (*AVERAGED, "task.recompute=true", "trainer.accumulate_grad_batches=2",
                "trainer.precision=bf16-mixed", "trainer.gradient_clip_val=0.1")),
        pytest.param(LORA, ("optim=muon",), marks=pytest.mark.slow),
        pytest.param(DORA, (), marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_stop_and_resume_equals_the_straight_run_bitwise(base, datasets, adapter, more):
    small = ("max_steps=6", *more)
    straight = fit(adapting(base, datasets, "name=straight", *small, adapter=adapter))
    resume = f"resume={straight}/checkpoints/step\\=2.ckpt"
    resumed = fit(adapting(base, datasets, "name=resumed", resume, *small, adapter=adapter))
    ends = [end_of(run) for run in (straight, resumed)]
    assert not list(differences(*ends))
    assert losses(straight)[2:] == losses(resumed)
    exported = [load_file(run / "adapter" / WEIGHTS) for run in (straight, resumed)]
    assert same(*exported)
    models = [load_file(run / "model" / "model.safetensors") for run in (straight, resumed)]
    assert same(*models)


@pytest.mark.slow
def test_a_run_that_dies_while_it_saves_ends_as_the_straight_one(base, datasets):
    small = (LORA, f"init_from={base}", *FAST, *AVERAGED, "max_steps=6")
    straight = fit(config("lm_demo", datasets, "name=straight", *small))
    killed = auto("lm_demo", datasets, "name=killed", *small)
    where = (checkpoint_files.torch, "save")
    assert status(in_a_process(fit_and_die, killed, where, 2)) == -signal.SIGKILL
    assert status(in_a_process(fit_and_die, killed, None, 0)) == 0
    assert_same_run(straight, Path("runs/killed"))


def test_an_adapters_dropout_is_drawn_in_training_only(base, datasets):
    adapter = "task.adapter={rank:2,alpha:4,dropout:0.5,targets:[ffn.up]}"
    _, task, _ = parts_of("lm_demo", datasets, adapter, f"init_from={base}", "model.dropout=0")
    task.init_from(str(base))
    torch.nn.init.ones_(task.lm.layers[0].ffn.up.lora_B["default"].weight)

    def drawn(seed):
        torch.manual_seed(seed)
        return logits(task)

    assert torch.equal(drawn(1), drawn(1)) and not torch.equal(drawn(1), drawn(2))
    task.eval()
    assert torch.equal(drawn(1), drawn(2))


def test_a_checkpoint_without_its_base_names_the_exported_model(base, datasets, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(base, moved)
    run_dir = fit(adapting(moved, datasets, "max_steps=2"))
    shutil.move(moved, tmp_path / "elsewhere")
    path = run_dir / "checkpoints" / "last.ckpt"
    with pytest.raises(UserError, match=r"an adapter of .*moved, which cannot be loaded.*/model"):
        load_musicgen(path)
    shutil.copytree(tmp_path / "elsewhere", moved)
    change_weights(moved)
    with pytest.raises(UserError, match="belongs to another model"):
        load_lm(path)


def change_weights(folder):
    from safetensors.torch import save_file

    tensors = load_file(folder / "model.safetensors")
    tensors["lm.layers.0.ffn.up.weight"] *= 1.05
    save_file(tensors, folder / "model.safetensors")


def test_resuming_on_another_base_is_refused(base, datasets, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(base, moved)
    fit(adapting(moved, datasets, "max_steps=2", "name=mine"))
    change_weights(moved)
    with pytest.raises(UserError, match=r"was trained on 'demo' \(\w+\), but init_from is demo"):
        train.run(adapting(moved, datasets, "max_steps=4", "name=mine", "resume=auto"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["init_from=null"], "task.adapter is of a model: give init_from="),
        (["task.adapter.rank=0"], "rank 0, but should have a whole number from 1 to 4096"),
        (["+task.adapter.kind=ia3"], "kind 'ia3', but should have lora or dora"),
        (["task.adapter.dropout=1"], "dropout 1, but should have a number from 0"),
        (["+task.adapter.ranks=3"], "unknown option 'ranks' of the adapter"),
        (["task.adapter=lora"], "the adapter is 'lora', but should be a mapping"),
        (["+task.adapter.targets=[ffn.sideways]"], "no matrix ffn.sideways: take some of .*ffn.up"),
        (["+task.adapter.targets=[heads]"], "no matrix heads"),
        (["model.num_layers=2"], "as it is, but this model is another"),
        (["conditioning.fuse_chroma=prepend"], r"another \(chroma enters by prepend, there by sum"),
        (["trainer=fsdp", "trainer.accelerator=cpu", "trainer.devices=1",
          "trainer.precision=32-true"], "does not train a sharded model"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_one_line_before_anything_is_written(
    base, datasets, overrides, message
):
    with pytest.raises(UserError, match=message):
        train.run(adapting(base, datasets, "max_steps=2", *overrides))
    assert not Path("runs").exists()


def test_the_settings_of_a_resumed_adapter_are_its_own(base, datasets):
    fit(adapting(base, datasets, "max_steps=2", "name=mine"))
    for adapter in ("task.adapter={rank:3,alpha:4,dropout:0.3}", "task.adapter=null"):
        again = adapting(base, datasets, "name=mine", "resume=auto", adapter=adapter)
        with pytest.raises(UserError, match="was trained with another adapter than this run's"):
            train.run(again)


def test_the_estimate_counts_what_is_trained(base, datasets):
    from musicgen_train.training.estimating.run_estimate import model_sizes

    full = parts_of("lm_demo", datasets)[1]
    whole = model_sizes(full)
    _, task, _ = parts_of("lm_demo", datasets, LORA, f"init_from={base}", *AVERAGED)
    task.init_from(str(base))
    sizes = model_sizes(task)
    adapter = sum(p.numel() for n, p in task.lm.named_parameters() if ".lora_" in n)
    assert sizes.trained == sizes.averaged == adapter
    assert sizes.frozen == whole.trained
    assert sizes.gradients == 4 * adapter and sizes.state == pytest.approx(8 * adapter, rel=0.02)
    assert 0 <= sizes.weights - whole.weights - 4 * 2 * adapter < 100  # a counter, small buffers


@pytest.mark.slow
def test_two_processes_train_as_one_with_the_joined_batch(base, datasets):
    adapter = "task.adapter={rank:2,alpha:4,dropout:0}"
    shared = (adapter, f"init_from={base}", *FAST, "max_steps=3", "model.dropout=0")
    one = fit(config("lm_demo", datasets, *shared, "name=one", "data.batch_size=4"))
    ddp = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2",
           "trainer.precision=32-true", "name=two", "data.batch_size=2")  # fmt: skip
    command = [str(ROOT / "train.py"), *arguments("lm_demo", datasets, *shared, *ddp)]
    subprocess.run([sys.executable, *command], check=True, timeout=300)
    ours, theirs = (load_file(Path(f"runs/{n}/adapter") / WEIGHTS) for n in ("one", "two"))
    for name, tensor in ours.items():
        torch.testing.assert_close(theirs[name], tensor, rtol=0, atol=1e-5, msg=name)
    assert json.loads((one / "adapter" / "adapter.json").read_text())["training"]["steps"] == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("adapter"), "does not say which model it belongs to"),
        (lambda c: c["adapter"].update(base=3), "does not say which model it belongs to"),
        (lambda c: c["adapter"].update(rank=10**9), "the adapter's rank is 1000000000"),
        (lambda c: c["adapter"].update(kind=["lora"]), r"the adapter's kind is \['lora'\]"),
        (lambda c: c["adapter"].update(rank=3), "copy or export it again"),
        (lambda c: c["state_dict"].clear(), "it holds no matrices"),
        (lambda c: c["config"].update(init_from=None), "names no base of its adapter"),
        (lambda c: c["config"].update(init_from="edited.ckpt"), "give the model that the run"),
    ],
)
def test_a_checkpoint_that_cannot_be_is_only_refused(runs, change, message, tmp_path):
    content = checkpoint(runs["lora"])
    change(content)
    torch.save(content, tmp_path / "edited.ckpt")
    with pytest.raises(UserError, match=message) as refused:
        load_musicgen(tmp_path / "edited.ckpt")
    assert "\n" not in str(refused.value)
