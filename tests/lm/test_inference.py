"""A prepared model generates what the plain one does, from outside changed weights and steps."""

import copy
import pickle

import pytest
import torch

from musicgen_train.adapters.injection import inject, merged
from musicgen_train.errors import UserError
from musicgen_train.lm import LanguageModel, inference
from musicgen_train.lm.acceleration import CapturedStep
from musicgen_train.lm.inference import check_unrounded, prepare, restore
from musicgen_train.lm.packing import Int8Linear, PackedLinear


def model(**kwargs) -> LanguageModel:
    torch.manual_seed(0)
    shape = {"n_q": 2, "card": 64, "dim": 64, "num_heads": 4, "num_layers": 2, "text_dim": 16}
    return LanguageModel(**{**shape, **kwargs}).eval()


def text() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 5, 16, generator=generator), torch.tensor([[1] * 5, [1, 1, 0, 0, 0]])


def all_logits(lm: LanguageModel) -> torch.Tensor:
    codes = torch.randint(64, (2, 2, 20), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        return lm.logits(codes, text(), full=True)[0]


def test_packed_float32_gives_the_same_tokens():
    lm = model()
    logits, codes = all_logits(lm), lm.generate(30, text(), seeds=[1, 2])
    prepare(lm)
    torch.testing.assert_close(all_logits(lm), logits, rtol=1e-4, atol=1e-5)
    assert torch.equal(lm.generate(30, text(), seeds=[1, 2]), codes)


@pytest.mark.parametrize(("weights", "tolerance"), [("bfloat16", 0.02), ("int8", 0.03)])
def test_fewer_bits_a_weight_give_nearly_the_same_logits(weights, tolerance):
    lm = model()
    logits = all_logits(lm)
    prepare(lm, weights=weights)
    error = (all_logits(lm) - logits).norm() / logits.norm()
    assert 0 < error < tolerance
    assert lm.generate(5, text()).shape == (2, 2, 5)


def test_a_prepared_models_state_is_the_plain_one():
    lm = model()
    before = copy.deepcopy(lm.state_dict())
    prepare(lm)
    after = lm.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
    restore(lm)
    lm.load_state_dict(before)
    assert all(p.requires_grad and p.dtype == torch.float32 for p in lm.parameters())


@pytest.mark.parametrize("weights", ["bfloat16", "int8"])
def test_restoring_keeps_the_rounded_weights(weights):
    lm = model()
    prepare(lm, weights=weights)
    logits = all_logits(lm)
    restore(lm)
    error = (all_logits(lm) - logits).norm() / logits.norm()
    assert error < 0.01  # what rounding the activations had added
    prepare(lm, weights="float32")  # may be prepared again, otherwise
    assert lm.generate(5, text()).shape == (2, 2, 5)


def test_eight_bit_weights_are_not_given_as_if_they_were_the_models():
    lm = model()
    prepare(lm, weights="int8")
    with pytest.raises(UserError, match="save the one it came from"):
        lm.state_dict()


@pytest.mark.parametrize("weights", ["bfloat16", "int8"])
def test_a_rounded_model_is_not_saved_even_restored(weights):
    lm = model()
    prepare(lm, weights=weights)
    for again in (lambda: None, lambda: prepare(lm), lambda: restore(lm)):
        again()
        with pytest.raises(UserError, match=f"rounded to {weights} for .*: save the one it came"):
            check_unrounded(lm)
    with pytest.raises(UserError, match="rounded to float16"):
        check_unrounded(model().half())  # as on a GPU


def test_a_packed_model_is_saved_as_it_was():
    lm = model()
    for change in (prepare, restore):
        change(lm)
        check_unrounded(lm)


@pytest.mark.parametrize("weights", ["float32", "bfloat16", "int8"])
def test_a_prepared_model_can_be_copied_and_pickled(weights):
    lm = model()
    prepare(lm, weights=weights)
    codes = lm.generate(8, text(), seeds=[1, 2])
    for twin in (copy.deepcopy(lm), pickle.loads(pickle.dumps(lm))):
        assert torch.equal(twin.generate(8, text(), seeds=[1, 2]), codes)


@pytest.mark.parametrize("dim", [4, 12, 20, 24, 40])
def test_eight_bits_work_for_any_width(dim):
    """The kernel reads 16 columns at once: without padding it leaves the weight's memory."""
    lm = model(dim=dim, num_heads=2)
    logits = all_logits(lm)
    prepare(lm, weights="int8")
    assert (all_logits(lm) - logits).norm() / logits.norm() < 0.05


def test_a_cpu_that_cannot_pack_computes_plainly(monkeypatch):
    monkeypatch.setattr(inference, "can_pack", lambda dtype: False)
    lm = model()
    logits = all_logits(lm)
    prepare(lm, weights="bfloat16")
    assert not any(isinstance(module, PackedLinear) for module in lm.modules())
    assert (all_logits(lm).float() - logits).norm() / logits.norm() < 0.05


def test_a_model_with_an_adapter_beside_its_weights_is_refused():
    lm = model()
    inject(lm, kind="lora", rank=2, alpha=2.0, dropout=0.0, targets=None, base_name="tiny")
    with pytest.raises(ValueError, match="put it into them, `merged`"):
        prepare(lm)
    prepare(merged(lm))


def test_what_the_device_cannot_do_is_refused():
    lm = model()
    for options, message in [
        ({"weights": "float8"}, "choose one of float32"),
        ({"weights": "float16"}, "need a GPU"),
        ({"cuda_graphs": True}, "need a GPU"),
    ]:
        with pytest.raises(ValueError, match=message):
            prepare(lm, **options)


@pytest.mark.slow
@pytest.mark.parametrize(
    "fusing", [("cross", "prepend"), ("prepend", "prepend"), ("cross", "sum")], ids="+".join
)
def test_a_compiled_step_gives_the_same_tokens_without_leaving_the_graph(fusing):
    from torch._dynamo.utils import counters

    lm = model(
        fuse_text=fusing[0], fuse_chroma=fusing[1], chroma_dim=12, chroma_length=4, chroma_rate=0.1
    )
    # Beyond one bucket of steps, and again with other lengths.
    plain = [lm.generate(n, text(), seeds=[1, 2]) for n in (300, 40)]
    torch._dynamo.reset()
    counters.clear()
    prepare(lm, compile=True)
    compiled = [lm.generate(n, text(), seeds=[1, 2]) for n in (300, 40)]
    assert counters["frames"]["ok"] > 0 and not counters["graph_break"]
    for a, b in zip(plain, compiled, strict=True):
        assert torch.equal(a, b)


@pytest.mark.gpu
@pytest.mark.parametrize("options", [{"cuda_graphs": True}, {"compile": True, "cuda_graphs": True}])
def test_captured_steps_give_the_same_tokens(options):
    lm = model().cuda()
    on_gpu = tuple(t.cuda() for t in text())
    plain = [lm.generate(n, on_gpu, seeds=[1, 2]) for n in (300, 40)]
    prepare(lm, **options)
    for codes, n in zip(plain, (300, 40), strict=True):
        assert torch.equal(lm.generate(n, on_gpu, seeds=[1, 2]), codes)


def test_a_step_runs_plain_once_and_is_captured_once_for_each_argument(monkeypatch):
    """The order of calls, with a graph that records what a real one would."""
    calls = []

    class Graph:
        def pool(self):
            return "pool"

        def replay(self):
            calls.append("replay")

    class Capture:
        def __init__(self, graph, pool=None):
            self.pool = pool

        def __enter__(self):
            calls.append(f"capture into {self.pool}")

        def __exit__(self, *error):
            pass

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", Capture)
    step = CapturedStep(lambda n: calls.append(n))
    for n in (256, 256, 256, 512, 512):
        step(n)
    assert calls == [
        256, "capture into None", 256, "replay", "replay", 512, "capture into pool", 512, "replay",
    ]  # fmt: skip


def test_generation_under_autocast_keeps_its_cache_in_half_precision():
    torch.manual_seed(0)
    lm = LanguageModel(n_q=2, card=16, dim=32, num_heads=2, num_layers=2).eval()
    with torch.autocast("cpu", torch.bfloat16):
        codes = lm.generate(8, seeds=[1, 2], greedy=True, cfg_coef=1.0)
    assert codes.shape == (2, 2, 8) and ((codes >= 0) & (codes < 16)).all()


@pytest.mark.parametrize("weights", ["float32", "bfloat16", "int8"])
def test_a_prepared_model_generates_under_autocast(weights):
    lm = model()
    prepare(lm, weights=weights)
    with torch.autocast("cpu", torch.bfloat16):
        assert lm.generate(4, text(), seeds=[1, 2]).shape == (2, 2, 4)
        layer = next(m for m in lm.modules() if isinstance(m, PackedLinear | Int8Linear))
        assert layer(torch.ones(1, 64)).dtype == torch.bfloat16
