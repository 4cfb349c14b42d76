import re
from pathlib import Path

import pytest
import torch
from torch import nn

from musicgen_train.errors import UserError
from musicgen_train.evaluation.embedders.strict_weights import fill, weights_by_name

PLACE = Path("some.pt")


def state() -> dict[str, torch.Tensor]:
    return {"weight": torch.ones(3), "bias": torch.zeros(3), "running_mean": torch.ones(3),
            "running_var": torch.ones(3), "num_batches_tracked": torch.tensor(5)}  # fmt: skip


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_every_weight_comes_in_the_models_own_type(device):
    model = nn.BatchNorm1d(3, device=device)
    given = {name: t.half() if t.is_floating_point() else t for name, t in state().items()}
    fill(model, given, PLACE, "get it again")
    found = model.state_dict()
    assert {name: t.dtype for name, t in found.items()} == {n: t.dtype for n, t in state().items()}
    assert all(torch.equal(found[name], tensor) for name, tensor in state().items())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"more": torch.ones(1)}, "has the unknown weight 'more'"),
        ({"bias": torch.ones(2)}, "has another shape of bias: [2], not [3]"),
        ({"bias": torch.ones(3, dtype=torch.int64)}, "has something else for bias, which holds no"),
    ],
)
def test_the_first_weight_that_does_not_fit_is_named_with_the_remedy(change, said):
    with pytest.raises(UserError, match=re.escape(f"some.pt {said}")) as refused:
        fill(nn.BatchNorm1d(3), state() | change, PLACE, "get it again")
    assert str(refused.value).endswith(": get it again")


def test_a_missing_weight_is_named():
    given = state()
    del given["weight"]
    with pytest.raises(UserError, match=r"some\.pt lacks the weight weight: get it again"):
        fill(nn.BatchNorm1d(3), given, PLACE, "get it again")


def test_free_names_may_be_there_or_not_and_are_not_loaded():
    model = nn.BatchNorm1d(3)
    given = state()
    del given["running_mean"]
    fill(model, given, PLACE, "", free=re.compile("running_|num_batches"))
    assert model.num_batches_tracked == 0 and model.running_var is not None
    with pytest.raises(UserError, match="lacks the weight running_mean"):
        fill(model, given, PLACE, "", free=re.compile("running_var"))


@pytest.mark.parametrize("content", [None, [1], {1: torch.ones(1)}, {"weight": {"a": 1}}])
def test_only_tensors_by_name_are_weights(content):
    with pytest.raises(UserError, match=r"some\.pt holds no weights by name: get it again"):
        weights_by_name(content, PLACE, "get it again")
    assert weights_by_name(state(), PLACE, "").keys() == state().keys()
