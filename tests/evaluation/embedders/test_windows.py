import pytest
import torch

from musicgen_train.evaluation.embedders.windows import covering_windows, repeat_to_fill


@pytest.mark.parametrize(("n", "starts"), [(4, [0]), (5, [0, 1]), (10, [0, 3, 6]), (9, [0, 3, 5])])
def test_the_last_window_ends_with_the_clip(n, starts):
    found = covering_windows(torch.arange(float(n)), size=4, hop=3)
    assert found[:, 0].tolist() == starts
    assert torch.equal(found, found[:, :1] + torch.arange(4.0))


def test_a_clip_shorter_than_a_window_is_the_callers_error():
    with pytest.raises(AssertionError):
        covering_windows(torch.zeros(3), size=4, hop=3)


def test_a_short_clip_is_repeated_until_it_fills_and_a_longer_one_stays():
    assert repeat_to_fill(torch.tensor([1.0, 2.0]), 5).tolist() == [1, 2, 1, 2, 1]
    assert repeat_to_fill(torch.arange(5.0), 5).tolist() == [0, 1, 2, 3, 4]
    assert repeat_to_fill(torch.arange(6.0), 5).shape == (6,)
    assert repeat_to_fill(torch.zeros(0), 5).tolist() == [0] * 5
