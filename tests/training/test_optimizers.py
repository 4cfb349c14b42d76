"""Optimizers: they train, stop and go on exactly, skip steps wholly, and say what they cost."""

import sys

import pytest
import torch
import torch.multiprocessing as mp

from musicgen_train.errors import UserError
from musicgen_train.training.optimizers import (
    adamw_8bit,
    bytes_per_parameter,
    check_scaling,
    check_shardable,
    dadapt_adam,
    muon,
    prodigy,
    state_bytes,
    try_out,
)
from musicgen_train.training.schedule import warmup_cosine
from tests.training.sharded_steps import make, small_model, step, worker


def adamw(params, lr=1e-3):
    return torch.optim.AdamW(params, lr=lr, fused=True)


OPTIMIZERS = {
    "adamw": (adamw, 1e-2),
    "muon": (muon, 1e-2),
    "prodigy": (prodigy, 1.0),
    "dadapt_adam": (dadapt_adam, 1.0),
    "adamw_8bit": (adamw_8bit, 1e-2),
}


@pytest.fixture(params=OPTIMIZERS)
def factory(request):
    """named -> optimizer, at a rate that suits it."""
    if request.param == "adamw_8bit":
        pytest.importorskip("bitsandbytes")
    make_one, lr = OPTIMIZERS[request.param]
    return lambda named: make_one(named, lr=lr)


def named(model):
    return [(name, p) for name, p in model.named_parameters() if p.requires_grad]


def equal(ours, theirs):
    return all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=1))


def plain(value):
    """A state as text that any change of a bit changes."""
    if isinstance(value, torch.Tensor):
        return value.flatten().tolist()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def test_each_learns_a_batch(factory):
    model = small_model()
    optimizer = factory(named(model))
    losses = [step(model, optimizer, 0) for _ in range(60)]
    assert losses[-1] < 0.9 * losses[0]


def test_a_resumed_run_ends_as_the_straight_one(factory, tmp_path):
    straight, stopped = small_model(), small_model()
    optimizer = factory(named(straight))
    for index in range(8):
        step(straight, optimizer, index)
    first = factory(named(stopped))
    for index in range(5):
        step(stopped, first, index)
    torch.save([stopped.state_dict(), first.state_dict()], tmp_path / "state.pt")
    weights, state = torch.load(tmp_path / "state.pt", weights_only=True)
    resumed = small_model()
    resumed.load_state_dict(weights)
    second = factory(named(resumed))
    second.load_state_dict(state)
    for index in range(5, 8):
        step(resumed, second, index)
    assert equal(straight, resumed)
    assert plain(optimizer.state_dict()) == plain(second.state_dict())


@pytest.mark.parametrize("n_before", [0, 3])
def test_a_step_without_gradients_changes_nothing(factory, n_before):
    model = small_model()
    optimizer = factory(named(model))
    for index in range(n_before):
        step(model, optimizer, index)
    before = plain([model.state_dict(), optimizer.state_dict()])

    def closure():
        loss = sum(p.sum() for p in model.parameters())
        loss.backward()
        optimizer.zero_grad()  # what a guard does with gradients that are not finite
        return loss

    optimizer.step(closure)
    optimizer.step()
    assert plain([model.state_dict(), optimizer.state_dict()]) == before


def test_every_group_follows_the_schedule_and_has_its_parameters_names(factory):
    model = small_model()
    optimizer = factory(named(model))
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
    rates = [group["lr"] for group in optimizer.param_groups]
    optimizer.step()
    scheduler.step()
    assert [group["lr"] for group in optimizer.param_groups] == [lr / 2 for lr in rates]
    held = [name for group in optimizer.param_groups for name in group["param_names"]]
    assert sorted(held) == sorted(name for name, _ in named(model))


def test_muon_takes_the_layers_matrices_and_adamw_all_else():
    groups = muon(named(small_model()), lr=1e-3).param_groups
    taken = {name for group in groups if group["use_muon"] for name in group["param_names"]}
    matrices = ("self_attn.qkv", "self_attn.out", "cross_attn.q", "cross_attn.kv",
                "cross_attn.out", "ffn.up", "ffn.down")  # fmt: skip
    assert taken == {f"layers.{i}.{matrix}.weight" for i in range(2) for matrix in matrices}
    blocks = {name.split(".")[-2]: g["n_blocks"] for g in groups if g["use_muon"]
              for name in g["param_names"]}  # fmt: skip
    assert blocks == {"qkv": 3, "kv": 2, "q": 1, "out": 1, "up": 1, "down": 1}


@pytest.mark.parametrize(("fused", "apart"), [("self_attn.qkv", "q k v"), ("cross_attn.kv", "k v")])
def test_muon_steps_a_fused_matrix_as_its_parts(fused, apart):
    torch.manual_seed(0)
    parts = [torch.nn.Parameter(torch.randn(32, 32)) for _ in apart.split()]
    whole = torch.nn.Parameter(torch.cat([p.detach() for p in parts]))
    names = [f"layers.0.{name}.weight" for name in apart.split()]
    one = muon([(f"layers.0.{fused}.weight", whole)], lr=0.1)
    several = muon(list(zip(names, parts, strict=True)), lr=0.1)
    for _ in range(3):
        whole.grad = torch.randn_like(whole)
        for part, grad in zip(parts, whole.grad.chunk(len(parts)), strict=True):
            part.grad = grad.clone()
        one.step()
        several.step()
    torch.testing.assert_close(whole, torch.cat(parts), rtol=0, atol=1e-6)


