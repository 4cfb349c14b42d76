"""All ways of a training step are the same training, and what cannot run is a line."""

import pytest
import torch

from benchmarks import train_step
from benchmarks.limits import Limits
from benchmarks.lm_models import SHAPES, our_model
from benchmarks.room import if_it_fits
from benchmarks.train_models import TECHNIQUES, our_loss, our_step, random_batch, transform
from benchmarks.train_step import Plan, rows
from musicgen_train.lm import products

LIMITS = Limits(1e11, 1e11, 1e10)
TINY = SHAPES["tiny"]


@pytest.mark.parametrize(
    "way", ["chunked loss", "recomputed layers", "attention for CPUs", "as train.py does"]
)
def test_a_way_changes_neither_loss_nor_gradient(way):
    batch, found = random_batch(TINY, 2, 10, "cpu"), []
    for name in ("plain", way):
        lm = our_model(TINY, "cpu", text_dim=TINY.dim)
        transform(lm, TECHNIQUES[name])
        loss = our_loss(lm, batch, chunked=TECHNIQUES[name].chunked)()
        loss.backward()
        found.append((loss, lm.layers[0].ffn.up.weight.grad))
    torch.testing.assert_close(found[0], found[1])


def test_a_plain_step_has_torchs_products_and_ours_onednns(monkeypatch):
    exact = products._exact()  # else nobody asks oneDNN on this machine
    asked, plain = [], products._asked
    monkeypatch.setattr(products, "_asked", lambda: asked.append(1) or plain())
    for way, expected in (("plain", False), ("chunked loss", False), ("oneDNN's products", True)):
        asked.clear()
        our_step(TINY, random_batch(TINY, 1, 10, "cpu"), TECHNIQUES[way])()
        assert bool(asked) == (expected and exact), way


def test_ours_is_a_ratio_to_the_peer_and_what_cannot_run_says_why():
    ways = ("plain", "8-bit products")
    ours, refused = rows(Plan("tiny", 1, 20, ways, 2), LIMITS)
    assert ours.peer == "transformers" and ours.ratio and ours.peer_value and ours.rounds == 2
    assert 0 < ours.share < 1 and ours.mib > 100 and ours.peer_mib > 100
    if not torch.cuda.is_available():
        assert refused.value is None and not refused.failed and "needs a Hopper GPU" in refused.note


def test_where_both_do_not_fit_each_is_alone(monkeypatch):
    """A GPU that holds one model, played by errors."""
    paired, tried = train_step.paired, []

    def small_gpu(plan, way, peer):
        tried.append(peer is not None)
        if peer is not None:
            raise torch.OutOfMemoryError("both")
        return paired(plan, way, peer)

    monkeypatch.setattr(train_step, "paired", small_gpu)
    first, second = rows(Plan("tiny", 1, 20, ("plain", "chunked loss"), 1), LIMITS)
    assert tried == [True, False, False]
    for row in (first, second):
        assert row.value and row.peer_value and row.ratio is None
    assert first.note == "one after the other"


def test_what_does_not_fit_is_nothing_and_other_errors_are_told():
    def too_much():
        raise torch.OutOfMemoryError("CUDA out of memory")

    assert if_it_fits(too_much) is None
    assert if_it_fits(lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        if_it_fits(lambda: 1 / 0)
