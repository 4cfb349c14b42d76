"""Export a checkpoint to another layout: `python -m musicgen_train.export --help`."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from musicgen_train.adapters.options import HELP, check_adapters, parse_adapters
from musicgen_train.errors import UserError, exit_on_user_error

if TYPE_CHECKING:
    from musicgen_train.formats.provenance import Provenance
    from musicgen_train.musicgen import MusicGen


def parser() -> argparse.ArgumentParser:
    """The options."""
    p = argparse.ArgumentParser(
        prog="python -m musicgen_train.export",
        description="Write a model or a codec in the layout of transformers, of audiocraft, or our "
        "own, with a model card, and check that the result computes the same.",
    )
    add = p.add_argument
    add(
        "checkpoint", metavar="CHECKPOINT",
        help="a folder of any of these layouts, a .ckpt of train.py, or a name of the hub like "
        "small or facebook/encodec_32khz",
    )  # fmt: skip
    add("output", metavar="OUT", type=Path, help="a new folder")
    add(
        "--adapter", action="append", default=[], metavar="PATH[=WEIGHT]",
        help=f"merge it into the model: {HELP}",
    )  # fmt: skip
    add("--format", required=True, choices=["native", "audiocraft", "transformers"])
    add(
        "--dtype", choices=["float32", "float16", "bfloat16"], default="float32",
        help="native only: of all weights but the codec's; the last two halve the file",
    )  # fmt: skip
    add(
        "--licence", "--license", metavar="TEXT",
        help="SPDX name like cc-by-nc-4.0, or a text; else what the checkpoint says, or unknown",
    )  # fmt: skip
    add("--codec-only", action="store_true", help="of a model, export the codec alone")
    add(
        "--codec-dtype", choices=["float32", "float16"], default="float32",
        help="a native codec alone: float16 rounds its weights and halves the file. It is another "
        "codec then, with other codes: round before tokenizing, not after",
    )  # fmt: skip
    add(
        "--without-melody", action="store_true",
        help="transformers only: of a model whose melody is added to its steps, for which "
        "transformers has no place, write what it does for texts alone",
    )  # fmt: skip
    add(
        "--pointer", action="store_true",
        help="a codec for audiocraft only: write its name on the hub instead of its weights",
    )  # fmt: skip
    return p


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    """Export and say what was written."""
    args = parser().parse_args(argv)
    _check(args)
    try:
        with exiting_on_sigterm(), appearing(args.output) as folder:
            kind, remarks = export(args, folder)
    except OSError as error:
        raise UserError(f"{args.output} cannot be written ({error})") from None
    names = ", ".join(str(path) for path in sorted(args.output.iterdir()))
    print("\n".join([f"{kind}: {names}", *remarks]))


def export(args: argparse.Namespace, folder: Path) -> tuple[str, list[str]]:
    """Write what the options ask for; return whether it is a model or a codec, and remarks."""
    # Here, not above: torch takes seconds, and --help must not wait for it.
    from musicgen_train.formats.checkpoint_kind import is_codec

    if args.format == "transformers":
        _silence_transformers()
    if args.pointer:
        export_pointer(args.checkpoint, folder)
        return "codec", []
    with reading(args.checkpoint):
        codec_alone = args.codec_only or is_codec(args.checkpoint)
    if codec_alone:
        return "codec", export_codec(args, folder)
    if args.codec_dtype != "float32":
        raise UserError(
            "--codec-dtype is for codecs: the language model of this one knows the codes of its "
            "codec as it is; round a codec before its codes are trained on, or add --codec-only"
        )
    return "model", export_musicgen(args, folder)


def export_musicgen(args: argparse.Namespace, folder: Path) -> list[str]:
    """Write the model of a checkpoint, its card and metrics; return what there is to say of it."""
    from musicgen_train import formats
    from musicgen_train.formats.half_precision import round_weights
    from musicgen_train.formats.model_card import musicgen_card
    from musicgen_train.formats.models import locate
    from musicgen_train.formats.verification import verify_musicgen

    with reading(args.checkpoint):
        model = formats.load_musicgen(args.checkpoint)
        source = _provenance(args, locate(args.checkpoint).path)
    for path, weight in parse_adapters(args.adapter).items():
        model.load_adapter(path, weight, name=path)
    remarks, notes, origin = [], [], None
    if model.merged_adapters:
        notes.append(f"adapters are merged into its weights: {model.merged_adapters}")
        source = source._replace(metrics=None)  # they are of the model without them
    if args.without_melody:
        origin, model = model, formats.without_melody(model)
        notes.append("its melody was left out: here the model follows texts alone")
    if args.format == "native":
        if args.dtype != "float32":
            remarks.append(round_weights(model, args.dtype))
        formats.save_musicgen(
            model, folder, dtype=args.dtype, licence=source.licence, training=source.training
        )
    elif args.format == "audiocraft":
        formats.save_audiocraft_musicgen(model, folder)
    else:
        formats.save_transformers_musicgen(model, folder)
        remarks += _melody_remarks(model)
    notes += _text_encoder_notes(model, args.format)
    _describe(folder, musicgen_card(model, args.format, args.output.name, source, notes), source)
    return [f"verified: {verify_musicgen(model, folder, args.format, origin)}", *remarks, *notes]


def export_codec(args: argparse.Namespace, folder: Path) -> list[str]:
    """Write the codec of a checkpoint and its card; return what there is to say of it."""
    from musicgen_train import formats
    from musicgen_train.codec.stereo import StereoCodec
    from musicgen_train.formats.half_precision import rounded_codec
    from musicgen_train.formats.model_card import codec_card
    from musicgen_train.formats.verification import verify_codec

    if args.without_melody:
        raise UserError("--without-melody is for models, this is a codec: leave it out")
    if args.adapter:
        raise UserError("--adapter is for models, this is a codec: leave it out")
    if args.dtype != "float32":
        raise UserError("--dtype is for models: a codec is rounded by --codec-dtype float16")
    with reading(args.checkpoint):
        codec = formats.load_codec(args.checkpoint)
        source = _provenance(args, _place_of_codec(args.checkpoint))
    notes = []
    before = codec.identity()
    if args.codec_dtype != "float32" and (codec := rounded_codec(codec)).identity() != before:
        notes = [
            f"its weights were rounded to float16, which made codec {codec.identity()} of codec "
            f"{before}: tokens of either do not fit the other"
        ]
    if args.format == "native":
        formats.save_codec(codec, folder)
    elif isinstance(codec, StereoCodec):
        raise UserError(f"{args.format} has no stereo codec of a mono one: export it as native")
    elif args.format == "audiocraft":
        formats.save_audiocraft_codec(codec, folder)
    else:
        formats.save_transformers_codec(codec, folder)
    _describe(folder, codec_card(codec, args.format, args.output.name, source, notes), source)
    return [f"verified: {verify_codec(codec, folder, args.format)}", *notes]


def export_pointer(checkpoint: str, folder: Path) -> None:
    """Write a pointer to a codec of the hub; nothing is downloaded."""
    from musicgen_train.formats import save_audiocraft_pointer
    from musicgen_train.formats.hub import hub_id

    if (name := hub_id(checkpoint)) is None or Path(checkpoint).exists():
        raise UserError(f"--pointer needs a name of the hub, not {checkpoint}: leave it out")
    save_audiocraft_pointer(name, folder)


@contextmanager
def appearing(output: Path) -> Iterator[Path]:
    """A new folder beside `output` that takes its name at the end, or leaves nothing behind."""
    made = [folder for folder in output.parents if not folder.exists()]
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
        try:
            yield temporary
            temporary.chmod(0o755)
            temporary.replace(output)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    finally:
        for folder in made:
            with suppress(OSError):  # one that is not empty stays, as it does if all went well
                folder.rmdir()


@contextmanager
def exiting_on_sigterm() -> Iterator[None]:
    """Let SIGTERM unwind the stack, as Ctrl-C does, so that what is half-written goes."""
    if threading.current_thread() is not threading.main_thread():  # others have no signals
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def reading(checkpoint: str) -> Iterator[None]:
    """Say of an `OSError` that it is the checkpoint that cannot be read."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{error.filename or checkpoint} cannot be read ({error.strerror or error}): check "
            "that it is whole and that you may read it"
        ) from None


