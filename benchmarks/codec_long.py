"""Coding of long audio piece by piece: its memory, and its agreement with coding in one call.

python -m benchmarks.codec_long [--preset tiny --minutes 1 10 60 --output FILE.json]
python -m benchmarks.codec_long --agreement 60 --preset 32khz

Audio is made second by second and dropped, so the peak is the codec's; each length has a process
of its own. Agreement compares codes and audio away from 1 s at either end, and with them.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

from benchmarks.codec_models import PRESETS, folded_codec, seconds_of_music
from benchmarks.memory import in_fresh_process, peak_mib
from musicgen_train.whole_files import write_json


def stream(preset: str, minutes: float) -> dict[str, float]:
    """Encode and decode so many minutes without keeping any: peak memory and speed."""
    from musicgen_train.codec.streaming import decode_stream, encode_stream

    codec = folded_codec(preset)
    before, began = peak_mib(), time.perf_counter()
    blocks = seconds_of_music(round(60 * minutes), codec.sample_rate)
    n_samples = sum(wav.shape[-1] for wav in decode_stream(codec, encode_stream(codec, blocks)))
    elapsed = time.perf_counter() - began
    return {
        "minutes": n_samples / codec.sample_rate / 60,
        "peak_mib_before": before,
        "peak_mib": peak_mib(),
        "times_real_time": n_samples / codec.sample_rate / elapsed,
    }


def agreement(preset: str, n_seconds: int) -> dict[str, float]:
    """Share of codes, and largest difference of audio, between streamed and one-shot coding."""
    import torch

    from musicgen_train.codec.streaming import Piece, decode_stream, encode_stream

    codec = folded_codec(preset)
    blocks = list(seconds_of_music(n_seconds, codec.sample_rate))
    codes = codec.encode(torch.cat(blocks, -1))
    streamed = torch.cat([piece.codes for piece in encode_stream(codec, blocks)], -1)
    wav = codec.decode(codes)
    pieces = [Piece(part) for part in codes.split(int(codec.frame_rate), -1)]
    end = int(codec.frame_rate)
    same = (codes == streamed).float()
    return {
        "seconds": n_seconds,
        "codes_compared": codes.numel(),
        "codes_equal": same.mean().item(),
        "codes_equal_away_from_ends": same[..., end:-end].mean().item(),
        "codes_used_q0": codes[:, 0].unique().numel(),
        "wav_peak": wav.abs().max().item(),
        "wav_max_difference": (torch.cat([*decode_stream(codec, pieces)], -1) - wav)
        .abs()
        .max()
        .item(),
    }


def print_table(rows: list[dict[str, float]]) -> None:
    for row in rows:
        print("  ".join(f"{name} {value:.6g}" for name, value in row.items()))


def main() -> None:
    """Measure, print a table and JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--preset", choices=PRESETS, default="tiny")
    add("--minutes", type=float, nargs="+", default=[1, 10, 60])
    add("--agreement", type=int, metavar="SECONDS", help="measure agreement instead of memory")
    add("--output", type=Path, help="also write the JSON to this file")
    args = parser.parse_args()
    result: dict[str, Any] = {"preset": args.preset}
    if args.agreement:
        result["agreement"] = [agreement(args.preset, args.agreement)]
        print_table(result["agreement"])
    else:
        result["memory"] = [in_fresh_process(stream, args.preset, m) for m in args.minutes]
        print_table(result["memory"])
    print(json.dumps(result))
    if args.output:
        write_json(args.output, result)


if __name__ == "__main__":
    main()
