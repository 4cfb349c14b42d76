"""No file, whatever it holds, does more than give its reason."""

from pathlib import Path

import pytest

from data_prep.segmenting import SegmentSettings, TrackFacts, segment_track
from musicgen_train.data.audio import AudioError
from tests.data_prep.bad_audio import DUPLICATE, KEPT, NO_SEGMENT, SECONDS, make_bad_audio

SETTINGS = SegmentSettings(
    sample_rate=8000, segment_duration=2.0, min_duration=0.9, chroma_window=1024, chroma_hop=512
)


def outcome(path: Path) -> tuple[str, list[dict[str, bytes]]]:
    """What `make_bad_audio` should expect of a file, and its segments."""
    segments: list[dict[str, bytes]] = []
    try:
        facts = segment_track(path, {}, SETTINGS, "cpu", segments.append)
    except AudioError as error:
        assert not segments  # none is written before the whole file was decoded
        assert "\n" not in error.reason
        assert str(path) not in error.reason
        return error.reason.split(" (")[0], segments
    assert isinstance(facts, TrackFacts)
    assert facts.n_segments == len(segments)
    return KEPT if segments else NO_SEGMENT, segments


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> tuple[dict[str, str], dict[str, str], dict[str, int]]:
    folder = tmp_path_factory.mktemp("bad")
    expected = make_bad_audio(folder)
    results = {name: outcome(folder / name) for name in expected}
    outcomes = {name: result for name, (result, _) in results.items()}
    return expected, outcomes, {name: len(segments) for name, (_, segments) in results.items()}


def test_each_kind_of_file_is_kept_or_refused_for_its_reason(found):
    expected, outcomes, _ = found
    alone = {name: KEPT if phrase == DUPLICATE else phrase for name, phrase in expected.items()}
    links = {"loop.wav", "dangling.mp3"}  # are noticed where the library is listed
    wrong = {
        name: (outcomes[name], phrase)
        for name, phrase in alone.items()
        if outcomes[name] != phrase and name not in links
    }
    assert not wrong
    assert len(expected) >= 70


def test_every_kept_file_gives_all_of_its_music(found):
    expected, _, n_segments = found
    kept = [name for name, phrase in expected.items() if phrase == KEPT]
    assert SECONDS == 3.0  # one segment of 2 s and one of 1 s
    assert {name: n_segments[name] for name in kept if n_segments[name] != 2} == {}
