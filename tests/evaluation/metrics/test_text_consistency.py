import math

import pytest
import torch

from musicgen_train.evaluation.metrics.text_consistency import text_consistency

HEARD = torch.tensor([0.7, 0.1, 0.2]).log()  # piano, flute, violin


def test_the_most_probable_label_counts_if_it_is_one_of_those_asked_for():
    assert text_consistency(HEARD, [0]).heard
    assert not text_consistency(HEARD, [2]).heard
    assert text_consistency(HEARD, [0, 2]).heard


def test_the_probability_is_that_of_all_labels_asked_for():
    assert math.isclose(text_consistency(HEARD, [1, 2]).probability, 0.3, rel_tol=1e-6)


def test_a_label_that_is_not_there_is_a_mistake_of_the_caller():
    for asked in ([], [3], [-1]):
        with pytest.raises(AssertionError):
            text_consistency(HEARD, asked)
