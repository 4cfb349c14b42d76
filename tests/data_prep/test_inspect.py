"""The page and the tables that show what is in a dataset."""

import base64
import json
import subprocess
import sys
from html.parser import HTMLParser

import fsspec
import pytest

from data_prep.inspect import inspect, named, page_beside
from musicgen_train.errors import UserError
from tests.data_prep.looked_at import CODES_INFO, INFO, codes, tone, write_looked_at

HOSTILE = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(1)> [bold]&amp;\x1b[31m"
SONG = {
    "description": "slow piano piece", "track_id": "t", "artist": "Ada", "genre": ["jazz"],
    "key": "C minor", "bpm": 93, "loudness": -16.0, "silence": 0.25, "offset": 8.0,
    "file": "ada/song.mp3", "estimated": ["bpm"],
}  # fmt: skip


class Elements(HTMLParser):
    """Every element of a page with its attributes, and all text."""

    def __init__(self, page):
        super().__init__()
        self.found, self.text = [], ""
        self.feed(page.read_text())

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


def without(folder, name):
    info = json.loads((folder / "dataset.json").read_text())
    del info[name]
    (folder / "dataset.json").write_text(json.dumps(info))


def players(page):
    sources = [element["src"] for element in Elements(page).all("audio")]
    head = "data:audio/flac;base64,"
    assert all(source.startswith(head) for source in sources)
    return [base64.b64decode(source.removeprefix(head)) for source in sources]


def test_the_page_tells_what_is_in_the_dataset_and_plays_it(tmp_path, capsys):
    metadata = [SONG, {**SONG, "bpm": 140}, {**SONG, "track_id": "u", "artist": "Bo"}]
    failures = [{"file": "x.wav", "status": "failed", "reason": "cannot be decoded (no header)"}]
    folder = write_looked_at(tmp_path / "songs", metadata, failures=failures)
    page = inspect(folder, n_players=2)
    assert page == tmp_path / "songs.html"
    elements = Elements(page)
    for words in (
        "A dataset of audio", "slow piano piece", "C minor", "93 bpm", "jazz", "ada/song.mp3",
        "-16.0 LUFS", "cannot be decoded", "x.wav (no header)", "There is no validation split",
    ):  # fmt: skip
        assert words in elements.text, words
    assert players(page) == [tone(), tone()]
    assert len([image for image in elements.all("img") if image["alt"] == "Spectrogram"]) == 2
    printed = capsys.readouterr().out
    for words in ("songs", "There is no validation split", "cannot be decoded", "jazz", "Ada"):
        assert words in printed, words
    assert sorted(path.name for path in tmp_path.iterdir()) == ["songs", "songs.html"]


def test_what_the_metadata_says_is_text_and_never_markup(tmp_path, capsys):
    hostile = dict.fromkeys(SONG, HOSTILE) | {"moods": [HOSTILE], "instrument": HOSTILE}
    failures = [{"file": HOSTILE, "reason": f"{phrase} ({HOSTILE})"}
                for phrase in ("is a duplicate", HOSTILE)]  # fmt: skip
    folder = write_looked_at(tmp_path / "d", [hostile, SONG], failures=failures)
    tame = write_looked_at(tmp_path / "tame", [SONG, SONG])
    info = {"separator": HOSTILE, "sample_rate": 4000, "tracks": None}
    noted = write_looked_at(tmp_path / "noted", [SONG], info=info)
    pages = [inspect(path) for path in (folder, tame, noted)]
    for page in (pages[0], pages[2]):
        elements = Elements(page)
        assert not elements.all("script") and "alert(1)" in elements.text
        assert all(image["src"].startswith("data:image/png") for image in elements.all("img"))
        assert not any(name.startswith("on") for _, found in elements.found for name in found)
    assert {tag for tag, _ in Elements(pages[0]).found} == {
        tag for tag, _ in Elements(pages[1]).found
    }
    printed = capsys.readouterr().out
    assert "\x1b" not in printed and "[bold]" in printed


@pytest.mark.parametrize("text", ["\ud800 half a pair", "", " " * 50, "x" * 100_000, "ä" * 5000])
def test_one_segment_with_any_description_makes_a_page(text, tmp_path):
    page = inspect(write_looked_at(tmp_path / "d", [{"description": text}]))
    assert len(players(page)) == 1 and page.stat().st_size < 500_000


def test_one_segment_with_damaged_audio_and_metadata_makes_a_page(tmp_path):
    page = inspect(write_looked_at(tmp_path / "d", [b"\xff{"], files={"flac": b"no flac"}))
    text = Elements(page).text
    assert "1 segment with damaged JSON" in text and "cannot be decoded" in text


@pytest.mark.parametrize("value", [10**400, "x", True, [1], {"a": 1}, float("nan")])
def test_one_segment_with_numbers_of_any_kind_makes_a_page(value, tmp_path):
    inspect(write_looked_at(tmp_path / "d", [dict.fromkeys(SONG, value)]))
    assert (tmp_path / "d.html").exists()


@pytest.mark.parametrize(
    "spoiled",
    [
        {"tracks": {}}, {"tracks": dict.fromkeys(INFO["tracks"], "x")}, {"tracks": [1]},
        {"unigram_entropy": [1.0]}, {"codebook_usage": 3}, {"codebook_usage": ["x", "y"]},
        {"reasons": [1]}, {"reasons": {"a": [1]}}, {"unreadable_segments": "many"},
        {"artists": "x"}, {"unigram_entropy": [10**400, 1]},
    ],
)  # fmt: skip
def test_what_dataset_json_need_not_say_is_left_out_if_it_is_no_sense(spoiled, tmp_path):
    info = {**CODES_INFO, **spoiled}
    folder = write_looked_at(tmp_path / "d", [SONG], files={"codes.npy": codes()}, info=info)
    assert "A dataset of codes" in Elements(inspect(folder)).text


@pytest.mark.parametrize("name", ["sample_rate", "n_q", "card", "frame_rate"])
@pytest.mark.parametrize("value", [0, "\x1b[31m4", None, True, 10**400])
def test_without_the_numbers_that_codes_are_read_by_nothing_is_read(name, value, tmp_path):
    info = {**CODES_INFO, name: value}
    folder = write_looked_at(tmp_path / "d", [SONG], files={"codes.npy": codes()}, info=info)
    with pytest.raises(UserError, match=name):
        inspect(folder)


def test_the_name_of_a_folder_does_not_control_the_terminal(tmp_path, capsys):
    inspect(write_looked_at(tmp_path / "d\x1b[31m", [SONG]))
    assert "\x1b" not in capsys.readouterr().out


def test_a_dataset_of_codes_shows_its_codebooks_and_no_player(tmp_path, capsys):
    folder = write_looked_at(
        tmp_path / "d", [SONG], files={"codes.npy": codes()}, info=CODES_INFO, failures=None
    )
    page = inspect(folder)
    elements = Elements(page)
    assert not elements.all("audio") and not elements.all("img")
    assert "A dataset of codes" in elements.text and "2 × 16 at 50 Hz" in elements.text
    assert "4.00" in elements.text and "Perplexity" in elements.text  # bits of 16 even codes
    assert "slow piano piece" in elements.text
    assert "Codebook" in capsys.readouterr().out


def test_an_old_dataset_says_what_it_does_not_know(tmp_path):
    folder = write_looked_at(
        tmp_path / "d", [{"description": "x"}], info={"sample_rate": 4000}, failures=None
    )
    text = Elements(inspect(folder)).text
    assert "Loudness and silence are not recorded" in text
    assert "does not count the files" in text


def test_the_same_seed_makes_the_same_page_and_another_other_players(tmp_path):
    metadata = [{**SONG, "title": f"song {n}"} for n in range(40)]
    folder = write_looked_at(tmp_path / "d", metadata)
    pages = [
        inspect(folder, tmp_path / f"{n}.html", n_players=5, seed=seed).read_bytes()
        for n, seed in enumerate((1, 1, 2))
    ]
    assert pages[0] == pages[1] != pages[2]


def test_a_part_of_the_segments_is_said_to_be_one(tmp_path, capsys):
    folder = write_looked_at(tmp_path / "d", [SONG] * 30)
    text = Elements(inspect(folder, n_samples=10, n_players=0, n_checked=0)).text
    assert "10 random segments of 30 were read" in text and "Listen" not in text
    assert "10 random segments of 30 were read" in capsys.readouterr().out


def test_a_url_gives_the_page_that_the_folder_gives(tmp_path, monkeypatch):
    folder = write_looked_at(tmp_path / "songs", [SONG, {**SONG, "artist": "Bo"}] * 5)
    memory = fsspec.filesystem("memory")
    memory.put(str(folder), "/inspected/songs", recursive=True)
    monkeypatch.chdir(tmp_path)
    remote = inspect("memory://inspected/songs/")
    assert remote == page_beside("memory://inspected/songs/")
    assert remote.read_bytes() == inspect(folder, tmp_path / "local.html").read_bytes()
    memory.rm("/inspected", recursive=True)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "index.npz").unlink(), "is not a dataset"),
        (lambda folder: (folder / "dataset.json").write_text("{"), "dataset.json is damaged"),
        (lambda folder: (folder / "index.npz").write_bytes(b"PK"), "index.npz is damaged"),
        (lambda folder: without(folder, "sample_rate"), "gives no sample_rate"),
        (lambda folder: (folder / "shard-000000.tar").unlink(), "the dataset is incomplete"),
        (lambda folder: (folder / "shard-000000.tar").write_bytes(b""), "is cut short"),
    ],
)
def test_what_is_no_whole_dataset_is_refused_in_one_line(spoil, words, tmp_path):
    folder = write_looked_at(tmp_path / "d", [SONG])
    spoil(folder)
    with pytest.raises(UserError, match=words) as caught:
        inspect(folder)
    assert "\n" not in str(caught.value) and not (tmp_path / "d.html").exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_players": -1}, "n_players=-1"),
        ({"n_samples": 0}, "n_samples=0"),
        ({"seed": "x"}, "seed=x"),
        ({"output": "."}, "is a folder"),
        ({"output": "/dev/null/page.html"}, "cannot be written"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_one_line(settings, words, tmp_path):
    folder = write_looked_at(tmp_path / "d", [SONG])
    with pytest.raises(UserError, match=words) as caught:
        inspect(folder, **settings)
    assert "\n" not in str(caught.value)


def test_a_dataset_may_be_named_by_its_place_alone():
    assert named(["my set", "n_players=3"]) == ["dataset='my set'", "n_players=3"]
    assert named(["--help"]) == ["--help"]
    assert named(["s3://b/a=b,c"]) == ["dataset='s3://b/a=b,c'"]
    assert named(["output=x.html", "it's"]) == ["output=x.html", r"dataset='it\'s'"]


def test_two_datasets_are_one_too_many():
    with pytest.raises(UserError, match=r"2 datasets are named \(a, b\); give one"):
        named(["a", "n_players=3", "b"])


@pytest.mark.parametrize("place", ["/dev/null/page.html", "/dev/null/new/page.html"])
def test_a_page_that_cannot_be_written_is_refused_before_the_dataset_is_read(place):
    with pytest.raises(UserError, match="cannot be written; name another place"):
        inspect("/no/dataset", place)


def test_the_command_takes_folders_of_any_name(tmp_path):
    folder = write_looked_at(tmp_path / "it's, my set", [SONG])
    command = [sys.executable, "-m", "data_prep.inspect", str(folder), "n_players=1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "slow" in done.stdout and str(tmp_path / "it's, my set.html") in done.stdout
    command[3] = str(tmp_path)
    refused = subprocess.run(command, capture_output=True, text=True)
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1
    assert "is not a dataset" in refused.stderr
