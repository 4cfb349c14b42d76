"""The export command writes each layout, and says in one line what it will not do."""

import pytest

from musicgen_train import export
from musicgen_train.formats import load_codec, save_codec
from tests.formats.small_codecs import CHUNKED, assert_same_codec, trained


@pytest.mark.parametrize("layout", ["audiocraft", "transformers", "native"])
def test_every_layout_is_written_and_loads_again(layout, tmp_path, capsys):
    codec = trained(lstm=1)
    save_codec(codec, tmp_path / "codec")
    output = tmp_path / "out"
    export.main(["--checkpoint", str(tmp_path / "codec"), "--format", layout, "--output",
                 str(output)])  # fmt: skip
    assert_same_codec(load_codec(output), codec)
    assert capsys.readouterr().out.startswith(f"codec: {output}")


def test_codecs_go_round_all_layouts_unchanged(tmp_path):
    codec = trained(lstm=1, causal=True, quantizer_dropout=True, decay=0.9)
    save_codec(codec, tmp_path / "0")
    for i, layout in enumerate(["audiocraft", "transformers", "audiocraft", "native"]):
        export.main(["--checkpoint", str(tmp_path / str(i)), "--format", layout,
                     "--output", str(tmp_path / str(i + 1))])  # fmt: skip
    assert_same_codec(load_codec(tmp_path / "4"), codec)


def test_a_pointer_needs_no_weights(tmp_path):
    export.main(["--checkpoint", "encodec_32khz", "--format", "audiocraft", "--pointer",
                 "--output", str(tmp_path / "out")])  # fmt: skip
    import torch

    content = torch.load(tmp_path / "out" / "compression_state_dict.bin", weights_only=True)
    assert content == {
        "pretrained": "facebook/encodec_32khz", "exported": True, "version": "1.3.0"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--checkpoint", "nowhere", "--format", "native", "--output", "new"], "no checkpoint at"),
        (["--checkpoint", "codec", "--format", "native", "--output", "codec"], "is not empty"),
        (["--checkpoint", "codec", "--format", "native", "--output", "file"], "is not empty"),
        (
            ["--checkpoint", "chunked", "--format", "audiocraft", "--output", "new"],
            "no codec that works in chunks: export to transformers",
        ),
        (
            ["--checkpoint", "codec", "--format", "native", "--pointer", "--output", "new"],
            "--pointer is for --format audiocraft",
        ),
        (
            ["--checkpoint", "codec", "--format", "audiocraft", "--pointer", "--output", "new"],
            "--pointer needs a name of the hub",
        ),
    ],
)
def test_what_cannot_be_exported_leaves_one_line_and_no_file(
    arguments, said, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    save_codec(trained(lstm=1), "codec")
    save_codec(trained(**CHUNKED), "chunked")
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as stopped:
        export.main(arguments)
    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert error.startswith("error: ") and said in error and error.count("\n") == 1
    assert not (tmp_path / "new").exists()
    assert sorted(p.name for p in (tmp_path / "codec").iterdir()) == [
        "codec.safetensors", "config.json"
    ]  # fmt: skip
