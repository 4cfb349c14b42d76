"""Training of the language model: its losses, draws and averages, and what it refuses."""

import csv
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import train
from musicgen_train.data.batches import CodesBatch
from musicgen_train.errors import UserError
from musicgen_train.lm.model import LanguageModel
from musicgen_train.training.lm_module import MusicGenModule
from tests.small_training import config, fit, losses

MERGING = {"merge_p": 0.5, "drop_description_p": 0.5, "keep_field_p": 0.5}
DROPOUT = {"cfg_dropout": 0.3, "text_dropout": 0.1, "chroma_dropout": 0.2, "word_dropout": 0.2}


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def small_module(**options):
    torch.manual_seed(0)
    lm = LanguageModel(n_q=4, card=16, dim=16, num_heads=2, num_layers=1)
    return MusicGenModule(lm, torch.optim.AdamW, merging=MERGING, dropout=DROPOUT, **options)


def batch_of(seeds, lengths=None):
    generator = torch.Generator().manual_seed(0)
    B = len(seeds)
    metadata = [{"description": f"slow calm piano {i}", "genre": "folk", "bpm": 90} for i in seeds]
    return CodesBatch(
        torch.randint(16, (B, 4, 10), generator=generator),
        torch.tensor(lengths or [10] * B), [""] * B,
        torch.rand(B, 3, 12, generator=generator), [str(i) for i in seeds], metadata, list(seeds),
    )  # fmt: skip


def weights(run_dir, part="lm."):
    tensors = load_file(run_dir / "model" / "model.safetensors")
    return {name: t for name, t in tensors.items() if name.startswith(part)}


def state(run_dir, step):
    path = run_dir / "checkpoints" / f"step={step}.ckpt"
    return torch.load(path, weights_only=True)["state_dict"]


def test_every_codebooks_loss_is_logged_and_their_mean_is_the_loss(datasets):
    run_dir = fit(config("lm_demo", datasets, "max_steps=3"))
    rows = list(csv.DictReader((run_dir / "logs" / "version_0" / "metrics.csv").open()))
    for kind in ("train", "valid"):
        found = [row for row in rows if row[f"{kind}/ce"]]
        assert found
        for row in found:
            parts = [float(row[f"{kind}/ce_q{k}"]) for k in range(4)]
            assert sum(parts) / 4 == pytest.approx(float(row[f"{kind}/ce"]), abs=1e-5)
            assert len(set(parts)) == 4


def test_accumulated_batches_train_as_the_joined_one(datasets):
    runs = [
        fit(config("lm_demo", datasets, "model.dropout=0", "max_steps=5", f"name={name}",
                   f"data.batch_size={size}", f"trainer.accumulate_grad_batches={n}"))
        for name, size, n in (("joined", 6, 1), ("parts", 2, 3))
    ]  # fmt: skip
    joined, parts = (losses(run) for run in runs)
    assert len(joined) == len(parts) == 5
    for (step, ours), (other, theirs) in zip(joined, parts, strict=True):
        assert step == other and ours == pytest.approx(theirs, abs=1e-5)
    for name, tensor in weights(runs[0]).items():
        torch.testing.assert_close(weights(runs[1])[name], tensor, rtol=0, atol=1e-6, msg=name)


def test_what_is_drawn_for_a_sample_belongs_to_its_place_and_not_to_its_batch():
    module = small_module()
    texts, chroma = module.draw_conditions(batch_of(range(40)))
    assert len(set(texts)) > 20 and "" in texts
    own_texts, own_chroma = [], []
    for i in range(40):
        one = batch_of([i])._replace(chroma=batch_of(range(40)).chroma[i : i + 1])
        drawn = module.draw_conditions(one)
        own_texts += drawn[0]
        own_chroma.append(drawn[1])
    assert own_texts == texts
    assert torch.equal(torch.cat(own_chroma), chroma)


def test_the_loss_is_the_mean_over_the_codes_that_are_there():
    module = small_module()
    batch = batch_of([0, 1], lengths=[10, 4])
    loss, ce = module.losses(module.trained, batch, ["", ""], None)
    logits, mask = module.lm.logits(batch.codes)
    mask = mask & (torch.arange(10) < batch.lengths[:, None, None])
    nats = torch.nn.functional.cross_entropy(
        logits.flatten(0, 2), batch.codes.flatten(), reduction="none"
    ).view_as(mask)
    expected = torch.stack([nats[:, k][mask[:, k]].mean() for k in range(4)])
    torch.testing.assert_close(ce, expected)
    torch.testing.assert_close(loss, expected.mean())


