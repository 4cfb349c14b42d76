import pytest

from musicgen_train.evaluation.report.families import GROUP_TITLES, parse_name
from musicgen_train.evaluation.report.metric_tables import grouped
from tests.evaluation.report.small_runs import measured


@pytest.mark.parametrize(
    "name, parts",
    [
        ("fad.vggish.text", ("fad", "vggish", "text")),
        ("fad_inf.judge", ("fad_inf", "judge", "")),
        ("clap", ("clap", "", "")),
        ("clap.melody", ("clap", "", "melody")),
        ("text.genre", ("text", "genre", "")),
        ("text.genre.with_melody", ("text", "genre", "with_melody")),
        ("chroma.argmax", ("chroma", "argmax", "")),
        ("codec.mel_distance", ("codec", "mel_distance", "")),
        ("kad.passt.round_trip", ("kad", "passt", "round_trip")),
    ],
)
def test_a_name_has_family_detail_and_system(name, parts):
    assert tuple(parse_name(name)) == parts


def test_the_listener_is_named_as_people_call_it():
    assert "VGGish" in parse_name("fad.vggish.text").group_title
    assert "PaSST" in parse_name("kl.passt").group_title
    assert "the judge" in parse_name("coverage.judge").group_title
    assert parse_name("fad.clap").short == "FAD CLAP"
    assert "{" not in "".join(parse_name(f"{family}.vggish").group_title for family in GROUP_TITLES)


def test_what_the_judge_takes_part_in_is_known():
    assert all(parse_name(name).by_judge for name in ("kl.judge.text", "text.genre", "fad.judge"))
    assert not any(parse_name(n).by_judge for n in ("kl.passt", "fad.vggish", "chroma.argmax"))


def test_distances_of_one_listener_stand_together_and_of_another_apart():
    names = ("fad.vggish.text", "fad.clap.text", "fad_inf.vggish.text", "fad.vggish.melody")
    groups = grouped([measured(name, 1.0) for name in names])
    assert [[row.name for row in rows] for rows in groups.values()] == [
        ["fad.vggish.text", "fad_inf.vggish.text", "fad.vggish.melody"],
        ["fad.clap.text"],
    ]


def test_what_the_name_does_not_say_of_the_music_follows_from_the_family():
    assert parse_name("codec.si_sdr").source.kind == "reconstruction"
    assert parse_name("text.genre").source.kind == "text"
    assert parse_name("fad.judge").source.kind == "generated"
