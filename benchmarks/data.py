"""Preparing, tokenising and loading data: how fast, beside webdataset where it does the same.

python -m benchmarks.data [--minutes 10 --rounds 5 --workers 2 --output FILE.json]
"""

import argparse
import json
import tempfile
from pathlib import Path

from benchmarks import data_loading, data_preparing


def main() -> None:
    """Measure, print, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="of music to prepare")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2, help="of the loaders")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results = {
            "loading": data_loading.measure(folder, arguments.rounds, arguments.workers),
            "preparing": data_preparing.measure(folder, arguments.minutes, arguments.rounds),
        }
    for part in results.values():
        for name, value in part.items():
            print(f"{name}: {value}")
    if arguments.output:
        arguments.output.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
