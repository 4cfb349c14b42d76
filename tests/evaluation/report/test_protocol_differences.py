import pytest

from musicgen_train.evaluation.report.protocol_differences import protocol_differences
from tests.evaluation.report.small_runs import measured

RECORD = {
    "embedder": "vggish",
    "weights": "/a/vggish.pth",
    "weights_sha256": "ab",
    "window_duration": 0.96,
    "resampler": "soxr HQ",
    "normalisation": "RMS 0.1",
    "reference": "others",
    "reference_clips": 40,
    "dropped": {},
    "draws_seed": 0,
}
FIELDS = ("n_clips", "n_vectors", "good_end", "good_end_is", "unit", "better")


def serious(name: str = "fad.vggish", **second) -> list[str]:
    """Serious fields that differ once `second` replaces settings or fields of a measurement."""
    ours = {"good_end": 0.4, "good_end_is": "halves", "n_vectors": 400}
    theirs = ours | {key: second.pop(key) for key in list(second) if key in FIELDS}
    a = measured(name, 1.0, settings=RECORD, **ours)
    b = measured(name, 2.0, settings=RECORD | second, **theirs)
    return [found.field for found in protocol_differences(a, b) if found.serious]


def test_a_record_has_no_difference_from_itself():
    assert serious() == []


@pytest.mark.parametrize(
    "field, value",
    [
        ("weights_sha256", "cd"),
        ("window_duration", 1.0),
        ("resampler", "julius 24/0.945"),
        ("normalisation", "none"),
        ("reference", "reference"),
        ("reference_clips", 41),
        ("direction", "KL(gen||ref)"),
        ("unit", "share"),
        ("better", "higher"),
    ],
)
def test_whatever_changes_the_number_is_named(field, value):
    assert serious(**{field: value}) == [field]


@pytest.mark.parametrize(
    "field, value",
    [("weights", "/b/vggish.pth"), ("dropped", {"x": "unreadable"}), ("draws_seed", 1)],
)
def test_findings_and_places_do_not_matter(field, value):
    assert serious(**{field: value}) == []


def test_the_name_of_weights_matters_where_no_digest_tells_them_apart():
    a, b = (
        measured("kl.passt", 1.0, settings={"weights": weights}) for weights in ("one", "other")
    )
    assert [found.field for found in protocol_differences(a, b)] == ["weights"]


def test_another_floor_of_a_distance_between_sets_means_another_reference():
    assert serious(good_end=0.5) == ["floor of the reference"]
    assert serious("clap", good_end=0.5) == []  # which is a mean over the clips of the run


def test_the_number_of_clips_matters_where_it_biases():
    assert serious(n_clips=20, n_vectors=200) == ["clips"]
    assert serious(n_clips=39, n_vectors=390) == []
    assert serious("kl.vggish", n_clips=20, n_vectors=200) == []
    assert serious(n_vectors=800) == ["windows per clip"]


def test_a_difference_names_the_field_and_both_values():
    a, b = (measured("fad.x", 1.0, settings={"hop_duration": hop}) for hop in (0.5, None))
    (found,) = protocol_differences(a, b)
    assert str(found) == "hop, s: 0.5, here none"
