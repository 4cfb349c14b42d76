"""Export a checkpoint to another layout: `python -m musicgen_train.export --help`."""

import argparse
from pathlib import Path

from musicgen_train.errors import UserError, exit_on_user_error


def parser() -> argparse.ArgumentParser:
    """The options."""
    p = argparse.ArgumentParser(
        prog="python -m musicgen_train.export",
        description="Write a codec in the layout of audiocraft, of transformers, or our own.",
    )
    add = p.add_argument
    add(
        "--checkpoint", required=True,
        help="a folder of any of these layouts, or a name of the hub like facebook/encodec_32khz",
    )  # fmt: skip
    add("--format", required=True, choices=["audiocraft", "transformers", "native"])
    add("--output", required=True, type=Path, help="a new folder")
    add(
        "--pointer", action="store_true",
        help="audiocraft only: write the codec's name on the hub instead of its weights",
    )  # fmt: skip
    return p


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    """Export and say what was written."""
    args = parser().parse_args(argv)
    if args.pointer and args.format != "audiocraft":
        raise UserError("--pointer is for --format audiocraft: leave it out")
    if args.output.exists() and (not args.output.is_dir() or any(args.output.iterdir())):
        raise UserError(f"--output {args.output} exists and is not empty: name a new folder")
    try:
        if args.pointer:
            export_pointer(args.checkpoint, args.output)
        else:
            export_codec(args.checkpoint, args.format, args.output)
    except OSError as error:
        raise UserError(f"--output {args.output} cannot be written ({error})") from None
    print(f"codec: {', '.join(str(path) for path in sorted(args.output.iterdir()))}")


def export_codec(checkpoint: str, layout: str, output: Path) -> None:
    """Write the codec of a checkpoint."""
    # Here, not above: torch takes seconds, and --help must not wait for it.
    from musicgen_train import formats

    codec = formats.load_codec(checkpoint)
    if layout == "audiocraft":
        formats.save_audiocraft_codec(codec, output)
    elif layout == "transformers":
        formats.save_transformers_codec(codec, output)
    else:
        formats.save_codec(codec, output)


def export_pointer(checkpoint: str, output: Path) -> None:
    """Write a pointer to a codec of the hub; nothing is downloaded."""
    from musicgen_train.formats import save_audiocraft_pointer
    from musicgen_train.formats.hub import hub_id

    if (name := hub_id(checkpoint)) is None or Path(checkpoint).exists():
        raise UserError(f"--pointer needs a name of the hub, not {checkpoint}: leave it out")
    save_audiocraft_pointer(name, output)


if __name__ == "__main__":
    main()
