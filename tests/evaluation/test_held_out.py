from functools import partial

import pytest
import torch

from musicgen_train.errors import UserError
from musicgen_train.evaluation.held_out import Segment, deal, read_held_out, spread
from tests.evaluation.small_evaluation import RATE, SECONDS, write_dataset


def test_the_two_sets_share_no_track_and_hold_the_same_mixture(tmp_path):
    held_out = read_held_out(write_dataset(tmp_path / "data", 8), n_clips=4, duration=SECONDS)
    prompts, others = ({s.track for s in side} for side in held_out[:2])
    assert len(prompts) == len(others) == 4 and not prompts & others
    for side in held_out[:2]:
        assert sorted(s.label("genre") for s in side) == ["folk", "folk", "jazz", "jazz"]


def test_a_few_of_many_are_of_all_kinds(tmp_path):
    held_out = read_held_out(write_dataset(tmp_path / "data", 16), n_clips=4, duration=SECONDS)
    for side in held_out[:2]:
        assert {s.label("genre") for s in side} == {"folk", "jazz"}


@pytest.mark.parametrize(("n_all", "n"), [(240, 96), (480, 48), (480, 4), (37, 7), (3, 2)])
def test_any_first_few_are_spread_over_all(n_all, n):
    names = [f"{i:03d}" for i in range(n_all)]
    spread_out = spread(names)
    assert sorted(spread_out) == names
    first = sorted(map(int, spread_out[:n]))
    # In each of the quarters of the sequence about a quarter of them.
    counts = [sum(4 * i // n_all == quarter for i in first) for quarter in range(4)]
    assert max(counts) - min(counts) <= 2 and first[-1] - first[0] >= n_all / 2


def test_reading_twice_gives_the_same_segments(tmp_path):
    folder = write_dataset(tmp_path / "data", 6)
    first, second = (read_held_out(folder, 3, SECONDS) for _ in range(2))
    assert [s.name for s in first.prompts] == [s.name for s in second.prompts]


def test_segments_too_short_for_the_clips_are_refused_with_the_remedy(tmp_path):
    with pytest.raises(UserError, match=r"no segment of 9 s in test or valid; lower duration"):
        read_held_out(write_dataset(tmp_path / "data"), 3, 9.0)


def test_one_track_is_not_enough(tmp_path):
    with pytest.raises(UserError, match="one track"):
        read_held_out(write_dataset(tmp_path / "data", 1), 3, SECONDS)


def test_one_segment_a_side_is_not_enough(tmp_path):
    with pytest.raises(UserError, match=r"has 2 segments .* of 2 tracks; evaluation needs 2 in"):
        read_held_out(write_dataset(tmp_path / "data", 2), 3, SECONDS)


def segments(track: str, n: int) -> list[Segment]:
    read = partial(torch.zeros, 1, 1)
    return [Segment(f"{track}_{i}", track, {}, None, read) for i in range(n)]


def test_dealing_takes_one_of_each_track_in_turn():
    dealt = deal([segments("a", 3), segments("b", 1), segments("c", 2)], 5)
    assert [segment.track for segment in dealt] == ["a", "b", "c", "a", "c"]
    assert len({segment.name for segment in dealt}) == 5


def test_dealing_takes_openings_no_more_often_than_other_parts():
    dealt = deal([segments(f"t{i}", 3) for i in range(300)], 300)
    openings = sum(segment.name.endswith("_0") for segment in dealt)
    assert 70 <= openings <= 130


def test_a_segment_is_read_when_it_is_asked_for_and_is_the_same_each_time(tmp_path):
    segment = read_held_out(write_dataset(tmp_path / "data", 6), 3, SECONDS).prompts[0]
    assert segment.read().shape == (1, round(SECONDS * RATE))
    assert torch.equal(segment.read(), segment.read())


def test_a_damaged_sample_is_left_out_by_name(tmp_path):
    folder = write_dataset(tmp_path / "data", 8)
    shard = next(folder.glob("*.tar"))
    content = bytearray(shard.read_bytes())
    place = content.index(b"fLaC") + 200  # within the first track's audio
    content[place : place + 400] = bytes(400)
    shard.write_bytes(content)
    held_out = read_held_out(folder, 4, SECONDS)
    (name,) = held_out.bad
    assert name not in {s.name for s in [*held_out.prompts, *held_out.others]}
    assert len(held_out.prompts) + len(held_out.others) == 7
