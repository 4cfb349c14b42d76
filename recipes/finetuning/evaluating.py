"""How near both models are to the songs, and what they still make of general texts."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musicgen_train.whole_files import write_json
from recipes.finetuning.prompts import KINDS, Prompt, read_prompts
from recipes.finetuning.run_folder import remove, whole_folder
from recipes.finetuning.sampling import PROMPTS, SETS
from recipes.finetuning.stage import Stage, Work

if TYPE_CHECKING:
    from musicgen_train.evaluation.clips import ClipFile
    from musicgen_train.evaluation.heard_set import HeardSet
    from musicgen_train.evaluation.measurement import Measurement
    from musicgen_train.evaluation.measuring import Evaluation

MOST = 400  # segments of songs that are measured against
RESULT = "evaluation/metrics.json"


def settings_of(work: Work) -> dict[str, Any]:
    return {"most": MOST}


def run(work: Work) -> dict[str, Any]:
    folder = work.run / "evaluation"
    with whole_folder(folder / "songs") as songs:
        names = cut_songs(work, songs)
    prompts = read_prompts(work.run / PROMPTS)
    evaluation = listening(folder)
    try:
        rows, faults = measure(work, prompts, names, evaluation)
    finally:
        remove(folder / ".vectors")
    table = {
        "style": [row.to_json() for row in rows["style"]],
        "general": [row.to_json() for row in rows["general"]],
        "faults": faults,
        "held_out_clips": len(names["held_out"]),
        "clips": len(prompts) // len(KINDS),
    }
    write_json(work.run / RESULT, table)
    print_table(summary(table))
    return {"metrics": summary(table)}


def cut_songs(work: Work, folder: Path) -> dict[str, list[str]]:
    """Segments of songs as files, in `folder`/train and `folder`/held_out; their names."""
    from musicgen_train.data.index import load_index
    from musicgen_train.data.shards import ShardReader

    index = load_index(work.run / "dataset")
    reader, held = ShardReader(index), set(work.results["captions"]["held_out"])
    names: dict[str, list[str]] = {"train": [], "held_out": []}
    for row in range(len(index)):
        track = json.loads(reader.read(row, "json"))["track_id"]
        kind = "held_out" if track in held else "train"
        if len(names[kind]) < MOST:
            place = folder / kind / f"{index.key(row)}.flac"
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(reader.read(row, "flac"))
            names[kind].append(index.key(row))
    return names


def listening(folder: Path) -> Evaluation:
    """The judge, which needs no download, and a place for what it hears."""
    from musicgen_train.evaluation.embedders.judge import load_judge
    from musicgen_train.evaluation.embedders.judge_embedder import JudgeEmbedder
    from musicgen_train.evaluation.heard_cache import HeardCache
    from musicgen_train.evaluation.listeners import Listeners
    from musicgen_train.evaluation.measuring import Evaluation
    from musicgen_train.evaluation.protocol import Protocol
    from musicgen_train.evaluation.stages import Stages

    judge = JudgeEmbedder(load_judge())
    metrics = ("fad", "kad", "coverage", "text")
    protocol = Protocol("judge", metrics, ("judge",), "judge")
    listeners = Listeners(protocol, metrics, embedders=[judge], text_judge=judge)
    return Evaluation(folder, listeners, HeardCache(folder / "heard"), {}, Stages())


def measure(
    work: Work, prompts: Sequence[Prompt], names: dict[str, list[str]], evaluation: Evaluation
) -> tuple[dict[str, list[Measurement]], dict[str, Any]]:
    """Measurements of either kind of clips, and what is wrong with which."""
    from musicgen_train.evaluation.measuring import hear_sets

    files = clip_files(work, prompts, names)
    heard = hear_sets(files, evaluation)
    assert heard is not None, "one process hears all"
    rows = {"style": distances(heard, evaluation), "general": texts(heard, prompts, evaluation)}
    made = [title for title in files if title not in ("train", "held_out")]
    return rows, {title: heard[title].faults.to_json() for title in made}


def clip_files(
    work: Work, prompts: Sequence[Prompt], names: dict[str, list[str]]
) -> dict[str, list[ClipFile]]:
    """Every set of clips: songs, and what either model made of either kind of text."""
    from musicgen_train.evaluation.clips import ClipFile

    songs = work.run / "evaluation/songs"
    files = {
        kind: [ClipFile(n, songs / kind / f"{n}.flac", re.sub(r"_\d+$", "", n)) for n in found]
        for kind, found in names.items()
        if found
    }
    for side in SETS:
        for kind in KINDS:
            asked = [prompt for prompt in prompts if prompt.kind == kind]
            files[f"{side}, {kind}"] = [
                ClipFile(p.key, work.run / "samples" / side / f"{p.key}.flac", p.key) for p in asked
            ]
    return files


def distances(heard: dict[str, HeardSet], evaluation: Evaluation) -> list[Measurement]:
    """Of what was made for the songs' captions to the songs that were trained on."""
    from musicgen_train.evaluation.comparison import Comparison, System
    from musicgen_train.evaluation.scoring.distance import DistanceScorer

    systems = [System(side, side, heard[f"{side}, style"]) for side in SETS]
    comparison = Comparison(
        systems, reference=heard["train"], pairs=heard["train"], floor=heard.get("held_out")
    )
    folder = evaluation.output_dir / ".vectors"
    remove(folder)
    folder.mkdir(parents=True)
    judge, protocol = evaluation.listeners.embedders[0], evaluation.listeners.protocol
    return DistanceScorer(comparison, judge, protocol, folder).measurements(lambda share: None)


