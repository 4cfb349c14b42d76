"""Songs become vocal-free segments, with what is known and estimated of them."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from musicgen_train.errors import UserError
from recipes.finetuning.commands import show
from recipes.finetuning.run_folder import json_lines
from recipes.finetuning.stage import Stage, Work

FALLBACK = {"window": 16384, "hop": 4096}  # of chroma that no base asks for
POLL = 1.0  # seconds


def arguments(work: Work) -> dict[str, Any]:
    """What data_prep.prepare is asked for, apart from where it works."""
    settings, codec = work.settings, work.base.codec
    heard = work.base.chroma or FALLBACK
    return {
        "sample_rate": codec.sample_rate,
        "channels": codec.channels,
        "segment_duration": work.expected.segment_duration,
        "min_duration": min(settings.min_duration, work.expected.segment_duration),
        "separator": work.separator,
        "demucs_model": settings.demucs_model,
        "chroma_window": heard["window"],
        "chroma_hop": heard["hop"],
        "estimates": True,
        "clap_model": settings.clap_model,
        "metadata": settings.metadata,
        "exclude_tags": settings.exclude_tags,
        "valid_fraction": 0.0,  # songs are kept out when they are captioned
        "test_fraction": 0.0,
    }


def needs_device(work: Work) -> bool:
    """Whether a GPU has something to do."""
    return work.separator == "demucs" or work.settings.clap_model is not None


def settings_of(work: Work) -> dict[str, Any]:
    table = work.settings.metadata
    digest = None if table is None else hashlib.sha256(Path(table).read_bytes()).hexdigest()[:16]
    return {**arguments(work), "songs": work.songs.stamp, "metadata_table": digest}


def run(work: Work) -> dict[str, Any]:
    from data_prep.prepare import prepare, summary

    output, settings = work.run / "dataset", work.settings
    asked = {
        **arguments(work),
        "demucs_repo": settings.demucs_repo,
        "work_dir": str(work.run / "work"),
        "num_workers": work.workers,
        "device": work.device.kind if needs_device(work) else "cpu",
    }
    show("python -m data_prep.prepare", {
        "input_dir": settings.input_dir, "output_dir": str(output), **asked,
    })  # fmt: skip
    with watched(work):
        try:
            info = prepare(settings.input_dir, output, **asked)
        except UserError as error:
            if not (hint := _hint(str(error), work.separator)):
                raise
            raise UserError(f"{error}{hint}") from None
    print(summary(info, output))
    work.status.songs(song_states(work))
    return {"fingerprint": info["fingerprint"], "hours": info["hours"], "samples": info["samples"]}


def _hint(message: str, separator: str) -> str:
    """What may be behind songs of which nothing is left."""
    silent = "no segment is long and loud enough" in message
    if silent and separator in ("demucs", "stems"):
        return "; without their vocals nothing is left of them: use separator=none to keep these"
    return ""


@contextmanager
def watched(work: Work) -> Iterator[None]:
    """Tell in status.json which songs are through, while they are worked on."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(POLL):
            states = song_states(work)
            share = sum(state["state"] != "waiting" for state in states) / len(states)
            work.status.content["songs"] = states
            work.status.progress(share)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def song_states(work: Work) -> list[dict[str, str]]:
    """Each song: waiting, prepared, or failed or filtered for a reason."""
    finished = (work.run / "dataset").is_dir()
    done = set(work.songs.names) if finished else _noted(work.run / "work/digests.jsonl")
    rows = json_lines(work.run / "dataset/failures.jsonl") if finished else []
    faults = {row["file"]: row for row in rows}
    return [
        {
            "song": name,
            "state": faults[name]["status"] if name in faults
            else "prepared" if name in done else "waiting",
            "reason": faults[name]["reason"] if name in faults else "",
        }
        for name in work.songs.names
    ]  # fmt: skip


def _noted(journal: Path) -> set[str]:
    """Songs whose content the preparation has noted when it was through with them."""
    from data_prep.library import printable

    rows = json_lines(journal)
    return {printable(row[1]) for row in rows if isinstance(row, list) and len(row) > 1}


STAGE = Stage(
    "prepare", "Taking the vocals out and cutting the songs", (), ("dataset",), settings_of, run
)