def _check(args: argparse.Namespace) -> None:
    """Refuse what cannot be meant, before anything is loaded."""
    check_adapters(list(parse_adapters(args.adapter)))
    if args.pointer and args.format != "audiocraft":
        raise UserError("--pointer is for --format audiocraft: leave it out")
    if args.pointer and args.adapter:
        raise UserError("--adapter is for models, --pointer for codecs: leave one out")
    if args.dtype != "float32" and args.format != "native":
        raise UserError(f"--dtype is for --format native: {args.format} is written in float32")
    if args.codec_dtype != "float32" and args.format != "native":
        raise UserError("--codec-dtype is for --format native: export that again to another one")
    if args.without_melody and args.format != "transformers":
        raise UserError("--without-melody is for --format transformers: leave it out")
    if args.licence is not None and not 0 < len(args.licence.split()) <= 20:
        raise UserError("--licence is empty or long: give a name like MIT or cc-by-nc-4.0")
    output: Path = args.output
    if output.is_symlink():
        raise UserError(f"{output} is a link: name a new folder")
    if output.name in ("", ".."):
        raise UserError(f"{output} is no name of a new folder: give one")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"{output} exists and is not empty: name a new folder")


def _provenance(args: argparse.Namespace, path: Path) -> Provenance:
    """What the checkpoint says of itself, but for a licence that the user gives."""
    from musicgen_train.formats.provenance import read_provenance

    source = read_provenance(path)
    if args.licence is None:
        return source
    return source._replace(licence=" ".join(args.licence.split()))


