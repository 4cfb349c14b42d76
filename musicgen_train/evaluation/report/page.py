"""The static HTML report of an evaluation: players, pictures, metrics, curves, configuration."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from musicgen_train.data.audio import read_audio, replacing
from musicgen_train.evaluation.measurement import Measurement
from musicgen_train.evaluation.metrics_file import read_metrics
from musicgen_train.evaluation.report.codec_report import codec_sections, fidelity_note
from musicgen_train.evaluation.report.plots import (
    brightest,
    display_mel,
    plot_chroma,
    plot_curves,
    plot_spectrogram,
)
from musicgen_train.evaluation.report.training_runs import run_config, run_logs
from musicgen_train.evaluation.report.verdicts import format_value, grade, summary, weak_points

VERSION_TITLES = {
    "reference": "Reference",
    "reconstruction": "Through the codec",
    "text": "From the text",
    "melody_source": "Melody as the model gets it",
    "melody": "From text and melody",
    "untrained": "Untrained model, same text",
    "generated": "Generated",
}
GROUP_TITLES = {
    "codec": "Codec",
    "lm": "Language model",
    "fad": "Distance to real music (FAD over the judge's embedding)",
    "kl": "What is heard, beside the real clip of the same text (KL over the judge's labels)",
    "text": "Does it sound like the text?",
    "chroma": "Does it follow the melody?",
}
ARROWS = {
    "lower": ("↓", "lower is better"),
    "higher": ("↑", "higher is better"),
    "neither": ("", ""),
}


def write_report(
    evaluation_dir: Path | str,
    report_dir: Path | str,
    title: str = "Evaluation",
    curves: Sequence[tuple[str, Path | str]] = (),
    configs: Mapping[str, str] | None = None,
    timings: Mapping[str, float] | None = None,
    hint: str = "",
    n_cards: int = 6,
) -> Path:
    """Turn the folder that evaluate.py wrote into `report_dir`/index.html and return its path.

    `curves` are (title, run folder or metrics.csv of a Lightning CSVLogger), `configs` YAML by
    name beside those of the run folders, `timings` seconds by stage. Everything
    shown is copied, so the folder can be moved or sent.
    """
    evaluation_dir, report_dir = Path(evaluation_dir), Path(report_dir)
    assert report_dir.resolve() != evaluation_dir.resolve(), f"both are {report_dir}"
    results = read_metrics(evaluation_dir)
    for folder in ("audio", "plots"):  # an earlier report's clips must not stay behind
        shutil.rmtree(report_dir / folder, ignore_errors=True)
    report_dir.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(evaluation_dir / "metrics.json", report_dir / "metrics.json")
    page = _template().render(
        title=title,
        hint=hint,
        cards=_cards(evaluation_dir, report_dir, results["clips"][:n_cards]),
        curves=_curves(report_dir, curves),
        timings=[(name, format_seconds(spent)) for name, spent in (timings or {}).items()],
        configs=[*(configs or {}).items(), *_run_configs(curves)],
        codec=codec_sections(evaluation_dir, report_dir, results),
        **_findings(results),
    )
    with replacing(report_dir / "index.html") as partial:
        partial.write_text(page)
    return report_dir / "index.html"


def _findings(results: dict[str, Any]) -> dict[str, Any]:
    """What the page says of the figures in metrics.json."""
    rows = [Measurement(**{**row, "value": _number(row["value"])}) for row in results["metrics"]]
    return {
        "subtitle": results["subtitle"],
        "summary": summary(rows),
        "weak": weak_points(rows, results["faults"]),
        "groups": _groups(rows),
        "judged": any(row.name.startswith(("fad", "kl", "text")) for row in rows),
        "judge": judge_sentence(results["settings"].get("judge_training", {})),
        **{key: _pretty(results[key]) for key in ("settings", "versions", "faults")},
    }


def judge_sentence(training: Mapping[str, Any]) -> str:
    """How well the judge hears, or "" if its training record does not say."""
    heads = training.get("held_out") or {}
    if not heads:
        return ""
    listed = ", ".join(
        f"{head} {row['accuracy']:.0%} (chance {row['chance']:.0%})" for head, row in heads.items()
    )
    return f"On pieces of the demo corpus that it had not heard, it was right about: {listed}."


def format_seconds(seconds: float) -> str:
    """93.4 -> "1 min 33 s"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def _template() -> Any:
    import jinja2

    folder = Path(__file__).parent / "templates"
    loader = jinja2.FileSystemLoader(folder)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("report.html.jinja")


