"""The figures at the top, and the tables: facts, splits, files left out, codebooks."""

import math
from typing import Any, NamedTuple

from data_prep.inspection.counting import Histogram
from data_prep.inspection.survey import Survey, is_count
from data_prep.inspection.wording import counted, hours, percent, shown
from musicgen_train.data.index import SPLITS


class Table(NamedTuple):
    """Rows of texts under their columns; the first column is left-aligned."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    note: str = ""


def facts(survey: Survey) -> list[tuple[str, str]]:
    """(what, how much), the most important first."""
    index, statistics, info = survey.index, survey.statistics, survey.info
    found = [
        ("Music", hours(float(index.duration.sum()))),
        ("Segments", f"{len(index):,}"),
        ("Tracks", _places(survey, len(statistics.tracks), (survey.tracks or {}).get("kept"))),
        ("Artists", _places(survey, len(statistics.artists), info.get("artists"))),
        ("With description", percent(1 - statistics.missing("description"))),
        ("Size", _size(sum(shard["bytes"] for shard in info["shards"]))),
    ]
    rate, channels = info.get("sample_rate"), info.get("channels")
    if isinstance(rate, int) and channels in (1, 2):
        found.append(("Audio", f"{rate / 1000:g} kHz {'mono' if channels == 1 else 'stereo'}"))
    if survey.has_codes:
        found.append(("Codes", f"{info['n_q']} × {info['card']} at {info['frame_rate']:g} Hz"))
    return found


def subtitle(survey: Survey) -> str:
    """What the figures rest on."""
    what = "codes and audio" if survey.has_codes and "flac" in survey.index.members else "audio"
    what = "codes" if survey.has_codes and what == "audio" else what
    read = "all segments were read"
    if not survey.is_whole:
        read = f"{survey.statistics.n:,} random segments of {len(survey.index):,} were read"
    return f"A dataset of {what} in {counted(len(survey.info['shards']), 'shard')}; {read}."


def split_table(survey: Survey) -> Table:
    index = survey.index
    rows = []
    for number, name in enumerate(SPLITS):
        durations = index.duration[index.split == number]
        tracks, artists = (
            sum(bool(bits >> number & 1) for bits in places.values())
            for places in (survey.statistics.tracks, survey.statistics.artists)
        )
        share = durations.sum() / max(float(index.duration.sum()), 1e-9)
        cells = [f"{len(durations):,}", f"{tracks:,}", f"{artists:,}"]
        rows.append([name, hours(float(durations.sum())), percent(share), *cells])
    note = "" if survey.is_whole else "Tracks and artists are of the segments that were read."
    columns = ["Split", "Music", "Share", "Segments", "Tracks", "Artists"]
    return Table("Splits", columns, rows, note)


def duration_histogram(survey: Survey) -> Histogram:
    """Durations of all segments, in at most 30 bins of whole seconds."""
    durations = survey.index.duration
    longest = math.ceil(float(durations.max(initial=1.0)))
    histogram = Histogram(0, longest, 0.1, group=10 * math.ceil(longest / 30))
    for value in durations.tolist():
        histogram.add(value)
    return histogram


def failure_table(survey: Survey) -> Table:
    """Files left out by reason, with examples."""
    failures = survey.failures
    rows = []
    for phrase, count in sorted(failures.phrases.items(), key=lambda item: (-item[1], item[0])):
        examples = [
            shown(file, 100) + (f" ({shown(details, 80)})" if details else "")
            for file, details in failures.examples[phrase]
        ]
        rows.append([shown(phrase), f"{count:,}", "\n".join(examples)])
    return Table("Left out", ["Reason", "Number", "For example"], rows, _left_out_note(survey))


def duplicate_table(survey: Survey) -> Table:
    failures = survey.failures
    rows = [[shown(file, 100), shown(of, 120)] for file, of in failures.duplicates]
    more = failures.n_duplicates - len(rows)
    return Table("Duplicates", ["File", "Copy of"], rows, f"and {more:,} more" if more else "")


def codebook_table(survey: Survey) -> Table | None:
    """Entropy and use of each codebook in the training split, as tokenising counted them."""
    info = survey.info
    if not survey.codebooks:
        return None
    rows = [
        [str(k), f"{nats / math.log(2):.2f}", f"{math.exp(nats):.0f}", percent(used)]
        for k, (nats, used) in enumerate(survey.codebooks, 1)
    ]
    note = f"At most {math.log2(info['card']):.2f} bits: {info['card']} equally frequent codes. "
    note += "Perplexity is how many equally frequent codes would carry as much."
    return Table("Codebooks", ["Codebook", "Bits a code", "Perplexity", "Codes used"], rows, note)


def _left_out_note(survey: Survey) -> str:
    tracks, reasons = survey.tracks, survey.info.get("reasons")
    if tracks is None:
        return "dataset.json does not count the files that it was prepared from."
    note = f"{counted(tracks['files'], 'file')} = {tracks['kept']:,} kept + "
    note += f"{tracks['filtered']:,} filtered + {tracks['failed']:,} failed."
    if survey.has_codes and isinstance(reasons, dict) and reasons:
        listed = ", ".join(f"{shown(count)} × {shown(phrase)}" for phrase, count in reasons.items())
        note += f" When the music was prepared: {listed}."
    if survey.has_codes:
        note += " The reasons below are of segments that could not be tokenised."
    if not survey.failures.recorded:
        note += " There is no failures.jsonl that would say which."
    return note


def _places(survey: Survey, seen: int, recorded: Any) -> str:
    """A count over all segments; a part of them gives a lower bound."""
    if survey.is_whole:
        return f"{seen:,}"
    return f"{recorded:,}" if is_count(recorded) else f"{seen:,} or more"


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"
