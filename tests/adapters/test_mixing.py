"""Adapters at run time: what is heard is the mix, and the base comes back bit for bit."""

from copy import deepcopy

import pytest
import torch

from musicgen_train.adapters.adapter_file import read_adapter
from musicgen_train.errors import UserError
from musicgen_train.lm.packing import Int8Linear, PackedLinear
from tests.adapters.small_adapters import logits, trained, write
from tests.small_musicgen import tiny

KINDS = ("lora", "dora")
PREPARATIONS = [None, "float32", "bfloat16", "int8"]


@pytest.fixture(scope="module")
def adapters(tmp_path_factory):
    """(folder, model in which peft computes it) of each of three adapters of `tiny()`."""
    base, folder = tiny().lm, tmp_path_factory.mktemp("adapters")
    made = {}
    for name, kind, seed in (("a", "lora", 1), ("b", "lora", 2), ("c", "dora", 3)):
        adapted = trained(base, kind, seed)
        made[name] = (write(base, adapted, folder / name, name), adapted)
    return made


def weights(lm):
    """Every tensor of a model, however it is prepared."""
    found = {name: parameter.detach().clone() for name, parameter in lm.named_parameters()}
    for name, module in lm.named_modules():
        if isinstance(module, PackedLinear):
            found[name] = module.packed.to_dense()
        if isinstance(module, Int8Linear):
            found |= {f"{name} weight": module.weight, f"{name} scale": module.scale}
    return found


def same(ours, theirs):
    return ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)


def prepared(model, how):
    if how is not None:
        model.prepare(weights=how)
    return model


@pytest.mark.plain("cpu")  # which an adapted matrix does not take: equal, but not to the bit
@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_changes_nothing_until_it_is_trained(kind):
    from musicgen_train.adapters.injection import inject

    lm = tiny().lm
    before = logits(lm)
    options = {"rank": 4, "alpha": 8.0, "dropout": 0.5, "targets": None, "base_name": "tiny"}
    inject(lm, kind=kind, **options)
    lm.eval()
    assert torch.equal(logits(lm), before)


@pytest.mark.parametrize("name", ["a", "c"])
@pytest.mark.parametrize("how", [None, "float32"])
def test_merged_and_unmerged_give_equal_logits(adapters, name, how):
    folder, adapted = adapters[name]
    model = prepared(tiny(), how)
    before = logits(model.lm)
    assert model.load_adapter(folder) == name
    torch.testing.assert_close(logits(model.lm), logits(adapted), rtol=0, atol=1e-5)
    assert (logits(model.lm) - before).abs().max() > 0.1


@pytest.mark.parametrize("loaded_first", [True, False])
@pytest.mark.parametrize("how", PREPARATIONS)
def test_a_removed_adapter_leaves_the_base_bit_for_bit(adapters, how, loaded_first):
    base = prepared(tiny(), how)
    model = tiny()
    if not loaded_first:
        prepared(model, how)
    for name, weight in (("a", 0.7), ("c", -2)):
        model.load_adapter(adapters[name][0], weight)
    if loaded_first:
        prepared(model, how)
    assert not torch.equal(logits(model.lm), logits(base.lm))
    model.set_adapters({"a": 0.1, "c": 0.2})
    model.remove_adapters()
    assert model.adapters == {}
    assert torch.equal(logits(model.lm), logits(base.lm))
    assert same(weights(model.lm), weights(base.lm))
    kinds = [type(module) for module in model.lm.modules()]
    assert kinds == [type(module) for module in base.lm.modules()]


@pytest.mark.parametrize("how", PREPARATIONS)
def test_a_weight_of_0_is_the_base_bit_for_bit(adapters, how):
    model = prepared(tiny(), how)
    before = logits(model.lm)
    model.load_adapter(adapters["a"][0], 0)
    model.load_adapter(adapters["c"][0], 1)
    model.set_adapters({})
    assert model.adapters == {"a": 0.0, "c": 0.0}
    assert torch.equal(logits(model.lm), before)


def test_a_mix_is_the_base_and_the_weighted_sum_of_the_changes(adapters):
    base = weights(tiny().lm)
    changes = {}
    for name in adapters:
        model = tiny()
        model.load_adapter(adapters[name][0])
        changes[name] = {n: w - base[n] for n, w in weights(model.lm).items()}
    model = tiny()
    shares = {"a": 0.7, "b": -0.4, "c": 0.5}
    for name, share in shares.items():
        model.load_adapter(adapters[name][0], share)
    for name, weight in weights(model.lm).items():
        wanted = base[name] + sum(share * changes[a][name] for a, share in shares.items())
        torch.testing.assert_close(weight, wanted, rtol=0, atol=1e-5, msg=name)


def test_mixing_neither_accumulates_nor_depends_on_the_order(adapters):
    model, other = tiny(), tiny()
    for name in ("a", "b", "c"):
        model.load_adapter(adapters[name][0], 3)
    for share in range(20):
        model.set_adapters({"a": share / 3, "b": -share / 7})
    model.set_adapters({"c": 0.3, "b": -0.7, "a": 0.5})
    for name, share in (("c", 0.3), ("b", -0.7), ("a", 0.5)):
        other.load_adapter(adapters[name][0], share)
    assert same(weights(model.lm), weights(other.lm))


