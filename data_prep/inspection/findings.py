"""What in a dataset would hurt a training, in plain words."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from data_prep.inspection.survey import Survey, is_count
from data_prep.inspection.wording import counted, hours, percent, shown
from musicgen_train.data.index import SPLITS


class Finding(NamedTuple):
    """One sentence. grade: "poor" should be mended, "fair" should be known, "good" is well."""

    grade: str
    text: str


def find(survey: Survey) -> list[Finding]:
    """All findings, the worst first; if there are none, one that says so."""
    rules: list[Callable[[Survey], list[Finding]]] = [
        damage, left_out, splits, texts, artists, amount, loudness, silence, audio, codes, melody,
    ]  # fmt: skip
    found = [finding for rule in rules for finding in rule(survey)]
    if not found:
        return [Finding("good", "Nothing was found that would hurt a training.")]
    return sorted(found, key=lambda finding: finding.grade != "poor")


def damage(survey: Survey) -> list[Finding]:
    found = []
    if n := survey.statistics.n_damaged:
        found.append(Finding("poor", f"{counted(n, 'segment')} with damaged JSON: prepare again."))
    if n := survey.checks.n_bad:
        looked_at = max(survey.checks.n_audio, survey.checks.n_codes)
        seen, first = counted(looked_at, "decoded segment"), shown(survey.checks.problems[0], 160)
        text = f"{counted(n, 'fault')} in {seen}; the first: {first}."
        found.append(Finding("poor", text))
    if n := survey.failures.n_damaged:
        found.append(Finding("fair", f"{counted(n, 'line')} of failures.jsonl cannot be read."))
    return found


def left_out(survey: Survey) -> list[Finding]:
    found = []
    tracks = survey.tracks
    if tracks is None:
        return found
    files, kept, filtered, failed = (
        tracks[name] for name in ("files", "kept", "filtered", "failed")
    )
    if files != kept + filtered + failed:
        text = f"{files} files are not {kept} kept + {filtered} filtered + {failed} failed: "
        found.append(Finding("poor", text + "dataset.json was changed; prepare again."))
    elif failed > 0.1 * files:
        grade = "poor" if failed > 0.5 * files else "fair"
        text = f"{percent(failed / files)} of the files failed; the reasons are listed below."
        found.append(Finding(grade, text))
    if not survey.has_codes and survey.failures.recorded:
        recorded = survey.failures.phrases.total() + survey.failures.n_damaged
        if recorded != filtered + failed:
            text = f"failures.jsonl lists {recorded} files, dataset.json counts {filtered + failed}"
            found.append(Finding("poor", f"{text}: one of them was changed; prepare again."))
    n = survey.info.get("unreadable_segments")
    if is_count(n) and n:
        text = f"{counted(n, 'segment')} could not be tokenised; failures.jsonl has the reasons."
        found.append(Finding("fair", text))
    return found


def splits(survey: Survey) -> list[Finding]:
    found = []
    n = np.bincount(survey.index.split, minlength=len(SPLITS)).tolist()
    if n[0] == 0:
        found.append(Finding("poor", "There is nothing in the train split."))
    if n[1] == 0:
        text = "There is no validation split: overfitting will not show; raise valid_fraction."
        found.append(Finding("poor", text))
    elif n[1] < 10 or n[1] < 0.005 * sum(n):
        text = f"The validation split is tiny ({counted(n[1], 'segment')}): its loss will be noisy."
        found.append(Finding("fair", text))
    for what, places in (
        ("artist", survey.statistics.artists),
        ("track", survey.statistics.tracks),
    ):
        several = sum(bits.bit_count() > 1 for bits in places.values())
        if several:
            are = "is" if several == 1 else "are"
            text = f"{counted(several, what)} {are} in more than one split: validation will flatter"
            found.append(Finding("poor", f"{text} the model; prepare again."))
            break  # tracks of such an artist add nothing
    return found


def texts(survey: Survey) -> list[Finding]:
    statistics = survey.statistics
    missing = statistics.missing("description")
    if missing == 1:
        text = "There are no descriptions: text will not steer the model; give a table (metadata=)"
        return [Finding("poor", f"{text}, or have tags estimated (clap_model=).")]
    found = []
    if missing > 0.05:
        grade = "poor" if missing > 0.5 else "fair"
        found.append(Finding(grade, f"{percent(missing)} of the segments have no description."))
    n_texts = len(statistics.descriptions)
    if n_texts == 1 and len(statistics.tracks) > 1:
        text = "All descriptions are the same: the model cannot learn what words mean."
        found.append(Finding("poor", text))
    elif statistics.n_words.quantile(0.5) < 4:
        text = "Half of the descriptions have fewer than 4 words: there is little to learn from."
        found.append(Finding("fair", text))
    composed = statistics.estimated["description"] / statistics.n
    if composed > 0.5:
        text = f"{percent(composed)} of the descriptions rest on estimates from the audio."
        found.append(Finding("fair", text))
    return found


def artists(survey: Survey) -> list[Finding]:
    statistics = survey.statistics
    if not statistics.artists:
        text = "No artist is known: one artist's tracks may be in training and in validation."
        return [Finding("fair", text)]
    name, n, _ = statistics.top_artists.top(1)[0]
    share = n / statistics.n
    if len(statistics.artists) == 1:
        text = f"The only artist is {shown(name)}: the model will sound like that."
        return [Finding("fair", text)]
    if share > 0.5:
        text = f"{percent(share)} of the segments are by one artist, {shown(name)}"
        return [Finding("fair", f"{text}: the model will sound like that.")]
    return []


def amount(survey: Survey) -> list[Finding]:
    seconds = float(survey.index.duration.sum())
    if seconds >= 10 * 3600:
        return []
    text = f"{hours(seconds)} of music: enough for fine-tuning or a test, too little for more."
    return [Finding("fair", text)]


def loudness(survey: Survey) -> list[Finding]:
    statistics = survey.statistics
    if not statistics.present["loudness"]:
        text = "Loudness and silence are not recorded: an older version prepared this dataset."
        return [Finding("fair", text)]
    if statistics.loudness.n == 0:
        return []
    quiet, loud = statistics.loudness.quantile(0.05), statistics.loudness.quantile(0.95)
    if loud - quiet <= 12:
        return []
    text = f"Loudness spreads over {loud - quiet:.0f} LU ({quiet:.0f} to {loud:.0f} LUFS for nine "
    return [Finding("fair", f"{text}tenths of the segments); loudness=-16 levels it.")]


def silence(survey: Survey) -> list[Finding]:
    statistics = survey.statistics
    found = []
    if (share := statistics.n_silent / max(statistics.n, 1)) > 0.01:
        grade = "poor" if share > 0.1 else "fair"
        text = f"{percent(share)} of the segments are too quiet to measure; raise silence_db."
        found.append(Finding(grade, text))
    if statistics.silence.n and (longest := statistics.silence.quantile(0.9)) > 0.3:
        text = f"A tenth of the segments are silent for {percent(longest)} of their time or more"
        found.append(Finding("fair", f"{text}; lower max_silence."))
    return found


def audio(survey: Survey) -> list[Finding]:
    checks = survey.checks
    share = checks.n_clipped / max(checks.n_audio, 1)
    if share <= 0.1:
        return []
    text = f"{percent(share)} of {counted(checks.n_audio, 'decoded segment')} are clipped"
    return [Finding("fair", f"{text} (several samples in a row at full scale).")]


def codes(survey: Survey) -> list[Finding]:
    usage = [share for _, share in survey.codebooks]
    unused = [f"{k + 1} ({percent(share)})" for k, share in enumerate(usage) if share < 0.25]
    if not unused:
        return []
    text = f"Few codes of codebook {', '.join(unused)} occur: little music, or a poor codec for it."
    return [Finding("fair", text)]


def melody(survey: Survey) -> list[Finding]:
    index = survey.index
    if "chroma.npy" in index.members and index.size[:, index.members.index("chroma.npy")].all():
        return []
    return [Finding("fair", "Not every segment has chroma: melody cannot steer the model.")]
