"""Generate music from the command line: `python -m musicgen_train.generate --help`."""

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from musicgen_train.errors import UserError, exit_on_user_error

if TYPE_CHECKING:
    from torch import Tensor

    from musicgen_train.musicgen import MusicGen


def parser() -> argparse.ArgumentParser:
    """The options, in the order in which one meets them."""
    p = argparse.ArgumentParser(
        prog="python -m musicgen_train.generate",
        description="Generate music from texts, with a melody to follow or a prompt to continue.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = p.add_argument
    add("--checkpoint", required=True, help="folder, e.g. runs/demo/lm/model")
    add("--text", action="append", default=[], help="description; repeat for more; none: free")
    add("--melody", type=Path, help="audio file whose melody to follow")
    add("--prompt", type=Path, help="audio file to continue; it is part of the result")
    add("--prompt-duration", type=float, help="use only so many seconds of the prompt")
    add("--samples", type=int, default=1, help="pieces per text")
    add("--duration", type=float, help="seconds, the prompt included (default: the model's)")
    add("--seed", type=int, default=0, help="piece i has seed + i; the same seed, the same music")
    add("--output", type=Path, default=Path("outputs"), help="folder for the pieces")
    add("--format", default="wav", choices=["wav", "flac", "ogg", "mp3"], help="of the files")
    add("--strategy", default="loudness", choices=["loudness", "peak", "clip", "rms"], help="level")
    add("--cfg-coef", type=float, default=3.0, help="guidance: 1 none, more follows the text more")
    add("--top-k", type=int, default=250, help="sample from the k likeliest codes; 0: all")
    add("--top-p", type=float, default=0.0, help="if above 0, replaces top-k")
    add("--temperature", type=float, default=1.0, help="below 1 safer, above 1 wilder")
    add("--greedy", action="store_true", help="always take the likeliest code")
    add("--extend-stride", type=float, help="beyond the model's window, seconds to slide it by")
    add("--device", help="cpu, cuda, ... (default: a GPU if there is one)")
    return p


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    """Generate, write one file per piece and say where it is."""
    args = parser().parse_args(argv)
    if args.melody and args.prompt:
        raise UserError("--melody and --prompt together are not supported: choose one")
    if args.samples < 1:
        raise UserError(f"--samples {args.samples}: ask for at least 1")
    # Here, not above: torch takes seconds, and --help must not wait for it.
    from musicgen_train.data.audio import audio_write
    from musicgen_train.musicgen import MusicGen

    conditions = {name: read(getattr(args, name)) for name in ("melody", "prompt")}
    model = MusicGen.get_pretrained(args.checkpoint, device=args.device)
    model.set_generation_params(
        use_sampling=not args.greedy,
        top_k=args.top_k,
        top_p=args.top_p,
        temperature=args.temperature,
        duration=args.duration,
        cfg_coef=args.cfg_coef,
        extend_stride=args.extend_stride,
    )
    texts = [text for text in args.text or [""] for _ in range(args.samples)]
    wavs = run(model, texts, conditions, args)
    for i, (text, wav) in enumerate(zip(texts, wavs, strict=True)):
        stem = args.output / f"{i:02d}_{slug(text)}"
        path = audio_write(
            stem, wav.cpu(), model.sample_rate, format=args.format, strategy=args.strategy,
            loudness_compressor=True,
        )  # fmt: skip
        print(path)


def run(
    model: "MusicGen",
    texts: list[str],
    conditions: dict[str, "tuple[Tensor, int] | None"],
    args: argparse.Namespace,
) -> "Tensor":
    """Call the generation that the given conditions ask for: wav [B, C, N]."""
    options = {"progress": True, "seeds": [args.seed + i for i in range(len(texts))]}
    if conditions["melody"] is not None:
        wav, rate = conditions["melody"]
        return model.generate_with_chroma(texts, [wav] * len(texts), rate, **options)
    if conditions["prompt"] is not None:
        wav, rate = conditions["prompt"]
        if args.prompt_duration is not None:
            wav = wav[:, : round(args.prompt_duration * rate)]
        return model.generate_continuation(wav.expand(len(texts), -1, -1), rate, texts, **options)
    return model.generate(texts, **options)


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
