"""Files of texts: three kinds that say the same, and faults told in one line with their place."""

import pytest

from musicgen_train.errors import UserError
from musicgen_train.evaluation.texts import clip_name, read_asked_texts, read_texts

SAME = {
    "texts.json": '{"a.wav": "slow jazz, with brushes", "sub/b": "fast \\"techno\\""}',
    "texts.jsonl": '{"name": "a", "text": "slow jazz, with brushes", "bpm": 80}\n\n'
    '{"name": "./sub/b.FLAC", "text": "fast \\"techno\\""}\n',
    "texts.csv": '\ufeffname,bpm,text\na.mp3,80,"slow jazz,\n with brushes"\n'
    'sub\\b.ogg,,"fast ""techno"""\n',
}


@pytest.mark.parametrize("name", SAME)
def test_every_kind_of_file_says_the_same(tmp_path, name):
    (tmp_path / name).write_text(SAME[name], encoding="utf-8")
    texts = read_texts(tmp_path / name)
    assert texts == {"a": "slow jazz, with brushes", "sub/b": 'fast "techno"'}


ASKED = {
    "texts.json": '{"a": {"text": "slow jazz", "instrument": "piano", "bpm": 80},'
    ' "b": "fast folk"}',
    "texts.jsonl": '{"name": "a", "text": "slow jazz", "instrument": ["piano", "bass"],'
    ' "bpm": 80}\n'
    '{"name": "b", "text": "fast folk"}\n',
    "texts.csv": "name,instrument,bpm,text\na,piano,80.0,slow jazz\nb,,,fast folk\n",
}


@pytest.mark.parametrize("name", ASKED)
def test_fields_say_what_a_text_asks_for_and_its_words_the_tempo_without_bpm(tmp_path, name):
    (tmp_path / name).write_text(ASKED[name], encoding="utf-8")
    a, b = read_asked_texts(tmp_path / name).values()
    assert a == ("slow jazz", {"instrument": "piano", "genre": None, "tempo": "80 bpm"})
    assert b == ("fast folk", {"instrument": None, "genre": None, "tempo": "fast"})


def test_only_the_suffix_of_an_audio_file_is_no_part_of_a_name():
    assert clip_name("x/take.1.WAV") == "x/take.1"
    assert clip_name("x/take.1") == "x/take.1"


@pytest.mark.parametrize(
    "name, written, told",
    [
        ("t.txt", "a", r"read from \.json, \.jsonl, \.csv"),
        ("t.json", '{"a": "x",\n "b" "y"}', "line 2: is no JSON"),
        ("t.json", '["x"]', "must be an object"),
        ("t.json", '{"a": "x", "a.wav": "y"}', "entry 2: 'a.wav' was in entry 1"),
        ("t.json", '{"a": 3}', "entry 1: 'a' has no text"),
        ("t.json", "{}", "holds no texts"),
        ("t.json", '{"a": "\\ud83d"}', "entry 1: holds half a UTF-16 pair"),
        ("t.json", "[" * 100_000, "nested too deeply|is no JSON"),
        ("t.jsonl", '{"name": "a", "text": "x"}\n{"name": "b"}\n', "line 2: must be an object"),
        ("t.jsonl", '{"name": "a", "text": "x"}\n{"name', "line 2: is no JSON"),
        ("t.jsonl", '{"name": "a", "text": " "}', "line 1: 'a' has no text"),
        ("t.jsonl", '{"name": "", "text": "x"}', "line 1: has no name"),
        ("t.csv", "file;text\na;x\n", "columns file;text; it needs name and text"),
        ("t.csv", "name,text\na,slow, calm\n", "line 2: has not 2 columns"),
        ("t.csv", 'name,text\na,x\nb,"y\n', "line 3: is no CSV"),
        ("t.csv", "", "columns none"),
        ("t.csv", "name,text,bpm\na,x,quick\n", "line 2: bpm is 'quick'; write a number"),
        ("t.jsonl", '{"name": "a", "text": "x", "bpm": -3}', "line 1: bpm is -3; write a number"),
        ("t.json", '{"a": {"text": "x", "genre": 3}}', "entry 1: genre is 3; write a word"),
        ("t.json", '{"a": {"genre": "folk"}}', "entry 1: 'a' has no text"),
        ("t.csv", "name,text\na,x\na,y\n", "line 3: 'a' was in line 2"),
    ],
)
def test_faults_are_told_in_one_line_with_their_place(tmp_path, name, written, told):
    (tmp_path / name).write_text(written)
    with pytest.raises(UserError, match=told) as raised:
        read_texts(tmp_path / name)
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_there_or_not_utf8_is_told(tmp_path):
    with pytest.raises(UserError, match="no such file of texts"):
        read_texts(tmp_path / "none.json")
    (tmp_path / "latin.csv").write_bytes("name,text\na,café\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"is not UTF-8 \(byte 15\)"):
        read_texts(tmp_path / "latin.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(UserError, match="cannot be read"):
        read_texts(tmp_path / "folder.csv")