@pytest.mark.parametrize("how", ["bfloat16", "int8"])
def test_loaded_before_rounding_an_adapter_is_rounded_with_the_base(adapters, how):
    model, merged = tiny(), tiny()
    for each in (model, merged):
        each.load_adapter(adapters["a"][0], 0.7)
    merged._mix = None  # as a model whose own weights these are
    for each in (model, merged):
        each.prepare(weights=how)
    assert torch.equal(logits(model.lm), logits(merged.lm))
    kinds = {type(module) for module in model.lm.modules()}
    assert (PackedLinear if how == "bfloat16" else Int8Linear) in kinds


@pytest.mark.parametrize("how", PREPARATIONS)
def test_a_model_that_moves_takes_its_adapters_along(adapters, how):
    model = prepared(tiny(), how)
    before = logits(model.lm)
    model.load_adapter(adapters["a"][0], 0.7)
    mixed = logits(model.lm)
    model.to("cpu")
    assert torch.equal(logits(model.lm), mixed)
    model.remove_adapters()
    assert torch.equal(logits(model.lm), before)


@pytest.mark.parametrize("second", PREPARATIONS[1:])
@pytest.mark.parametrize("first", PREPARATIONS[1:])
def test_however_a_model_is_prepared_again_its_mix_stays_what_it_is(adapters, first, second):
    model = prepared(tiny(), first)
    model.load_adapter(adapters["c"][0], 0.5)
    prepared(model, second)
    before = weights(model.lm)
    model.set_adapters({})
    model.set_adapters({"c": 0.5})
    assert same(weights(model.lm), before)
    model.remove_adapters()
    assert same(weights(model.lm), weights(prepared(prepared(tiny(), first), second).lm))


def test_music_is_generated_by_the_mix(adapters):
    model = tiny()
    model.set_generation_params(duration=0.4)

    def codes():
        return model.generate(["calm piano"], seeds=[1], return_tokens=True)[1]

    before = codes()
    model.load_adapter(adapters["a"][0])
    assert not torch.equal(codes(), before)
    model.remove_adapters()
    assert torch.equal(codes(), before)


def test_a_copied_model_keeps_its_mix(adapters):
    model = prepared(tiny(), "bfloat16")
    before = logits(model.lm)
    model.load_adapter(adapters["a"][0])
    copied = deepcopy(model)
    assert torch.equal(logits(copied.lm), logits(model.lm))
    copied.remove_adapters()
    assert torch.equal(logits(copied.lm), before)
    assert not torch.equal(logits(model.lm), before)


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), "much", None, True])
def test_a_weight_is_a_finite_number(adapters, weight):
    model = tiny()
    before = logits(model.lm)
    with pytest.raises(UserError, match=r"give a number, such as 0\.7"):
        model.load_adapter(adapters["a"][0], weight)
    model.load_adapter(adapters["a"][0], 0)
    with pytest.raises(UserError, match=r"adapter 'a': weight"):
        model.set_adapters({"a": weight})
    assert model.adapters == {"a": 0.0} and torch.equal(logits(model.lm), before)


def test_names_are_told_apart(adapters):
    model = tiny()
    model.load_adapter(adapters["a"][0], 0.3)
    with pytest.raises(UserError, match="'a' is loaded already"):
        model.load_adapter(adapters["a"][0])
    model.load_adapter(adapters["a"][0], 0.2, name="again")
    for unknown in (lambda: model.set_adapters({"z": 1}), lambda: model.remove_adapters("z")):
        with pytest.raises(UserError, match=r"no adapter 'z' is loaded \(there are: a, again\)"):
            unknown()
    model.remove_adapters("again")
    assert model.adapters == {"a": 0.3}
    once = tiny()
    once.load_adapter(adapters["a"][0], 0.3)
    assert same(weights(model.lm), weights(once.lm))


def test_an_adapter_of_another_model_is_refused_and_nothing_changes(adapters):
    model = tiny()
    with torch.no_grad():
        model.lm.layers[0].ffn.up.weight.mul_(1.02)
    before = weights(model.lm)
    code = read_adapter(adapters["a"][0]).record.base.code
    with pytest.raises(UserError, match=rf"another model \(tiny, {code}\) than this one \(\w+\)"):
        model.load_adapter(adapters["a"][0])
    assert same(weights(model.lm), before) and model.adapters == {}


def test_a_model_that_an_adapter_was_merged_into_is_another_model(adapters):
    model = tiny()
    model.load_adapter(adapters["a"][0], 0.1)
    model._mix = None
    with pytest.raises(UserError, match="another model"):
        model.load_adapter(adapters["b"][0])


def test_an_adapter_is_known_again_though_the_model_is_rounded_and_mixed(adapters):
    model = prepared(tiny(), "int8")
    for name in ("a", "b", "c"):
        model.load_adapter(adapters[name][0], 0.5)
    assert list(model.adapters) == ["a", "b", "c"]