def test_the_average_follows_its_formula_and_is_what_is_exported(datasets):
    run_dir = fit(
        config("lm_demo", datasets, "max_steps=6", "task.ema_decay=0.5", "task.ema_every=2")
    )
    name = "lm.layers.0.ffn.up.weight"
    average = state(run_dir, 2)[name]  # the first weights that are averaged begin it
    for step in (4, 6):
        average = 0.5 * average + 0.5 * state(run_dir, step)[name]
    torch.testing.assert_close(state(run_dir, 6)[f"average.module.{name}"], average)
    assert torch.equal(weights(run_dir)[name], state(run_dir, 6)[f"average.module.{name}"])
    words = weights(run_dir, "text_encoder.")
    assert words and all(
        torch.equal(tensor, state(run_dir, 6)[f"average.module.{name}"])
        for name, tensor in words.items()
    )


def test_an_average_that_has_not_begun_is_not_exported(datasets):
    run_dir = fit(
        config("lm_demo", datasets, "max_steps=2", "task.ema_decay=0.5", "task.ema_every=10")
    )
    for name, tensor in weights(run_dir).items():
        assert torch.equal(tensor, state(run_dir, 2)[name]), name


def test_validation_sees_the_averaged_weights():
    module = small_module(ema_decay=0.5)
    assert module.trained["lm"] is module.lm
    module.average.update_parameters(torch.nn.ModuleDict({"lm": module.lm}))
    assert module.trained["lm"] is not module.lm


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_gradients_are_clipped_also_for_a_fused_optimizer_in_half_precision(datasets, precision):
    sgd = ["optim._target_=torch.optim.SGD", "~optim.betas", "~optim.eps", "optim.weight_decay=0",
           "optim.lr=1", "optim.fused=true", f"trainer.precision={precision}"]  # fmt: skip
    moved = []
    for clip in ("null", "1.0e-3"):
        name = [f"name=c{clip}", f"trainer.gradient_clip_val={clip}", "schedule=constant"]
        run_dir = fit(config("lm_demo", datasets, "max_steps=2", "max_steps=2", *sgd, *name))
        begun = fit(config("lm_demo", datasets, "max_steps=1", *sgd, *name[1:], f"name=b{clip}"))
        squares = [(t - weights(begun)[n]).square().sum() for n, t in weights(run_dir).items()]
        moved.append(torch.stack(squares).sum().sqrt().item())
    assert moved[0] > 2e-3
    assert moved[1] <= 1.001e-3


def test_recomputed_layers_train_the_same_bitwise(datasets):
    runs = [
        fit(config("lm_demo", datasets, "max_steps=3", f"name=r{r}", f"task.recompute={r}"))
        for r in ("false", "true")
    ]
    assert losses(runs[0]) == losses(runs[1])
    assert all(torch.equal(t, weights(runs[1])[name]) for name, t in weights(runs[0]).items())


def test_the_step_draws_dropout_anew_and_each_rank_its_own(datasets):
    from musicgen_train.training.surviving.checkpoints import StepSeed

    class At:
        def __init__(self, rank):
            self.global_rank = rank

    seeds = {}
    for rank in (0, 1):
        for batch_idx in (0, 1):
            StepSeed(7).on_train_batch_start(At(rank), None, None, batch_idx)
            seeds[rank, batch_idx] = torch.rand(3).tolist()
    assert len({tuple(s) for s in seeds.values()}) == 4
    StepSeed(7).on_train_batch_start(At(1), None, None, 0)
    assert torch.rand(3).tolist() == seeds[1, 0]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.precision=bf16-true", r"trainer.precision=bf16-true rounds small updates"),
        ("trainer.gradient_clip_val=-1", r"gradient_clip_val=-1: use 0 or more"),
        ("task.ema_every=0", "ema_every 0 .*use at least 1"),
        ("task.loss_chunk=0", "loss_chunk 0: use at least 1"),
        ("task.attention=flash", "attention is 'flash'"),
        pytest.param(
            "task.attention=xformers",
            "attention=xformers does not run on cpu",
            marks=pytest.mark.plain("xformers"),
        ),
        ("task.float8=true", r"task\.float8 needs"),
    ],
)
def test_a_wrong_setting_is_one_line_before_anything_is_written(datasets, override, message):
    with pytest.raises(UserError, match=message):
        train.run(config("lm_demo", datasets, override))
    assert not Path("runs").exists()