def _place_of_codec(checkpoint: str) -> Path:
    """The file or folder that `load_codec` took the codec from."""
    from musicgen_train.formats.hub import fetch_codec, hub_id
    from musicgen_train.formats.native import ASSETS

    for place in (Path(checkpoint), ASSETS / checkpoint):
        if place.exists():
            return place
    repository = hub_id(checkpoint)
    assert repository is not None, f"{checkpoint} was loaded from nowhere"
    return fetch_codec(repository)  # by now from the cache


def _text_encoder_notes(model: MusicGen, layout: str) -> list[str]:
    """What there is to say of a T5 that the export names and does not hold."""
    from musicgen_train.conditioning.text import T5TextEncoder
    from musicgen_train.formats.audiocraft_lm_writing import describe_for_audiocraft
    from musicgen_train.formats.t5_identity import audiocraft_remark, native_identity

    encoder = model.text_encoder
    if not isinstance(encoder, T5TextEncoder) or layout == "transformers":
        return []
    if layout == "native":
        remark = native_identity(encoder.name_or_path).remark
    else:
        section = describe_for_audiocraft(model)["conditioners"].get("description")
        remark = audiocraft_remark(encoder, section["t5"]["name"]) if section else ""
    return [remark] if remark else []


def _describe(folder: Path, card: str, source: Provenance) -> None:
    """Put the model card, and the metrics if there are any, beside the weights."""
    (folder / "README.md").write_text(card)
    if source.metrics is not None:
        shutil.copyfile(source.metrics, folder / "metrics.json")


def _silence_transformers() -> None:
    """What it says while it loads is no news here; errors still are."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def _melody_remarks(model: MusicGen) -> list[str]:
    """A warning where the installed transformers would ignore the melody when it generates."""
    import transformers

    from musicgen_train.formats.transformers_lm import transformers_drops_melody

    version = transformers.__version__
    if model.chroma is None or not transformers_drops_melody(version):
        return []
    return [
        f"warning: transformers {version} ignores text and melody when a melody model generates: "
        "use 5.20 or later there"
    ]


if __name__ == "__main__":
    main()