def test_muons_updates_have_the_size_of_adamws():
    sizes = {}
    for factory in (muon, adamw):
        model, before = small_model(), small_model()
        step(model, factory(named(model), lr=1e-3), 0)
        moved = model.layers[0].ffn.up.weight - before.layers[0].ffn.up.weight
        sizes[factory] = moved.square().mean().sqrt().item()
    assert 0.1 < sizes[muon] / sizes[adamw] < 0.4  # the first step of AdamW is all signs


def test_a_state_read_elsewhere_follows_its_parameters():
    here = torch.nn.Parameter(torch.ones(3))
    there = torch.nn.Parameter(torch.ones(3, device="meta"))
    for factory in (prodigy, dadapt_adam):
        optimizer = factory([("w", here)])
        here.grad = torch.ones(3)
        optimizer.step()
        moved = factory([("w", there)])
        moved.load_state_dict(optimizer.state_dict())
        tensors = [v for v in moved.param_groups[0].values() if isinstance(v, torch.Tensor)]
        assert tensors and all(tensor.is_meta for tensor in tensors)


def test_the_cost_is_known_before_training(factory):
    model = small_model()
    optimizer = factory(named(model))
    step(model, optimizer, 0)
    n = sum(p.numel() for p in model.parameters())
    assert bytes_per_parameter(factory, named(model)) == pytest.approx(
        state_bytes(optimizer) / n, rel=0.02
    )


@pytest.mark.parametrize(
    ("factory", "expected"), [(adamw, 8), (muon, 4.16), (prodigy, 16), (dadapt_adam, 12)]
)
def test_the_cost_of_musicgen_smalls_optimizers(factory, expected):
    make_one = factory if factory is not muon else lambda named: muon(named, lr=1e-3)
    assert bytes_per_parameter(make_one) == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize(
    ("factory", "module"),
    [(prodigy, "pytorch_optimizer"), (muon, "pytorch_optimizer"), (adamw_8bit, "bitsandbytes")],
)
def test_an_absent_library_is_one_line_with_the_remedy(factory, module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=f"needs {module} .*pip install") as refusal:
        factory([("w", torch.nn.Parameter(torch.ones(3)))], lr=1.0)
    assert "\n" not in str(refusal.value)


def test_a_rate_meant_for_adamw_is_no_scale():
    with pytest.raises(UserError, match=r"optim.lr is 0.001, but prodigy .* set optim.lr=1"):
        prodigy([("w", torch.nn.Parameter(torch.ones(3)))], lr=1e-3)


def test_wrong_settings_are_refused_in_one_line_before_training():
    with pytest.raises(UserError, match="configuration: Invalid learning rate: -1"):
        try_out(lambda named: adamw(named, lr=-1), None)
    with pytest.raises(UserError, match=r"configuration: .*unexpected keyword argument 'tempo'"):
        try_out(lambda named: muon(named, lr=1, tempo=2), None)
    with pytest.raises(UserError, match="warmup_steps is 9"):
        try_out(adamw, lambda o: warmup_cosine(o, warmup_steps=9, max_steps=9))


def test_muon_wants_names():
    with pytest.raises(UserError, match="choose another optim"):
        muon([torch.nn.Parameter(torch.ones(3, 3))], lr=1.0)


def test_clipping_of_scaled_gradients_and_a_fused_step_exclude_each_other():
    parameter = [("w", torch.nn.Parameter(torch.ones(3)))]
    with pytest.raises(UserError, match=r"set optim\.fused=false"):
        check_scaling(adamw(parameter), "16-mixed")
    check_scaling(adamw(parameter), "bf16-mixed")
    check_scaling(torch.optim.AdamW(parameter), "16-mixed")


def test_what_sums_over_a_whole_model_is_not_sharded():
    parameter = [("layers.0.w", torch.nn.Parameter(torch.ones(3, 3)))]
    for factory in (prodigy, dadapt_adam):
        with pytest.raises(UserError, match="cannot train a sharded model"):
            check_shardable(factory(parameter))
    check_shardable(adamw(parameter))
    check_shardable(muon(parameter, lr=1.0))


@pytest.mark.slow
def test_steps_on_shards_are_those_on_the_whole(tmp_path):
    mp.spawn(worker, (tmp_path,), nprocs=2)
    for name in ("adamw", "muon"):
        for dtype in (torch.float32, torch.float64):
            held = torch.load(tmp_path / f"{name} {dtype}.pt", weights_only=True)
            model = small_model(dtype)
            optimizer = make(name, named(model))
            for index in range(10):
                step(model, optimizer, index)
            # Muon orthogonalizes in bfloat16, which turns float32's last bits into its own.
            atol = 1e-3 if (name, dtype) == ("muon", torch.float32) else 1e-5
            for key, parameter in model.named_parameters():
                torch.testing.assert_close(held["after"][key], parameter.data, rtol=0, atol=atol)
                assert torch.equal(held["resumed"][key], held["straight"][key]), key
            assert held["optimizer"]["state"].keys() == dict(model.named_parameters()).keys()
