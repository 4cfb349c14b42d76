"""`python -m musicgen_train.compress`: what it writes is what the codec gives in one call."""

import subprocess
import sys

import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file

from musicgen_train.codec.encodec import Encodec
from musicgen_train.codec.folding import fold_weight_norm
from musicgen_train.compress import main
from musicgen_train.data.audio import read_audio, resample, to_channels
from musicgen_train.formats import load_codec, save_codec
from tests.conftest import TINY_CODEC

KINDS = {
    "mono": {"lstm": 1},
    "chunked stereo": {
        "channels": 2, "norm": "group", "normalize": True, "chunk_duration": 0.5,
        "chunk_overlap": 0.1, "skip": "conv",
    },
}  # fmt: skip


def save(folder, seed=0, **options):
    torch.manual_seed(seed)
    codec = Encodec(**{**TINY_CODEC, **options}).eval()
    latents = codec.encoder(torch.randn(8, codec.channels, 2000))
    codec.quantizer.initialise(latents.transpose(1, 2).flatten(0, 1))
    save_codec(codec, folder)
    return folder


@pytest.fixture(params=KINDS)
def folder(request, tmp_path):
    return save(tmp_path / "codec", **KINDS[request.param])


@pytest.fixture
def song(tmp_path):
    """3.2 s of stereo at 8 kHz."""
    rng = torch.Generator().manual_seed(1)
    path = tmp_path / "song.flac"
    soundfile.write(path, 0.1 * torch.randn(25607, 2, generator=rng).numpy(), 8000)
    return path


def refused(capsys, *argv):
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in argv])
    assert stop.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


def test_a_file_there_and_back_is_the_codecs_own_round_trip(folder, song, tmp_path, capsys):
    codes_path, back = tmp_path / "song.safetensors", tmp_path / "back.wav"
    main(["encode", str(song), str(codes_path), "--codec", str(folder), "--device", "cpu"])
    codec = fold_weight_norm(load_codec(folder))
    wav = resample(to_channels(read_audio(song)[0], codec.channels), 8000, 2000)[None]
    assert torch.equal(load_file(codes_path)["codes"].long(), codec.encode(wav))
    assert codes_path.stat().st_size < 8 * 400 + 1000
    main(["decode", str(codes_path), str(back), "--codec", str(folder), "--device", "cpu"])
    decoded, rate = read_audio(back)
    assert rate == 2000
    assert decoded.shape == wav[0].shape
    expected = codec.decode(codec.encode(wav), codec.loudness(wav))[0, :, : wav.shape[-1]]
    torch.testing.assert_close(decoded, expected.clamp(-1, 1), rtol=0, atol=1e-4)  # 16 bit
    assert "3.20 s, 4 codebooks" in capsys.readouterr().out


def test_fewer_codebooks_are_the_first_ones(folder, song, tmp_path):
    for n_q in (4, 2):
        argv = ["encode", song, tmp_path / f"{n_q}.safetensors", "--codec", folder, "--n-q", n_q]
        main([str(word) for word in argv])
    four, two = (load_file(tmp_path / f"{n_q}.safetensors")["codes"] for n_q in (4, 2))
    assert torch.equal(four[:, :2], two)
    main(
        ["decode", str(tmp_path / "2.safetensors"), str(tmp_path / "x.ogg"), "--codec", str(folder)]
    )
    assert read_audio(tmp_path / "x.ogg")[0].shape[-1] == 6402


@pytest.mark.parametrize("n_samples", [1, 3, 7999, 8000, 8001])
def test_any_length_comes_back_as_long_as_it_was(tmp_path, n_samples):
    folder = save(tmp_path / "codec", lstm=1)
    soundfile.write(tmp_path / "a.wav", torch.zeros(n_samples).numpy(), 2000)
    for argv in (["encode", "a.wav", "a.safetensors"], ["decode", "a.safetensors", "b.wav"]):
        paths = [str(tmp_path / name) for name in argv[1:]]
        main([argv[0], *paths, "--codec", str(folder)])
    assert soundfile.info(tmp_path / "b.wav").frames == n_samples


