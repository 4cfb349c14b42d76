import math

import torch

from musicgen_train.evaluation.metrics.text_consistency import text_consistency

LABELS = ["piano", "flute", "violin"]


def test_hearing_what_was_asked_for_is_full_marks():
    heard = torch.tensor([[0.8, 0.1, 0.1], [0.1, 0.6, 0.3]]).log()
    found = text_consistency(heard, ["piano", "flute"], LABELS)
    assert (found.accuracy, found.n_clips, found.n_unknown) == (1.0, 2, 0)
    assert math.isclose(found.probability, 0.7, rel_tol=1e-6)


def test_labels_the_listener_does_not_know_are_counted_and_left_out():
    heard = torch.tensor([[0.8, 0.1, 0.1]] * 3).log()
    found = text_consistency(heard, ["flute", "kazoo", None], LABELS)
    assert (found.accuracy, found.n_clips, found.n_unknown) == (0.0, 1, 2)
    assert math.isnan(text_consistency(heard, [None] * 3, LABELS).accuracy)