def _cards(source: Path, report: Path, clips: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One card per prompt, its audio copied and its pictures drawn."""
    chroma_file = source / "chroma.npz"
    chroma = dict(np.load(chroma_file, allow_pickle=False)) if chroma_file.is_file() else {}
    return [_card(source, report, clip, chroma) for clip in clips]


def _card(
    source: Path, report: Path, clip: dict[str, Any], chroma: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    card = {
        "description": clip["description"] or clip["key"],
        "wanted": [value for value in clip.get("wanted", {}).values() if value],
        "versions": _versions(source, report, clip),
        "chroma": "",
        "chroma_note": "",
    }
    asked, heard = (chroma.get(f"{clip['key']}.{side}") for side in ("asked", "heard"))
    if asked is not None and heard is not None:
        picture = report / "plots" / "chroma" / f"{clip['key']}.png"
        plot_chroma(torch.from_numpy(asked), torch.from_numpy(heard), picture)
        card["chroma"] = picture.relative_to(report).as_posix()
        agreement = clip.get("chroma_agreement")
        if agreement is not None:
            card["chroma_note"] = f"same dominant pitch class in {agreement:.0%} of the frames"
    return card


def _versions(source: Path, report: Path, clip: Mapping[str, Any]) -> list[dict[str, str]]:
    """Copy and draw every version of a clip."""
    versions, mels = [], {}
    for kind, relative in clip["audio"].items():
        target = report / "audio" / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / "audio" / relative, target)
        mels[kind] = display_mel(*read_audio(target))
    tops = {kind: brightest(mel) for kind, mel in mels.items()}
    if "fidelity" in clip:  # a copy is compared with its original: on one scale
        tops = dict.fromkeys(tops, max(tops.values()))
    for kind, relative in clip["audio"].items():
        picture = (report / "plots" / relative).with_suffix(".png")
        plot_spectrogram(mels[kind], tops[kind], picture)
        versions.append(
            {
                "title": VERSION_TITLES.get(kind, kind),
                "note": _note(clip, kind),
                "audio": f"audio/{relative}",
                "picture": picture.relative_to(report).as_posix(),
            }
        )
    return versions


def _note(clip: Mapping[str, Any], kind: str) -> str:
    """What was measured or heard in one version of a clip."""
    if "fidelity" in clip:
        copied = kind == "reconstruction"
        return fidelity_note(clip["fidelity"]) if copied else f"{clip['duration']:.1f} s"
    labels = clip.get("heard", {}).get(kind)
    return f"judge hears: {', '.join(labels.values())}" if labels else ""


def _groups(rows: Sequence[Measurement]) -> list[dict[str, Any]]:
    """Table rows under the title that the first part of their name stands for."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row.name.split(".")[0], []).append(_table_row(row))
    return [{"title": GROUP_TITLES.get(name, name), "rows": rows} for name, rows in groups.items()]


def _table_row(row: Measurement) -> dict[str, Any]:
    position = row.position()
    arrow, meaning = ARROWS[row.better]

    def end(value: float | None) -> str:
        return "–" if value is None else format_value(value, row.unit)

    others = (f"{name}: {format_value(value, row.unit)}" for name, value in row.others.items())
    return {
        "title": row.title,
        "value": format_value(row.value, row.unit),
        "arrow": arrow,
        "arrow_meaning": meaning,
        "good_end": end(row.good_end),
        "good_end_is": row.good_end_is,
        "bad_end": end(row.bad_end),
        "bad_end_is": row.bad_end_is,
        "percent": None if position is None else round(100 * position),
        "grade": grade(row),
        "others": " · ".join(others),
        "n_clips": row.n_clips,
        "n_vectors": row.n_vectors,
    }


def _curves(report: Path, curves: Sequence[tuple[str, Path | str]]) -> list[dict[str, str]]:
    shown = []
    for number, (title, path) in enumerate(curves):
        picture = report / "plots" / f"curve{number}.png"
        if plot_curves(run_logs(path), picture):
            shown.append({"title": title, "picture": picture.relative_to(report).as_posix()})
    return shown


def _run_configs(curves: Sequence[tuple[str, Path | str]]) -> list[tuple[str, str]]:
    found = [(title, run_config(path)) for title, path in curves]
    return [(title, text) for title, text in found if text is not None]


def _number(value: float | None) -> float:
    """JSON's null stands for a value that could not be computed."""
    return math.nan if value is None else value


def _pretty(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
