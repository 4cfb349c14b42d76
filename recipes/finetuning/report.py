"""The page that plays both models side by side and says what came of it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from recipes.finetuning.captions import read_captions, with_trigger
from recipes.finetuning.evaluating import RESULT, number, summary
from recipes.finetuning.findings import findings
from recipes.finetuning.prompts import Prompt, read_prompts
from recipes.finetuning.run_folder import read_json, whole_folder
from recipes.finetuning.sampling import PROMPTS, SETS
from recipes.finetuning.stage import Stage, Work
from recipes.finetuning.usage import commands

TEMPLATE = Path(__file__).with_name("report.html.jinja")
SECTIONS = {
    "style": ("Texts of the songs", "Before the training the trigger and the style mean nothing."),
    "general": ("General texts", "What the base could do before should still be there after."),
}


def settings_of(work: Work) -> dict[str, Any]:
    names = {"base": work.settings.base, "songs": work.songs.stamp}
    return {"shown": work.settings.shown, **names}  # also of songs of which nothing came


def run(work: Work) -> dict[str, Any]:
    with whole_folder(work.run / "report") as folder:
        page = render(work, folder)
        (folder / "index.html").write_text(page, encoding="utf-8")
    return {}


def render(work: Work, folder: Path) -> str:
    """The page, with its sounds and pictures copied beside it."""
    import jinja2

    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    style = files("musicgen_train.evaluation.report").joinpath("templates/style.css")
    settings, table = work.settings, read_json(work.run / RESULT)
    rows = summary(table)
    return template.render(
        style=style.read_text(encoding="utf-8"),
        name=settings.name,
        base=settings.base,
        method=settings.method,
        trigger=settings.trigger,
        date=time.strftime("%Y-%m-%d"),
        songs=songs_of(work),
        findings=findings(rows, table, work.results["captions"]["held_out"]),
        n_clips=table["clips"],
        n_held=table["held_out_clips"],
        duration=f"{work.expected.segment_duration:g}",
        rows=[row_words(row) for row in rows],
        sections=sections(work, folder),
        commands=commands(work),
        not_for_transformers=work.results["export"]["not_for_transformers"],
        record=record_of(work),
        curve=draw_curve(work, folder),
    )


def row_words(row: Mapping[str, Any]) -> dict[str, str]:
    """A metric as it is written."""
    words = {
        "title": row["title"], "of": row["of"],
        "arrow": {"lower": "↓", "higher": "↑"}.get(row["better"], ""),
        "end": "" if row["end"] is None else number(row["end"], row["unit"]),
        "end_is": "" if row["end"] is None else row["end_is"],
    }  # fmt: skip
    for side in SETS:
        words[side] = number(row[side], row["unit"])
        interval = row[f"{side}_interval"] or ()
        ends = ", ".join(number(value, row["unit"]) for value in interval)
        words[f"{side}_interval"] = f"[{ends}]" if ends else ""
    return words


def sections(work: Work, folder: Path) -> list[dict[str, Any]]:
    """The prompts of either kind with their clips: as many as are to be shown, of other texts."""
    prompts = read_prompts(work.run / PROMPTS)
    found = []
    for kind, (title, note) in SECTIONS.items():
        shown: dict[str, Prompt] = {}
        for prompt in prompts:
            if prompt.kind == kind and len(shown) < work.settings.shown:
                shown.setdefault(prompt.text, prompt)
        cards = [card(work, prompt, folder) for prompt in shown.values()]
        found.append({"kind": kind, "title": title, "note": note, "cards": cards})
    return found


def card(work: Work, prompt: Prompt, folder: Path) -> dict[str, Any]:
    """One prompt: before, after, and the song whose caption it is."""
    clips = work.run / "samples"
    versions = [("Before", clips / "before" / f"{prompt.key}.flac"),
                ("After", clips / "after" / f"{prompt.key}.flac")]  # fmt: skip
    if prompt.segment:
        songs = work.run / "evaluation/songs"
        found = [songs / kind / f"{prompt.segment}.flac" for kind in ("held_out", "train")]
        versions += [("The song", place) for place in found if place.is_file()][:1]
    note = f"seed {prompt.seed}" + (f", caption of {prompt.song}" if prompt.song else "")
    if prompt.song in work.results["captions"]["held_out_files"]:
        note += ", which was kept out of training"
    shown = [version(title, source, prompt.key, folder) for title, source in versions]
    return {"text": prompt.text, "note": note, "versions": shown}


def version(title: str, source: Path, key: str, folder: Path) -> dict[str, str]:
    """A clip beside the page, with its spectrogram."""
    from musicgen_train.data.audio import read_audio
    from musicgen_train.evaluation.report.plots import brightest, display_mel, plot_spectrogram

    place = folder / "clips" / title.lower().replace(" ", "_") / f"{key}.flac"
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, place)
    mel = display_mel(*read_audio(source))
    plot_spectrogram(mel, brightest(mel), place.with_suffix(".png"))
    audio = quote(place.relative_to(folder).as_posix())
    return {"title": title, "audio": audio, "picture": audio.removesuffix(".flac") + ".png"}


def songs_of(work: Work) -> list[dict[str, str]]:
    """Every song with its caption, and what became of it."""
    from recipes.finetuning.preparing import song_states

    captions = read_captions(work.run.captions)
    held = set(work.results["captions"]["held_out_files"])
    found = []
    for state in song_states(work):
        name = state["song"]
        text = captions[name].text if name in captions else ""
        use = "kept out of training" if name in held else "trained on"
        if state["state"] != "prepared":
            use = f"{state['state']}: {state['reason']}"
        found.append({
            "song": name, "use": use,
            "caption": with_trigger(work.settings.trigger, text) if name in captions else "",
        })  # fmt: skip
    return found


def record_of(work: Work) -> Sequence[tuple[str, str]]:
    """How the training was done."""
    plan, settings = work.plan(), work.settings
    size = plan.batch_size * plan.accumulate
    against, n_prior = "nothing", work.expected.prior_clips
    if n_prior:
        against = f"{settings.prior_share:.0%} of the training is {n_prior} clips by the base"
    rows = [
        ("base", f"{settings.base}, {work.base.n_parameters / 1e6:.1f} M parameters"),
        ("device", f"{work.device.title}, preset {plan.preset}"),
        ("vocals", f"separator={work.separator}"),
        ("music", f"{60 * work.results['prepare']['hours']:.1f} minutes in "
                  f"{work.results['prepare']['samples']} segments of at most "
                  f"{plan.segment_duration:g} s"),
        ("steps", f"{plan.steps} of {size} segments"),
        ("rate", f"{plan.lr:g}, after {plan.warmup_steps} steps of warm-up a half cosine to 0"),
        ("against forgetting", against),
    ]  # fmt: skip
    if settings.method != "full":
        rows.append(("adapter", f"{settings.method}, rank {plan.rank}, alpha {plan.alpha:g}"))
    seconds = {s["title"]: s["seconds"] for s in work.status.content["stages"] if s["seconds"]}
    return [*rows, *((title, f"{spent:.0f} s") for title, spent in seconds.items())]


def draw_curve(work: Work, folder: Path) -> str:
    """The losses of the training; "" if there is nothing to draw."""
    from musicgen_train.evaluation.report.plots import plot_curves

    logs = sorted((work.run / "training/logs").glob("version_*/metrics.csv"))
    if not logs:
        return ""
    return "losses.png" if plot_curves(logs, folder / "losses.png") else ""


STAGE = Stage(
    "report", "Writing the report", ("prepare", "captions", "samples", "evaluate", "export"),
    ("report",), settings_of, run,
)  # fmt: skip
