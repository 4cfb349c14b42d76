"""The words that describe a track."""

import random
import re

from data_prep.demo.instruments import LEADS
from data_prep.demo.plan import Plan

TEMPO_WORDS = (
    (80, ("slow", "unhurried")),
    (100, ("relaxed", "laid-back")),
    (124, ("mid-tempo", "steady")),
)
FAST_WORDS = ("fast", "up-tempo", "brisk")
TEMPLATES = (
    "A {mood} {genre} track led by {lead}",
    "{mood} {genre} with {lead} carrying the melody",
    "{genre} piece featuring {lead}, {mood} and {tempo}",
    "{tempo} {genre}, {lead} melody over {backing}",
    "{lead} plays the tune in this {mood} {genre} piece",
    "A {tempo} {mood} {genre} song with {lead} up front",
    "{mood} {genre}, {tempo}, {lead} in front of {backing}",
    "{lead}, {backing}, {genre}, {mood}",
    "{genre} music in {key} with a {mood} {lead} theme",
    "A {tempo} {genre} tune: {lead} on top of {backing}",
    "{genre}, {lead}",
    "{mood} {lead} melody, {genre} style",
    "A {genre} instrumental where {lead} takes the lead above {backing}",
    "{backing} and a {mood} {lead}, {genre}",
    "This {genre} recording sounds {mood}; {lead} states the theme, supported by {backing}",
    "{lead} solo over {backing}, {tempo} {genre} in {key}",
    "{genre} track, {bpm} bpm, {lead}, {mood}",
    "A {mood} tune on {lead} in the manner of {genre}",
)
TAILS = (
    "in {key}",
    "around {bpm} bpm",
    "{bpm} bpm",
    "with a {other} feeling",
    "{tempo} groove",
    "and {other}",
)
FIELD = re.compile(r"{(\w+)}")
BACKING = {
    "chiptune": (
        "fast square-wave arpeggios",
        "bleeping arpeggios and a drum machine",
        "an octave-jumping square bass",
    ),
    "rock": (
        "crunchy guitars and drums",
        "distorted guitars",
        "a rock band",
        "bass, drums and guitars",
    ),
    "jazz": (
        "walking bass and brushed cymbals",
        "a swinging rhythm section",
        "upright bass and ride cymbal",
    ),
    "electronic": ("a four-on-the-floor beat", "synth chords and a pumping kick", "a house beat"),
    "classical": (
        "strings in three-four time",
        "a waltz accompaniment",
        "orchestral accompaniment",
    ),
    "ambient": ("soft evolving pads", "long synth pads", "a wash of slow pads"),
    "latin": ("nylon guitar and shaker", "a bossa rhythm", "gentle latin percussion"),
    "folk": (
        "strummed and picked guitar",
        "acoustic guitar and upright bass",
        "a small acoustic band",
    ),
    "funk": ("slap bass and tight drums", "a syncopated groove", "chopped chords and a funky bass"),
}


def tempo_word(rng: random.Random, bpm: float) -> str:
    """A word for the tempo."""
    for limit, words in TEMPO_WORDS:
        if bpm < limit:
            return rng.choice(words)
    return rng.choice(FAST_WORDS)


def describe(plan: Plan) -> str:
    """One sentence that names the genre and the lead instrument; the voice is never claimed."""
    rng = plan.rng("description")
    lead = LEADS[plan.lead].words
    words = {
        "genre": rng.choice((plan.style.name, *plan.style.words)),
        "lead": rng.choice((lead[0], *lead)),
        "mood": plan.moods[0],
        "other": plan.moods[-1],
        "tempo": tempo_word(rng, plan.bpm),
        "key": plan.key.label,
        "bpm": str(plan.bpm),
        "backing": rng.choice(BACKING[plan.style.name]),
    }
    template = rng.choice(TEMPLATES)
    said = set(FIELD.findall(template)) | ({"other"} if len(plan.moods) == 1 else set())
    tails = [tail for tail in TAILS if not said & set(FIELD.findall(tail))]
    text = template.format(**words)
    if rng.random() < 0.5:
        text += ", " + rng.choice(tails).format(**words)
    text = re.sub(r"\b([Aa]) (?=[aeiou8])", r"\1n ", text)
    return text[0].upper() + text[1:]


def keywords(plan: Plan) -> list[str]:
    """Loose tags: tempo word, rhythm section, moods, mode, vocals where they are sung."""
    rng = plan.rng("keywords")
    tags = [plan.style.words[-1], plan.lead, tempo_word(rng, plan.bpm), plan.key.mode, *plan.moods]
    if plan.style.drums:
        tags.append("drums")
    if plan.sung:
        tags.append("vocals")
    return list(dict.fromkeys(tags))
