import json
import re
import unicodedata

import av
import numpy as np
import pytest
import soundfile

from data_prep.metadata import merge, read_embedded, read_sidecar, read_table
from musicgen_train.errors import UserError

TAGS = {"title": "Évening", "artist": "Ada", "genre": "Folk; Jazz", "TBPM": "121", "TKEY": "F#m",
        "bpm": "121", "initialkey": "F#m", "mood": "calm", "comment": "a shop"}  # fmt: skip


def tagged(path, codec, tags):
    """Noise in a file with tags, as ffmpeg writes them."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=48000, layout="mono")
        container.metadata.update(tags)
        noise = np.random.default_rng(0).normal(size=(1, 48000)) * 3000
        frame = av.AudioFrame.from_ndarray(noise.astype(np.int16), format="s16", layout="mono")
        frame.sample_rate = 48000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return path


def written(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("suffix", "codec"), [("mp3", "libmp3lame"), ("flac", "flac"), ("opus", "libopus")]
)
def test_tags_inside_files_are_read_and_comments_are_not(tmp_path, suffix, codec):
    assert read_embedded(tagged(tmp_path / f"a.{suffix}", codec, TAGS)) == {
        "title": "Évening", "artist": "Ada", "genre": ["Folk", "Jazz"], "moods": ["calm"],
        "bpm": 121, "key": "F# minor",
    }  # fmt: skip


@pytest.mark.parametrize(("suffix", "codec"), [("m4a", "aac"), ("wav", "pcm_s16le")])
def test_formats_with_few_tags_give_those(tmp_path, suffix, codec):
    found = read_embedded(tagged(tmp_path / f"a.{suffix}", codec, TAGS))
    assert found == {"title": "Évening", "artist": "Ada", "genre": ["Folk", "Jazz"]}


def test_vorbis_tags_are_read(tmp_path):
    with soundfile.SoundFile(tmp_path / "a.ogg", "w", 16000, 1, format="OGG") as file:
        file.title, file.artist = "Evening", "Ada"
        file.write(np.zeros(1600, np.float32))
    assert read_embedded(tmp_path / "a.ogg") == {"title": "Evening", "artist": "Ada"}


def test_a_placeholder_is_no_artist(tmp_path):
    tags = {"artist": "Various Artists", "title": "Unknown", "genre": "Other"}
    assert read_embedded(tagged(tmp_path / "a.mp3", "libmp3lame", tags)) == {}


def test_bad_tags_never_raise(tmp_path):
    good = tagged(tmp_path / "a.mp3", "libmp3lame", TAGS).read_bytes()
    rng = np.random.default_rng(0)
    bad = tmp_path / "bad.mp3"
    for length in (0, 3, 11, 40, 200, len(good)):
        for _ in range(20):
            data = np.frombuffer(good[:length], np.uint8).copy()
            places = rng.integers(0, max(1, min(length, 300)), 10) if length else []
            data[places] = rng.integers(0, 256, len(places), np.uint8)
            bad.write_bytes(data.tobytes())
            assert isinstance(read_embedded(bad), dict)
    assert read_embedded(tmp_path / "missing.mp3") == {}


def test_a_tag_beyond_all_measure_is_not_read_into_memory(tmp_path):
    path = tmp_path / "a.mp3"
    size = 100 * 2**20
    lengths = [bytes((n >> shift) & 127 for shift in (21, 14, 7, 0)) for n in (size + 10, size)]
    with path.open("wb") as file:
        file.write(b"ID3\4\0\0" + lengths[0] + b"TIT2" + lengths[1] + b"\0\0\3")
        file.truncate(size + 1000)  # sparse
    assert read_embedded(path) == {}


def test_the_first_source_of_a_field_wins():
    assert merge({"artist": "Ada", "bpm": "no idea"}, {"artist": "Bo", "bpm": 90}, {"x": 1}) == {
        "artist": "Ada", "bpm": 90,
    }  # fmt: skip


def test_a_sidecar_is_read_as_it_is(tmp_path):
    content = {"artist": "Ada", "stems": {"vocals": "a.flac"}, "own": 1}
    assert read_sidecar(written(tmp_path, "a.json", "\ufeff" + json.dumps(content))) == content


@pytest.mark.parametrize(
    ("text", "reason"),
    [("{", "is not JSON"), ("[" * 200000, "is not JSON"), ("[1]", "is not a JSON object"),
     (" " * (2**24 + 1), "is too large")],
)  # fmt: skip
def test_a_broken_sidecar_is_refused_in_one_line(tmp_path, text, reason):
    with pytest.raises(UserError, match=f"^its sidecar {reason}.*; correct or remove it$"):
        read_sidecar(written(tmp_path, "a.json", text))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", 'file,description,bpm,own\nrock/one.mp3,"fast, loud",120,x\n\nTwo,,,\n'),
        ("a.tsv", "path\tdescription\ttempo\nrock\\one.mp3\tfast, loud\t120\nTwo\t\t\n"),
        ("a.txt", '\ufeffname;caption;BPM\r\n./rock/one.mp3;"fast, loud";120.0\r\nTwo;;\r\n'),
        ("a.jsonl", '{"file": "rock/one.mp3", "description": "fast, loud", "bpm": 120}\n\n'
                    '{"file": "Two", "bpm": null}\n'),
    ],
)  # fmt: skip
def test_tables_of_any_kind_give_rows_by_file(tmp_path, name, text):
    row = {"description": "fast, loud", "bpm": 120}
    table = read_table(written(tmp_path, name, text))
    assert table == {"rock/one.mp3": row, "rock/one": row, "Two": {}}


def test_a_name_without_suffix_that_fits_two_rows_fits_none(tmp_path):
    table = read_table(written(tmp_path, "a.csv", "file,title\na.mp3,x\na.wav,y\nb,z\nb.wav,w\n"))
    assert {name: row["title"] for name, row in table.items()} == {
        "a.mp3": "x", "a.wav": "y", "b": "z", "b.wav": "w",
    }  # fmt: skip


def test_accents_are_found_however_they_are_spelled(tmp_path):
    table = read_table(written(tmp_path, "a.csv", "file,title\ncafé.mp3,x\n"))
    for form in ("NFC", "NFD"):
        assert table[unicodedata.normalize(form, "café")] == {"title": "x"}


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("a.csv", "file,title\na.mp3,one\na.mp3,two\n", "line 3: line 2 has a.mp3 too; keep one"),
        ("a.csv", "file,title\na,b,c\n", "line 2: has not as many columns as the header"),
        ("a.csv", "file,title\na,b\nc\n", "line 3: has not as many columns as the header"),
        ("a.csv", "artist,title\na,b\n", "line 2: no column says which file it is"),
        ("a.csv", "file,title\n,b\n", "line 2: file is empty"),
        ("a.csv", "file,title\n../a,b\n", "line 2: ../a is not relative to input_dir"),
        ("a.csv", "file,title\n/a,b\n", "line 2: /a is not relative to input_dir"),
        ("a.csv", 'file,title\na,"b\n', "after line 1: unexpected end of data"),
        ("a.csv", "file,title\na," + 200000 * "b" + "\n", "after line 1: field larger than"),
        ("a.jsonl", '{"file": "a"}\nnope\n', "line 2: is not JSON"),
        ("a.jsonl", "[1]\n", "line 1: is not a JSON object"),
        ("a.jsonl", '{"file": 3}\n', "line 1: file is empty"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path, name, text, reason):
    path = written(tmp_path, name, text)
    with pytest.raises(UserError, match=re.escape(f"{path}, {reason}")) as error:
        read_table(path)
    assert "\n" not in str(error.value)


def test_a_table_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UserError, match="No such file or directory; check metadata"):
        read_table(tmp_path / "none.csv")
    (tmp_path / "a.csv").write_bytes(b"file,title\na,\xff\n")
    with pytest.raises(UserError, match="is not text in UTF-8"):
        read_table(tmp_path / "a.csv")