def texts(
    heard: dict[str, HeardSet], prompts: Sequence[Prompt], evaluation: Evaluation
) -> list[Measurement]:
    """Instrument and genre that the judge hears as general texts asked for."""
    from musicgen_train.evaluation.comparison import Comparison, System
    from musicgen_train.evaluation.comparison import Prompt as Asked
    from musicgen_train.evaluation.scoring.judged_text import JudgedTextScorer

    asked = {
        p.key: Asked(p.text, p.key, wanted={"instrument": p.instrument, "genre": p.genre})
        for p in prompts
        if p.kind == "general"
    }
    judge = evaluation.listeners.text_judge
    assert judge is not None, "listening() gives one"
    rows = []
    for side in SETS:
        own, real = heard[f"{side}, general"], heard["train"]
        comparison = Comparison([System(side, side, own)], real, real, prompts=asked)
        for row in JudgedTextScorer(comparison, judge).measurements():
            row.name = f"{row.name}.{side}"
            rows.append(row)
    return rows


def summary(table: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for each metric: before, after, and the end that real music or chance gives."""
    by_name = {row["name"]: row for row in [*table["style"], *table["general"]]}
    found = []
    for name, row in by_name.items():
        if not name.endswith(".before"):
            continue
        after = by_name[name.removesuffix(".before") + ".after"]
        text = name.startswith("text.")
        found.append({
            "name": name.removesuffix(".before"),
            "title": row["title"].split(",")[0],
            "of": "general texts" if text else "texts of the songs",
            "better": row["better"], "unit": row["unit"],
            "before": row["value"], "after": after["value"],
            "before_interval": row["interval"], "after_interval": after["interval"],
            "end": (after["others"].get("chance") if text else row["good_end"]),
            "end_is": "chance" if text else told(row["good_end_is"]),
            "n_clips": row["n_clips"],
        })  # fmt: skip
    return found


def told(end: str) -> str:
    """What the good end of a distance is, here."""
    from musicgen_train.evaluation.scoring.distance import REAL_TO_REAL

    return "songs kept out of training" if end == REAL_TO_REAL else end


def print_table(rows: Sequence[dict[str, Any]]) -> None:
    """The same on a terminal."""
    from rich.console import Console
    from rich.table import Table

    table = Table("", "before", "after", "for comparison", title="Measured by the judge")
    for row in rows:
        arrow = {"lower": "↓", "higher": "↑"}.get(row["better"], "")
        end = "" if row["end"] is None else f"{number(row['end'], row['unit'])} ({row['end_is']})"
        values = (number(row[side], row["unit"]) for side in SETS)
        table.add_row(f"{row['title']} {arrow}, {row['of']}", *values, end)
    Console().print(table)


def number(value: float | None, unit: str) -> str:
    """A value for people; – without one."""
    if value is None:
        return "–"
    return f"{value:.0%}" if unit == "share" else f"{value:.3g} {unit}".strip()


STAGE = Stage(
    "evaluate", "Measuring", ("captions", "samples"), (RESULT,), settings_of, run,
    leftovers=("evaluation",),
)  # fmt: skip