def test_what_cannot_be_coded_is_refused_in_one_line_and_leaves_no_file(song, tmp_path, capsys):
    folder, out = save(tmp_path / "codec"), tmp_path / "out.safetensors"
    nan, empty, text, cut = (tmp_path / f"{name}.wav" for name in ("nan", "empty", "text", "cut"))
    soundfile.write(nan, torch.full((9000,), float("nan")).numpy(), 2000, subtype="FLOAT")
    soundfile.write(empty, torch.zeros(0).numpy(), 2000)
    text.write_text("no music")
    soundfile.write(cut, torch.zeros(9000).numpy(), 2000)
    cut.write_bytes(cut.read_bytes()[:9000])
    half = tmp_path / "half.flac"  # its first second can be read
    half.write_bytes(song.read_bytes()[: song.stat().st_size // 2])
    codec = ["--codec", folder]
    assert "half.flac: cannot be decoded" in refused(capsys, "encode", half, out, *codec)
    assert "no such file" in refused(capsys, "encode", tmp_path / "none.wav", out, *codec)
    assert "NaN or infinite" in refused(capsys, "encode", nan, out, *codec)
    assert "no audio samples" in refused(capsys, "encode", empty, out, *codec)
    assert "cannot be decoded" in refused(capsys, "encode", text, out, *codec)
    assert "truncated" in refused(capsys, "encode", cut, out, *codec)
    assert "n_q is 9" in refused(capsys, "encode", song, out, *codec, "--n-q", 9)
    assert "no checkpoint at" in refused(capsys, "encode", song, out, "--codec", tmp_path / "no")
    assert "end the name" in refused(capsys, "encode", song, tmp_path / "out.bin", *codec)
    assert "no such folder" in refused(
        capsys, "encode", song, tmp_path / "a" / "b.safetensors", *codec
    )
    assert not list(tmp_path.glob("*out*"))
    out.write_text("precious")
    assert "--overwrite" in refused(capsys, "encode", song, out, *codec)
    assert out.read_text() == "precious"


def test_codes_that_cannot_be_decoded_are_refused_in_one_line_and_leave_no_file(
    song, tmp_path, capsys
):
    folder, other = save(tmp_path / "codec"), save(tmp_path / "other", seed=1)
    good, bad, out = (tmp_path / name for name in ("a.safetensors", "b.safetensors", "out.wav"))
    main(["encode", str(song), str(good), "--codec", str(folder)])
    message = refused(capsys, "decode", good, out, "--codec", other)
    assert load_codec(folder).identity() in message
    assert load_codec(other).identity() in message

    metadata = {
        "format": "musicgen_train codes 1", "codec_identity": load_codec(folder).identity(),
        "n_samples": "6402",
    }  # fmt: skip
    codes = load_file(good)["codes"].to(torch.int32)
    cases = {
        "no file of codes": lambda: bad.write_bytes(good.read_bytes()[:-100]),
        "holds no codes": lambda: save_file({"codes": codes}, bad),
        "codes lie in": lambda: save_file({"codes": codes + 16}, bad, metadata),
        "6402 samples take more than its 320 frames": lambda: save_file(
            {"codes": codes[..., 1:].contiguous()}, bad, metadata
        ),
        "1 samples are 1 frames": lambda: save_file(
            {"codes": codes}, bad, {**metadata, "n_samples": "1"}
        ),
        "999999999999999 samples take more": lambda: save_file(
            {"codes": codes}, bad, {**metadata, "n_samples": "9" * 15}
        ),
        "0 samples are 0 frames": lambda: save_file(
            {"codes": codes}, bad, {**metadata, "n_samples": "9" * 5000}
        ),
        "0 samples are": lambda: save_file(
            {"codes": codes}, bad, {**metadata, "n_samples": "-3"}
        ),
    }  # fmt: skip
    for expected, damage in cases.items():
        damage()
        assert expected in refused(capsys, "decode", bad, out, "--codec", folder)
    assert "end the name" in refused(
        capsys, "decode", good, tmp_path / "out.xyz", "--codec", folder
    )
    assert not list(tmp_path.glob("*out*"))


def test_help_is_fast_because_it_loads_no_heavy_library():
    code = (
        "import sys; from musicgen_train.compress import parser; parser().format_help();"
        "print(sorted({'torch', 'soundfile', 'safetensors', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
