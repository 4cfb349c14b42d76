"""Generate music from the command line: `python -m musicgen_train.generate --help`."""

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from musicgen_train.adapters.options import HELP, parse_adapters
from musicgen_train.errors import UserError, exit_on_user_error
from musicgen_train.generation_params import GenerationParams, check_duration

if TYPE_CHECKING:
    from torch import Tensor

    from musicgen_train.musicgen import MusicGen

STDOUT = Path("-")


def parser() -> argparse.ArgumentParser:
    """The options, in the order in which one meets them."""
    p = argparse.ArgumentParser(
        prog="python -m musicgen_train.generate",
        description="Generate music from texts, with a melody to follow or a prompt to continue.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = p.add_argument
    add("--checkpoint", required=True,
        help="folder or file, e.g. runs/demo/lm/model; or a name: small, medium, melody, large, "
        "stereo-small, …, OWNER/REPOSITORY of the hub")  # fmt: skip
    add("--adapter", action="append", default=[], metavar="PATH[=WEIGHT]", help=HELP)
    add("--text", action="append", default=[], help="description; repeat for more; none: free")
    add("--negative-text", action="append", default=[],
        help="what the music should not be; one for all, or one per text")  # fmt: skip
    add("--melody", type=Path, help="audio file whose melody to follow")
    add("--separator", help="take drums and bass out of the melody: htdemucs, or its folder")
    add("--prompt", type=Path, help="audio file to continue; it is part of the result")
    add("--prompt-duration", type=float, help="use only so many seconds of the prompt")
    add("--samples", type=int, default=1, help="pieces per text")
    add("--duration", type=float, action="append", default=[],
        help="seconds, the prompt included; one for all, or one per text (none: the model's)",
    )  # fmt: skip
    add("--seed", type=int, default=0, help="piece i has seed + i; the same seed, the same music")
    add("--output", type=Path, default=Path("outputs"),
        help="folder for the pieces, each with its settings in a .json file; "
        "- streams one piece as WAV to stdout")  # fmt: skip
    add("--format", default="wav", choices=["wav", "flac", "ogg", "mp3"], help="of the files")
    add("--strategy", choices=["loudness", "peak", "clip", "rms"],
        help="how the level is set (none: loudness; streams: as the model made it)")  # fmt: skip
    add("--stream", action="store_true", help="write wav while generating: NAME.part.wav grows")
    add("--cfg-coef", type=float, default=3.0, help="guidance: 1 none, more follows the text more")
    add("--two-pass", action="store_true", help="guidance in two passes: less memory, more time")
    add("--top-k", type=int, default=250, help="sample from the k likeliest codes; 0: all")
    add("--top-p", type=float, default=0.0, help="if above 0, replaces top-k")
    add("--temperature", type=float, default=1.0, help="below 1 safer, above 1 wilder")
    add("--greedy", action="store_true", help="always take the likeliest code")
    add("--extend-stride", type=float, help="beyond the model's window, seconds to slide it by")
    add("--device", help="cpu, cuda, ... (default: a GPU if there is one)")
    add("--weights", default="float32", choices=["float32", "bfloat16", "float16", "int8"],
        help="precision: less is faster, a little less exact")  # fmt: skip
    add("--compile", action="store_true", help="faster steps after a slow first minute")
    return p


class Piece(NamedTuple):
    """One piece of music that is asked for."""

    text: str
    negative_text: str | None
    duration: float | None
    seed: int

    def path(self, args: argparse.Namespace) -> Path:
        """The file it becomes: named by its seed, so that it has the same name if made again."""
        from musicgen_train.sidecar import free_path

        named = args.output / f"{self.seed:02d}_{slug(self.text)}.{args.format}"
        return free_path(named, self.options(args))

    def options(self, args: argparse.Namespace) -> dict[str, Any]:
        """The options that ask for this piece alone."""
        own = {
            "text": [self.text] if self.text else [],
            "negative_text": [self.negative_text] if self.negative_text else [],
            "duration": [] if self.duration is None else [self.duration],
            "seed": self.seed,
            "samples": 1,
        }
        return {**vars(args), **own}


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    """Generate, write one file per piece and say where it is."""
    args = parser().parse_args(argv)
    try:
        run(check(args), args)
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def run(pieces: list[Piece], args: argparse.Namespace) -> None:
    """Load what is needed, then generate and write."""
    # Here, not above: torch takes seconds, and --help must not wait for it.
    from musicgen_train.data.audio import check_format
    from musicgen_train.musicgen import MusicGen

    sounds = {name: read(getattr(args, name)) for name in ("melody", "prompt")}
    model = MusicGen.get_pretrained(
        args.checkpoint,
        device=args.device,
        weights=args.weights,
        compile=args.compile,
        adapters=parse_adapters(args.adapter),
    )
    model.set_generation_params(**parameters(args))
    check_format(args.format, model.sample_rate, model.audio_channels)
    conditions = conditions_of(pieces, sounds, args)
    if args.stream or args.output == STDOUT:
        stream(model, pieces, conditions, args)
    else:
        write(model, pieces, conditions, args)


def check(args: argparse.Namespace) -> list[Piece]:
    """The pieces that are asked for; refuses what cannot work before anything is loaded."""
    for name, value in vars(args).items():
        check_text(f"--{name.replace('_', '-')}", value)
    if args.melody and args.prompt:
        raise UserError("--melody and --prompt together are not supported: choose one")
    for option, other in (("separator", "melody"), ("prompt_duration", "prompt")):
        if getattr(args, option) is not None and getattr(args, other) is None:
            raise UserError(f"--{option.replace('_', '-')} without --{other}: add one, or leave it")
    if args.prompt_duration is not None:
        check_duration(args.prompt_duration)
    for path in (args.melody, args.prompt):
        if path is not None and not path.is_file():
            raise UserError(f"{path}: no such audio file; check the path")
    if args.samples < 1:
        raise UserError(f"--samples {args.samples}: ask for at least 1")
    for duration in args.duration:
        check_duration(duration)
    GenerationParams(**parameters(args))
    texts = args.text or [""]
    per_text = zip(
        texts,
        one_each("--negative-text", args.negative_text, len(texts)),
        one_each("--duration", args.duration, len(texts)),
        strict=True,
    )
    each = [row for row in per_text for _ in range(args.samples)]
    pieces = [Piece(*row, seed=args.seed + i) for i, row in enumerate(each)]
    check_output(pieces, args)
    parse_adapters(args.adapter)
    return pieces


def check_text(option: str, value: Any) -> None:
    """Refuse bytes that are no text: the settings beside the music could not be written."""
    for word in value if isinstance(value, list) else [value]:
        try:
            str(word).encode()
        except UnicodeEncodeError:
            raise UserError(f"{option} {str(word)!a}: is not UTF-8; type it anew") from None


def one_each(option: str, values: list[Any], n_texts: int) -> list[Any]:
    """What was said once, or once per text, for every text."""
    if len(values) not in (0, 1, n_texts):
        raise UserError(f"{len(values)} {option} for {n_texts} texts: give one, or one each")
    values = values or [None]
    return values * n_texts if len(values) == 1 else values


def check_output(pieces: list[Piece], args: argparse.Namespace) -> None:
    """Refuse an output that could not be written, or not while it is generated."""
    if args.output.is_file():
        raise UserError(f"--output {args.output} is a file: name a folder")
    if args.output == STDOUT and len(pieces) > 1:
        raise UserError(f"--output - takes one piece, not {len(pieces)}: name a folder")
    if args.output == STDOUT and sys.stdout is None:
        raise UserError("--output - without a stdout: leave it open, or name a folder")
    if args.output == STDOUT and sys.stdout.isatty():
        raise UserError("--output - would write WAV to the terminal: pipe it into a player or file")
    if args.stream or args.output == STDOUT:
        check_stream(pieces, args)
    if args.output != STDOUT:
        check_folder(args.output)


def check_stream(pieces: list[Piece], args: argparse.Namespace) -> None:
    """Refuse what cannot be written while it is generated."""
    if args.format != "wav" or args.strategy is not None:
        raise UserError("a stream is wav at the model's own level: leave --format and --strategy")
    if len({piece.duration for piece in pieces}) > 1:
        raise UserError(
            "pieces of different --duration cannot be streamed together: leave --stream"
        )


def check_folder(folder: Path) -> None:
    """Refuse a folder that no file can be written in; nothing that is tried here stays."""
    missing = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            file.write(b"music")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UserError(
            f"--output {folder}: cannot be written ({reason}); name another folder"
        ) from None
    finally:
        for path in missing:
            with suppress(OSError):
                path.rmdir()


def parameters(args: argparse.Namespace) -> dict[str, Any]:
    """The keywords of `set_generation_params`."""
    return {
        "use_sampling": not args.greedy,
        "top_k": args.top_k,
        "top_p": args.top_p,
        "temperature": args.temperature,
        "duration": max(args.duration, default=None),
        "cfg_coef": args.cfg_coef,
        "two_step_cfg": args.two_pass,
        "extend_stride": args.extend_stride,
    }


def conditions_of(
    pieces: list[Piece], sounds: "dict[str, tuple[Tensor, int] | None]", args: argparse.Namespace
) -> dict[str, Any]:
    """Keywords of the generation that hold for any number of pieces, melody and prompt included."""
    conditions: dict[str, Any] = {"seeds": [piece.seed for piece in pieces], "progress": True}
    if any(piece.negative_text for piece in pieces):
        conditions["negative_descriptions"] = [piece.negative_text for piece in pieces]
    if sounds["melody"] is not None:
        wav, rate = sounds["melody"]
        conditions |= {"melody_wavs": [wav] * len(pieces), "melody_sample_rate": rate}
        conditions["separator"] = args.separator
    if sounds["prompt"] is not None:
        wav, rate = sounds["prompt"]
        if args.prompt_duration is not None:
            wav = wav[:, : max(1, round(args.prompt_duration * rate))]
        conditions |= {"prompt": wav.expand(len(pieces), -1, -1), "prompt_sample_rate": rate}
    return conditions


def write(
    model: "MusicGen", pieces: list[Piece], conditions: dict[str, Any], args: argparse.Namespace
) -> None:
    """Generate everything, then level and write it."""
    from musicgen_train.data.audio import audio_write
    from musicgen_train.sidecar import write_sidecar

    texts = [piece.text for piece in pieces]
    if args.duration:
        conditions["durations"] = [piece.duration for piece in pieces]
    if "melody_wavs" in conditions:
        wavs = model.generate_with_chroma(texts, **conditions)
    elif "prompt" in conditions:
        wavs = model.generate_continuation(descriptions=texts, **conditions)
    else:
        wavs = model.generate(texts, **conditions)
    for piece, wav in zip(pieces, wavs, strict=True):
        path = audio_write(
            piece.path(args), wav.cpu(), model.sample_rate, format=args.format,
            strategy=args.strategy or "loudness", loudness_compressor=True, add_suffix=False,
        )  # fmt: skip
        write_sidecar(path, parser(), piece.options(args), str(model.device))
        print(path)


def stream(
    model: "MusicGen", pieces: list[Piece], conditions: dict[str, Any], args: argparse.Namespace
) -> None:
    """Write what is generated at once, to stdout or to files that grow."""
    from musicgen_train.decoding import decoded_length
    from musicgen_train.generation_params import frames_in
    from musicgen_train.sidecar import write_sidecar
    from musicgen_train.wav_stream import WavStream, growing, part_of

    n_samples = decoded_length(model.codec, frames_in(model.duration, model.frame_rate))
    shape = (model.sample_rate, model.audio_channels, n_samples)
    chunks = model.generate_stream([piece.text for piece in pieces], **conditions)
    if args.output == STDOUT:
        with closing(chunks), quiet_stdout():
            target = WavStream(sys.stdout.buffer, *shape)
            for chunk in chunks:
                target.write(chunk[0])
        return
    paths = [piece.path(args) for piece in pieces]
    with closing(chunks), ExitStack() as files:
        targets = [WavStream(files.enter_context(growing(path)), *shape) for path in paths]
        for path in paths:
            print(f"growing: {part_of(path)}", file=sys.stderr)
        for chunk in chunks:
            for target, wav in zip(targets, chunk, strict=True):
                target.write(wav)
    for piece, path in zip(pieces, paths, strict=True):
        write_sidecar(path, parser(), piece.options(args), str(model.device))
        print(path)


@contextmanager
def quiet_stdout() -> Iterator[None]:
    """If stdout takes no more, one error is enough."""
    try:
        yield
    except UserError:
        # Python flushes once more when it ends: to nobody, quietly.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def read(path: Path | None) -> "tuple[Tensor, int] | None":
    """An audio file's wav [C, N] and sample rate; None without a file."""
    if path is None:
        return None
    from musicgen_train.data.audio import read_audio

    return read_audio(path)


def slug(text: str) -> str:
    """A short file name for a description."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].rstrip("-") or "music"


if __name__ == "__main__":
    main()
