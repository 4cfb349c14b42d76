"""How a fine-tuning stands, as HTML: its stages, its songs, and what it made."""

from collections.abc import Callable, Sequence
from pathlib import Path

from musicgen_train.app.following import line
from musicgen_train.app.markup import duration, paragraph, player, preformatted, table, text
from musicgen_train.app.run_results import SamplePair, TrainingSample
from musicgen_train.app.run_status import RunPlan, RunStatus, SongStatus, StageStatus
from musicgen_train.errors import UserError

_MARKS = {"done": "✓", "running": "▶", "failed": "✗", "stopped": "❚❚"}
_SAYS = {
    "new": "Not begun: ask for an estimate, or start.",
    "starting": "Begins: looks at the songs and the device …",
    "stopping": "Stops as soon as it can go on from there …",
    "stopped": "Stopped. Start goes on where it was.",
    "done": "Done. Use it in Generate, or take it away below.",
}
_MOST_TRAINING_SAMPLES = 6
_MOST_PAIRS = 8  # of each kind; the report has more


def state_html(status: RunStatus) -> str:
    """The line that says how far it is, its stages, and the estimate."""
    stages = [stage for stage in status.stages if stage.name]
    parts = [_line(status)]
    if stages:
        parts.append(table(["", "Stage", "Time"], [_stage(stage) for stage in stages], "stages"))
    if status.plan is not None:
        parts.append(_plan(status.plan))
    return "".join(parts)


def songs_html(songs: Sequence[SongStatus]) -> str:
    """What became of each song."""
    if not songs:
        return paragraph("Each song's state is here as soon as the songs are looked at.", "hint")
    rows = [[text(song.song), text(song.state), text(song.reason)] for song in songs]
    return table(["Song", "State", "Reason"], rows)


def log_html(log: str) -> str:
    """The end of what the recipe said."""
    return preformatted(log) if log else paragraph("Nothing was said yet.", "hint")


def samples_html(
    pairs: Sequence[SamplePair],
    training: Sequence[TrainingSample],
    shown: Callable[[Path], Path],
) -> str:
    """Players of before and after, and of what was made on the way. shown: as `ShownFiles.copy`."""
    if not pairs and not training:
        return paragraph("Clips before and after training are here when they are made.", "hint")
    parts = []
    if training:
        rows = [
            [text(sample.text), text(sample.step), play(sample.audio, "while training", shown)]
            for sample in training[:_MOST_TRAINING_SAMPLES]
        ]
        parts.append(table(["While training", "Step", ""], rows, "players"))
    for kind, title in (("style", "Your songs' captions"), ("general", "Other texts")):
        of_kind = [pair for pair in pairs if pair.kind == kind]
        rows = [
            [text(pair.text), *(play(getattr(pair, side), side, shown) for side in _sides(pair))]
            for pair in of_kind[:_MOST_PAIRS]
        ]
        if len(of_kind) > len(rows):
            title += f" (the first {len(rows)} of {len(of_kind)})"
        if rows:
            width = max(map(len, rows))
            rows = [[*row, *[""] * (width - len(row))] for row in rows]
            parts.append(table([title, "Before", "After", "The song"][:width], rows, "players"))
    return "".join(parts)


def play(path: Path | None, label: str, shown: Callable[[Path], Path]) -> str:
    """A player of a file of a run, as HTML; a dash while it is not there."""
    if path is None:
        return "–"
    try:
        return player(shown(path), label)
    except UserError:
        return "–"


def _sides(pair: SamplePair) -> list[str]:
    return ["before", "after", *(["original"] if pair.original is not None else [])]


def _line(status: RunStatus) -> str:
    if status.state == "waiting":
        return line(f"Waiting: {status.before} before it in the queue of the device", share=0.0)
    if status.state == "failed":
        return line(status.message or "It failed, and its log says why.", "failed")
    if status.state == "running":
        stage = next((s.title for s in status.stages if s.name == status.stage), status.stage or "")
        left = "" if status.seconds_left is None else f", {duration(status.seconds_left)} left"
        note = f": {status.note}" if status.note else ""
        return line(f"{stage}{note}{left}" or "Runs …", share=status.progress)
    said = _SAYS.get(status.state, status.state)
    if status.state in ("stopped", "done") and status.message:
        said = status.message
    return line(said, "done" if status.state == "done" else "stopped")


def _stage(stage: StageStatus) -> list[str]:
    if stage.seconds is not None:
        time = duration(stage.seconds)
    else:
        time = f"about {duration(stage.expected)}" if stage.expected else ""
    return [_MARKS.get(stage.state, "·"), text(stage.title or stage.name), time]


def _plan(plan: RunPlan) -> str:
    """The estimate, before hours are spent."""
    facts = []
    if plan.songs is not None:
        music = f", {duration(plan.music_seconds)} of music" if plan.music_seconds else ""
        facts.append(f"{plan.songs} {'song' if plan.songs == 1 else 'songs'}{music}")
    if plan.steps is not None:
        facts.append(f"{plan.steps} steps")
    if plan.device:
        facts.append(f"on {plan.device}" + (f" ({plan.preset})" if plan.preset else ""))
    if plan.memory:
        there = f" of {plan.device_memory / 1e9:.1f}" if plan.device_memory else ""
        facts.append(f"about {plan.memory / 1e9:.1f}{there} GB of memory")
    if plan.total_seconds:
        facts.append(f"about {duration(plan.total_seconds)} in all")
    return paragraph(f"Estimate: {', '.join(facts)}.", "hint") if facts else ""
