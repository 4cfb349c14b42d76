"""The static HTML report of an evaluation: players, pictures, metrics, curves, configuration."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from musicgen_train.evaluation.measurement import Measurement
from musicgen_train.evaluation.report.cards import make_cards
from musicgen_train.evaluation.report.clip_scores import score_columns, score_sections, score_table
from musicgen_train.evaluation.report.codec_report import codec_sections
from musicgen_train.evaluation.report.families import parse_name
from musicgen_train.evaluation.report.gallery import Gallery
from musicgen_train.evaluation.report.long_form import long_form_section
from musicgen_train.evaluation.report.metric_tables import metric_groups
from musicgen_train.evaluation.report.number_text import format_seconds
from musicgen_train.evaluation.report.plots import plot_curves
from musicgen_train.evaluation.report.results import measurements, read_results
from musicgen_train.evaluation.report.training_runs import run_config, run_logs
from musicgen_train.evaluation.report.verdicts import summary, weak_points
from musicgen_train.whole_files import replacing


def write_report(
    evaluation_dir: Path | str,
    report_dir: Path | str,
    title: str = "Evaluation",
    curves: Sequence[tuple[str, Path | str]] = (),
    timings: Mapping[str, float] | None = None,
    hint: str = "",
    n_cards: int = 6,
) -> Path:
    """Turn the folder that evaluate.py wrote into `report_dir`/index.html and return its path.

    curves: (title, run folder or metrics.csv of a Lightning CSVLogger). timings: seconds by stage.
    Everything shown is copied, so the folder can be moved or sent.
    """
    evaluation_dir, report_dir = Path(evaluation_dir), Path(report_dir)
    assert report_dir.resolve() != evaluation_dir.resolve(), f"both are {report_dir}"
    results = read_results(evaluation_dir)
    for folder in ("audio", "plots"):  # an earlier report's clips must not stay behind
        shutil.rmtree(report_dir / folder, ignore_errors=True)
    report_dir.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(evaluation_dir / "metrics.json", report_dir / "metrics.json")
    rows, clips = measurements(results), results["clips"]
    gallery, columns = Gallery(evaluation_dir, report_dir), score_columns(rows, clips)
    page = page_template("report.html.jinja").render(
        title=title,
        hint=hint,
        cards=make_cards(clips[:n_cards], gallery),
        scores=score_sections(columns, clips, gallery),
        table=score_table(columns, clips, gallery),
        groups=metric_groups(rows, report_dir),
        long_form=long_form_section(results, rows, gallery),
        curves=_curves(report_dir, curves),
        timings=[(name, format_seconds(spent)) for name, spent in (timings or {}).items()],
        configs=_run_configs(curves),
        codec=codec_sections(evaluation_dir, report_dir, results),
        **_findings(results, rows),
    )
    with replacing(report_dir / "index.html") as partial:
        partial.write_text(page)
    return report_dir / "index.html"


def page_template(name: str) -> Any:
    """A page's template, all of whose values are escaped."""
    import jinja2

    folder = Path(__file__).parent / "templates"
    loader = jinja2.FileSystemLoader(folder)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template(name)


def judge_sentence(training: Mapping[str, Any]) -> str:
    """How well the judge hears, or "" if its training record does not say."""
    heads = training.get("held_out") or {}
    if not heads:
        return ""
    listed = ", ".join(
        f"{head} {row['accuracy']:.0%} (chance {row['chance']:.0%})" for head, row in heads.items()
    )
    return f"On pieces of the demo corpus that it had not heard, it was right about: {listed}."


def _findings(results: Mapping[str, Any], rows: Sequence[Measurement]) -> dict[str, Any]:
    """What the page says of the figures in metrics.json."""
    judged, settings = any(parse_name(row.name).by_judge for row in rows), results["settings"]
    return {
        "subtitle": results["subtitle"],
        "summary": summary(rows),
        "weak": weak_points(rows, results["faults"]),
        "judged": judged,
        "biased": any(r.interval and not r.interval[0] <= r.value <= r.interval[1] for r in rows),
        "judge": judge_sentence(settings.get("judge_training", {})) if judged else "",
        "not_measured": settings.get("not_measured", {}),
        **{key: _pretty(results[key]) for key in ("settings", "versions", "faults")},
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


def _pretty(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
