"""What a checkpoint says of itself is read from its own files."""

from pathlib import Path

import pytest

from musicgen_train.formats.provenance import Provenance, read_provenance


def test_of_what_does_not_exist_nothing_is_known(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("README.md").write_text("---\nlicense: mit\n---\n")
    Path("metrics.json").write_text("{}")
    assert read_provenance(Path("codec_tiny")) == Provenance()
    assert read_provenance(tmp_path / "codec_tiny") == Provenance()


@pytest.mark.parametrize(
    ("matter", "licence"),
    [
        ("license: mit", "mit"),
        ("license: other\nlicense_name: ask me first", "ask me first"),
        ("license: other\nlicense_name: 'mine --- not yours'", "mine --- not yours"),
        ("# --- of 2024 ---\nlicense: mit", "mit"),
        ("license: other", "other"),
        ("license: unknown", None),
        ("license: [mit]", None),
        ("license: other\nlicense_name: 3", None),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_licence_of_a_model_card_is_found(matter, licence, end, tmp_path):
    text = f"---\n{matter}\n---\n# A model\n---\nmore\n".replace("\n", end)
    (tmp_path / "README.md").write_bytes(text.encode())
    assert read_provenance(tmp_path).licence == licence


@pytest.mark.parametrize("text", ["", "license: mit", "---\nlicense: mit\n", "--- a\n---\n"])
def test_a_card_without_front_matter_says_nothing(text, tmp_path):
    (tmp_path / "README.md").write_text(text)
    assert read_provenance(tmp_path).licence is None
