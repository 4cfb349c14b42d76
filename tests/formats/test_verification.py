"""What an export computes is compared shape first."""

import pytest
import torch

from musicgen_train.errors import UserError
from musicgen_train.formats.verification import Pair, compare


@pytest.mark.parametrize("shape", [(2, 3), (4,), (1, 4)])
def test_another_shape_is_said_and_not_subtracted(shape):
    pair = Pair("logits", torch.ones(shape), torch.ones(2, 4))
    with pytest.raises(UserError, match=r"other logits from the export \(shape \[.*, not \[2, 4"):
        compare([pair], "native", None)


def test_what_is_no_number_is_no_match():
    pair = Pair("logits", torch.full((2,), torch.nan), torch.ones(2))
    with pytest.raises(UserError, match="largest difference nan"):
        compare([pair], "native", None)
