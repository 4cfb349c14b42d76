"""Audio files to codes and back: `python -m musicgen_train.compress --help`."""

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from musicgen_train.errors import UserError, exit_on_user_error

if TYPE_CHECKING:
    from torch import Tensor

    from musicgen_train.codec.encodec import Encodec
    from musicgen_train.coded_audio import CodedAudio

WRITABLE = ("wav", "flac", "ogg", "mp3")


def parser() -> argparse.ArgumentParser:
    """Two commands with the same options."""
    p = argparse.ArgumentParser(
        prog="python -m musicgen_train.compress",
        description="Code audio files of any length by a codec, and decode them, piece by piece.",
    )
    commands = p.add_subparsers(dest="command", required=True)
    encode = commands.add_parser("encode", help="audio file -> codes")
    encode.add_argument("input", type=Path, help="audio file of any rate and channels")
    encode.add_argument("output", type=Path, help="codes to write, *.safetensors")
    encode.add_argument("--n-q", type=int, help="use only so many codebooks (default: all)")
    decode = commands.add_parser("decode", help="codes -> audio file")
    decode.add_argument("input", type=Path, help="codes, *.safetensors")
    decode.add_argument("output", type=Path, help="audio to write: .wav, .flac, .ogg or .mp3")
    for command in (encode, decode):
        command.add_argument("--codec", required=True, help="codec folder or name")
        command.add_argument("--device", help="cpu, cuda, ... (default: a GPU if there is one)")
        command.add_argument("--overwrite", action="store_true", help="replace an existing output")
    return p


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    """Run the command and say what was written."""
    args = parser().parse_args(argv)
    check_paths(args.input, args.output, args.command, args.overwrite)
    # Here, not above: torch takes seconds, and --help must not wait for it.
    import torch

    from musicgen_train.codec.folding import fold_weight_norm
    from musicgen_train.coded_audio import read_codes, write_codes
    from musicgen_train.formats import load_encodec

    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    codec = fold_weight_norm(load_encodec(args.codec))
    try:
        codec.to(device)
    except (RuntimeError, AssertionError) as error:  # torch says so by either
        reason = str(error).splitlines()[0]
        raise UserError(f"--device {device} cannot be used ({reason}): try cpu") from None
    if args.command == "encode":
        coded = encode_file(args.input, codec, args.n_q)
        write_codes(args.output, coded, codec)
    else:
        coded = read_codes(args.input, codec)
        decode_file(coded, args.output, codec)
    _, K, T = coded.codes.shape
    duration = coded.n_samples / codec.sample_rate
    print(
        f"{args.output}: {duration:.2f} s, {K} codebooks x {T} frames of codec {codec.identity()}"
    )


def check_paths(source: Path, target: Path, command: str, overwrite: bool) -> None:
    """Refuse what would fail, or destroy a file, before anything is loaded."""
    if not source.is_file():
        raise UserError(f"{source}: no such file; check the path")
    if target.exists() and not overwrite:
        raise UserError(f"{target} exists: choose another name, or add --overwrite")
    if not target.absolute().parent.is_dir():
        raise UserError(f"{target.absolute().parent}: no such folder; make it first")
    kinds = WRITABLE if command == "decode" else ("safetensors",)
    if target.suffix[1:].lower() not in kinds:
        raise UserError(f"{target}: {command} writes .{', .'.join(kinds)}; end the name in that")


def encode_file(path: Path, codec: "Encodec", n_q: int | None = None) -> "CodedAudio":
    """Code an audio file of any rate and channels, holding a second of it at a time."""
    import torch

    from musicgen_train.codec.streaming import encode_stream
    from musicgen_train.coded_audio import CodedAudio
    from musicgen_train.data.audio_blocks import AudioBlocks

    audio = AudioBlocks(path, codec.sample_rate, codec.channels)
    n_samples = 0

    def blocks() -> "Iterator[Tensor]":
        nonlocal n_samples
        for block in shown(audio, audio.duration, codec.sample_rate, "encoding"):
            n_samples += block.shape[-1]
            yield block[None].to(codec.quantizer.codebooks[0].embed.device)

    pieces = list(encode_stream(codec, blocks(), n_q))
    if not pieces:
        raise UserError(f"{path}: holds less than one sample at {codec.sample_rate} Hz; leave it")
    scales = [piece.loudness.cpu() for piece in pieces if piece.loudness is not None]
    codes = torch.cat([piece.codes.cpu() for piece in pieces], -1)
    return CodedAudio(codes, torch.cat(scales, -1) if scales else None, n_samples)


def decode_file(coded: "CodedAudio", path: Path, codec: "Encodec") -> None:
    """Decode into an audio file, as long as the audio was, a second at a time."""
    from musicgen_train.codec.streaming import Piece, decode_stream
    from musicgen_train.data.audio_blocks import write_blocks

    device = codec.quantizer.codebooks[0].embed.device
    pieces = (
        Piece(codes.to(device), None if loudness is None else loudness.to(device))
        for codes, loudness in coded.pieces(codec)
    )
    wavs = (wav[0] for wav in decode_stream(codec, pieces))
    duration = coded.n_samples / codec.sample_rate
    blocks = shown(first(wavs, coded.n_samples), duration, codec.sample_rate, "decoding")
    write_blocks(path, blocks, codec.sample_rate, codec.channels)


def first(blocks: "Iterable[Tensor]", n_samples: int) -> "Iterator[Tensor]":
    """The first so many samples of blocks [C, n]."""
    for block in blocks:
        yield block[..., :n_samples]
        n_samples -= min(n_samples, block.shape[-1])


def shown(
    blocks: "Iterable[Tensor]", duration: float, sample_rate: int, label: str
) -> "Iterator[Tensor]":
    """The blocks, with a bar of the seconds done, and the time left, on a terminal."""
    from musicgen_train.progress import reporting

    n_samples = 0
    with reporting(None, sys.stderr.isatty(), label) as report:
        for block in blocks:
            yield block
            n_samples += block.shape[-1]
            report(n_samples // sample_rate, round(duration))


if __name__ == "__main__":
    main()
