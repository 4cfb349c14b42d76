"""train.py: every experiment trains, repeats, resumes exactly, and refuses clearly."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig

import train
from musicgen_train.errors import UserError
from musicgen_train.formats import load_codec, load_musicgen
from tests.small_training import config, fit, losses

ROOT = Path(__file__).parents[1]
# tests/recipes/test_pretrain.py takes the others through their recipes.
EXPERIMENTS = ["codec_32khz", "codec_demo", "codec_tiny", "lm_demo"]


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_takes_a_step_and_exports_its_model(experiment, datasets):
    cfg = config(experiment, datasets, "max_steps=1")
    run_dir = fit(cfg)
    load = load_codec if experiment.startswith("codec") else load_musicgen
    load(run_dir / "model")
    assert (run_dir / "config.yaml").exists()


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_keeps_its_own_name_and_can_be_overridden(experiment, datasets):
    assert config(experiment, datasets).name != "dev"
    assert config(experiment, datasets, "name=mine").name == "mine"


@pytest.mark.parametrize("experiment", ["codec_tiny", "lm_demo"])
def test_the_same_seed_gives_the_same_losses_and_another_seed_others(experiment, datasets):
    runs = [
        losses(fit(config(experiment, datasets, "max_steps=3", f"name=r{i}", f"seed={seed}")))
        for i, seed in enumerate([1, 1, 2])
    ]
    assert runs[0] == runs[1] != runs[2]
    assert len(runs[0]) == 3


def same(ours, theirs):
    """Are two nested states equal to the last bit?"""
    if isinstance(ours, torch.Tensor):
        return torch.equal(ours, theirs)
    if isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(same(ours[k], theirs[k]) for k in ours)
    if isinstance(ours, list | tuple):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return ours == theirs


# The codec stops once while the quantizer is bypassed, and once when dead codes are revived.
REVIVING = ("task.warmup_steps=3", "codec.dead_code_threshold=0.5")


@pytest.mark.parametrize(
    ("experiment", "step", "overrides"),
    [("codec_tiny", 2, REVIVING), ("codec_tiny", 4, REVIVING), ("lm_demo", 4, ())],
)
def test_stop_and_resume_equals_the_straight_run_bitwise(experiment, step, overrides, datasets):
    straight = fit(config(experiment, datasets, "max_steps=6", "name=straight", *overrides))
    resume = f"resume={straight}/checkpoints/step\\={step}.ckpt"
    resumed = fit(config(experiment, datasets, "max_steps=6", "name=resumed", resume, *overrides))
    ours, theirs = (
        torch.load(run / "checkpoints" / "step=6.ckpt", weights_only=True)
        for run in (straight, resumed)
    )
    assert ours["state_dict"].keys() == theirs["state_dict"].keys()
    for name, tensor in ours["state_dict"].items():
        assert torch.equal(tensor, theirs["state_dict"][name]), name
    assert same(ours["optimizer_states"], theirs["optimizer_states"])
    assert same(ours["lr_schedulers"], theirs["lr_schedulers"])
    if experiment.startswith("codec"):
        held = {name.split(".")[0] for name in ours["state_dict"]}
        assert {"codec", "adversary", "balancer", "average"} <= held
        assert len(ours["optimizer_states"]) == 2
    assert losses(straight)[step:] == losses(resumed)
    data = [c["MusicDataModule"] for c in (ours, theirs)]
    assert data[0] == data[1] and data[0]["batches"] == 6


def test_a_checkpoint_carries_the_resolved_configuration(datasets):
    run_dir = fit(config("lm_demo", datasets, "max_steps=2"))
    checkpoint = torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["config"]["task"]["lm"]["n_q"] == 4


def test_one_batch_is_learnt_by_heart(datasets):
    heart = [
        "max_steps=30", "data.batch_size=1", "data.segment_duration=0.1", "model.dim=64",
        "optim.lr=0.03", "schedule.warmup_steps=1", "conditioning.dropout.cfg_dropout=0",
        "trainer.limit_val_batches=0", "callbacks.checkpoint.every_n_train_steps=30",
    ]  # fmt: skip
    run_dir = fit(config("lm_demo", datasets, *heart))
    ce = [value for _, value in losses(run_dir)]
    assert min(ce) < 0.6 * ce[0]


def test_a_batch_larger_than_the_data_is_told_before_training(datasets, capsys):
    many = ["data.batch_size=50", "trainer.accumulate_grad_batches=2", "max_steps=1"]
    fit(config("lm_demo", datasets, *many))
    assert "a step takes 100 samples, but there are" in capsys.readouterr().out


def test_codes_of_another_codec_are_refused(datasets, codec):
    from musicgen_train.formats import save_codec

    codec.quantizer.codebooks[0].embed.add_(1)
    save_codec(codec, "other")
    with pytest.raises(UserError, match=r"codec_identity is .*, but the codec's is"):
        train.run(config("lm_demo", datasets, "codec_path=other"))
    assert not Path("runs").exists()


def test_an_existing_name_is_refused_unless_resuming(datasets):
    cfg = config("codec_tiny", datasets, "max_steps=1")
    fit(cfg)
    with pytest.raises(UserError, match=r"runs/codec_tiny exists already: choose another name"):
        train.run(cfg)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.path=nowhere"], "nowhere"),
        (["resume=nowhere.ckpt"], "nowhere.ckpt: no such checkpoint"),
        (["init_from=nowhere"], "no checkpoint at nowhere"),
        (["data.segment_duration=99"], "segment_duration is 99"),
        (["codec.frame_rate=50.0"], "frame_rate 50.0 does not fit"),
        (["data.path=???"], "data.path is missing: give data.path="),
        (["data.batch_size=0"], "batch_size is 0"),
        (["num_threads=-2"], "num_threads=-2: use 1 or more"),
        (["trainer.accumulate_grad_batches=0"], r"accumulate_grad_batches=0: use more than 0"),
        (["trainer.val_check_interval=0"], r"trainer\.val_check_interval=0: use more than 0"),
        (
            [
                "trainer=fsdp",
                "trainer.accelerator=cpu",
                "trainer.devices=1",
                "trainer.precision=32-true",
            ],
            "a codec is not sharded",
        ),
        (["trainer.devices=2"], "codec and discriminator take turns"),
        (["trainer=gpu"], "configuration: No supported gpu backend"),
        (["max_steps=5", "task.warmup_steps=5"], "ends before the quantizer comes in"),
    ],
)
def test_a_wrong_value_is_named_before_anything_is_written(datasets, overrides, message):
    with pytest.raises(UserError, match=message):
        train.run(config("codec_tiny", datasets, *overrides))
    assert not Path("runs").exists()


def test_a_mismatch_of_the_model_and_the_codec_dies_at_construction(datasets):
    with pytest.raises(UserError, match="3 delays for 4 codebooks"):
        train.run(config("lm_demo", datasets, "model.delays=[0,1,2]"))


@pytest.mark.parametrize("size", ["num_layers", "num_heads", "dim"])
def test_a_model_of_nothing_is_refused(datasets, size):
    with pytest.raises(UserError, match="each is at least 1"):
        train.run(config("lm_demo", datasets, f"model.{size}=0"))


def test_chroma_of_another_window_is_refused(datasets):
    with pytest.raises(UserError, match="chroma window of the dataset is 1024"):
        train.run(config("lm_demo", datasets, "conditioning.chroma.window=512"))
    assert not Path("runs").exists()


def test_a_melody_is_added_at_the_datasets_rate_and_no_other(datasets):
    with pytest.raises(UserError, match=r"has 0.078125 chroma frames.*chroma_rate says 0.5"):
        train.run(config("lm_demo", datasets, "conditioning.chroma_rate=0.5"))
    assert not Path("runs").exists()
    model = load_musicgen(fit(config("lm_demo", datasets, "max_steps=1")) / "model")
    assert model.lm.config["fuse_chroma"] == "sum" and model.lm.chroma_rate == 0.078125


def test_what_is_no_checkpoint_of_this_model_is_refused(datasets):
    run_dir = fit(config("codec_tiny", datasets, "max_steps=2"))
    last = run_dir / "checkpoints" / "last.ckpt"
    with pytest.raises(UserError, match="is of a codec, and this run trains none"):
        train.run(config("lm_demo", datasets, f"resume={last}"))
    with pytest.raises(UserError, match="was trained with another codec"):
        train.run(config("codec_tiny", datasets, f"resume={last}", "codec.dimension=4"))
    last.write_bytes(last.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"is no checkpoint of train\.py, or a damaged one"):
        train.run(config("codec_tiny", datasets, f"resume={last}"))


def test_a_refused_command_is_one_line_and_leaves_nothing(tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), "experiment=codec_tiny", "data.path=nowhere"],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("choice", ["optim=nope", "logger=[csv,nope]", "trainer=nope"])
def test_an_unknown_choice_is_refused_with_the_known_ones(choice):
    with pytest.raises(UserError, match=r"unknown \w+ 'nope': choose one of "):
        train.check_choices([choice])
    train.check_choices(
        ["optim=muon", "experiment=null", "logger=[csv,wandb]", "name=nope", "a.b=c"]
    )


def test_an_unknown_experiment_is_one_line_with_the_known_ones(tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), "experiment=nope"],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "unknown experiment 'nope'" in done.stderr and "lm_demo" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("experiment", ["codec_tiny", "codec_32khz", "codec_demo", "lm_demo"])
def test_only_the_codec_leaves_parameters_out_of_a_step(experiment, datasets):
    strategy = config(experiment, datasets, "trainer=ddp").trainer.strategy
    assert strategy.find_unused_parameters == experiment.startswith("codec")


@pytest.mark.parametrize(
    ("environ", "first"),
    [
        ({}, True),
        ({"RANK": "0", "LOCAL_RANK": "0", "SLURM_PROCID": "1"}, True),  # torchrun under SLURM
        ({"RANK": "8", "LOCAL_RANK": "0", "SLURM_PROCID": "0"}, False),
        ({"LOCAL_RANK": "1"}, False),
        ({"LOCAL_RANK": "0", "NODE_RANK": "1"}, False),
        ({"NODE_RANK": "1"}, False),
        ({"SLURM_PROCID": "0"}, True),
        ({"SLURM_PROCID": "3"}, False),
    ],
)
def test_only_the_first_rank_refuses_a_run_that_exists(environ, first, tmp_path, monkeypatch):
    """Another may find what the first has just written."""
    monkeypatch.chdir(tmp_path)
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    Path("runs/made").mkdir(parents=True)
    Path("runs/made/config.yaml").touch()
    cfg = DictConfig({"name": "made", "resume": None})
    if first:
        with pytest.raises(UserError, match="runs/made exists already"):
            train.check_run(cfg)
    else:
        train.check_run(cfg)
