"""Who plays what: the facts of a track, decided before a note is composed."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from data_prep.demo.harmony import Key
from data_prep.demo.instruments import LEADS
from data_prep.demo.style import Style
from data_prep.demo.styles import ALL_STYLES, STYLES

FIRST = "Amber Silver Velvet Paper Northern Golden Midnight Crimson Quiet Electric "
FIRST += "Hollow Copper Wild Distant Lucky Blue Salt Marble Neon Winter"
BANDS = "Harbour Foxes Lanterns Quartet Orchard Parade Satellites Rivers Tigers Ensemble "
BANDS += "Gardens Motel Sparrows Union Machines Society Pilots Collective Owls Avenue"
ADJECTIVES = "Falling Open Hidden Last Little Slow Burning Secret Restless Pale "
ADJECTIVES += "Bright Endless Borrowed Broken Gentle Early Rising Lonely Second Sweet"
NOUNS = "Morning River Window Road Garden Letter Shadow Summer Station Ocean "
NOUNS += "Mountain Dance Promise Mirror Season Lantern Island Signal Meadow Horizon"
# Instruments that few styles use come more often in those, so that all leads are common.
LEAD_WEIGHTS = {
    lead: max(sum(lead in style.leads for style in STYLES.values()), 1) ** -1.0 for lead in LEADS
}
GROUP = 3  # artists who take turns ...
TRACKS_EACH = 8  # ... until each has this many tracks


@dataclass(frozen=True)
class Plan:
    """The facts of one track; everything follows from (seed, index)."""

    seed: int
    index: int
    artist: str
    title: str
    style: Style
    lead: str
    key: Key
    bpm: int
    moods: tuple[str, ...]
    sung: bool

    def rng(self, purpose: str) -> random.Random:
        """A generator of its own for each purpose, so that parts do not disturb each other."""
        return random.Random(f"{self.seed}/{self.index}/{purpose}")

    @property
    def folder(self) -> str:
        """The artist as a folder name."""
        return slug(self.artist)

    @property
    def stem_name(self) -> str:
        """The track as a file name, unique in the corpus."""
        return f"{self.index:05d}-{slug(self.title)}"


def slug(text: str) -> str:
    """Lower case with dashes."""
    return "-".join(text.lower().split())


def artist_of(index: int) -> tuple[int, int]:
    """Artist number and how many tracks that artist made before: three artists take turns."""
    block, rest = divmod(index, GROUP * TRACKS_EACH)
    return GROUP * block + rest % GROUP, rest // GROUP


def artist_name(seed: int, number: int) -> str:
    """Distinct names: the number picks a pair from a seeded order of all pairs."""
    pairs = [f"{first} {band}" for first in FIRST.split() for band in BANDS.split()]
    random.Random(f"{seed}/artists").shuffle(pairs)
    suffix = "" if number < len(pairs) else f" {number // len(pairs) + 1}"
    return pairs[number % len(pairs)] + suffix


def genre_of(seed: int, artist: int, ordinal: int, styles: Sequence[str]) -> str:
    """Artists play six genres, and two of them, their favourites, twice; neighbours start apart."""
    names = sorted(styles)
    block, place = divmod(artist, GROUP)
    random.Random(f"{seed}/genres/{block}").shuffle(names)
    favourite = (0, 3, 5)[place]
    return names[(favourite + (ordinal if ordinal < 6 else ordinal - 6)) % len(names)]


def plan_track(seed: int, index: int, styles: Sequence[str] = tuple(STYLES)) -> Plan:
    """Decide the facts of track `index` of the corpus with this seed, in one of `styles`."""
    artist, ordinal = artist_of(index)
    style = ALL_STYLES[genre_of(seed, artist, ordinal, styles)]
    rng = random.Random(f"{seed}/{index}/plan")
    mode = rng.choices(list(style.modes), list(style.modes.values()))[0]
    lead = rng.choices(style.leads, [LEAD_WEIGHTS[lead] for lead in style.leads])[0]
    return Plan(
        seed=seed,
        index=index,
        artist=artist_name(seed, artist),
        title=f"{rng.choice(ADJECTIVES.split())} {rng.choice(NOUNS.split())}",
        style=style,
        lead=lead,
        key=Key(rng.randrange(12), mode),
        bpm=rng.randint(*style.bpm),
        moods=tuple(rng.sample(style.moods, rng.choice((1, 2, 2)))),
        sung=index % 4 == 1,
    )
