"""Reading a SoundFont 2 file: which sample, at which pitch and level, sounds for a key."""

import struct
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from musicgen_train.errors import UserError

BAG = np.dtype([("gen", "<u2"), ("mod", "<u2")])
GEN = np.dtype([("oper", "<u2"), ("amount", "<i2")])
RECORDS = {
    b"phdr": np.dtype(
        [("name", "S20"), ("preset", "<u2"), ("bank", "<u2"), ("bag", "<u2"), ("rest", "V12")]
    ),
    b"pbag": BAG,
    b"pgen": GEN,
    b"inst": np.dtype([("name", "S20"), ("bag", "<u2")]),
    b"ibag": BAG,
    b"igen": GEN,
    b"shdr": np.dtype(
        [
            ("name", "S20"),
            ("start", "<u4"),
            ("end", "<u4"),
            ("loop_start", "<u4"),
            ("loop_end", "<u4"),
            ("rate", "<u4"),
            ("key", "u1"),
            ("correction", "i1"),
            ("link", "<u2"),
            ("type", "<u2"),
        ]
    ),
}
# Generator numbers of the SoundFont 2.04 specification, section 8.1.2.
FILTER, RESONANCE, SWEEP, PAN = 8, 9, 11, 17
ATTACK, HOLD, DECAY, SUSTAIN, RELEASE = 34, 35, 36, 37, 38
INSTRUMENT, KEYS, VELOCITIES, ATTENUATION = 41, 43, 44, 48
COARSE, FINE, SAMPLE, LOOPED, SCALE, CHOKE, ROOT = 51, 52, 53, 54, 56, 57, 58
MOD_SUSTAIN = 29
OFFSETS = {"start": (0, 4), "end": (1, 12), "loop_start": (2, 45), "loop_end": (3, 50)}
DEFAULTS = {
    FILTER: 13500,
    SCALE: 100,
    ROOT: -1,
    ATTACK: -12000,
    HOLD: -12000,
    DECAY: -12000,
    RELEASE: -12000,
}
FULL_RANGE = 127 << 8  # low 0, high 127
NOT_ADDED = (
    KEYS,
    VELOCITIES,
    INSTRUMENT,
    SAMPLE,
    LOOPED,
    CHOKE,
    ROOT,
    *(g for pair in OFFSETS.values() for g in pair),
)


@dataclass(frozen=True)
class Region:
    """One sample and how it is played: times in seconds, levels in dB, pitches in semitones."""

    keys: tuple[int, int]
    velocities: tuple[int, int]
    start: int  # positions in the sample data
    end: int
    loop: tuple[int, int] | None
    rate: int
    root: float  # the key at which the sample sounds as it was recorded
    scale: float  # semitones per key
    gain: float
    pan: float  # -1..1
    cutoff: float | None  # Hz
    resonance: float
    attack: float
    hold: float
    decay: float  # for 100 dB
    sustain: float  # below full level
    release: float  # for 100 dB
    choke: int  # regions of one class cut each other off; 0: none


def chunks(data: bytes, start: int, end: int) -> dict[bytes, tuple[int, int]]:
    """Chunk id (or list type) -> begin and end of its content."""
    found = {}
    while start + 8 <= end:
        name, size = struct.unpack_from("<4sI", data, start)
        begin = start + 8
        key = data[begin : begin + 4] if name == b"LIST" else name
        found[key] = (begin + 4 if name == b"LIST" else begin, begin + size)
        start = begin + size + size % 2
    return found


def seconds(timecents: int) -> float:
    """Timecents to seconds."""
    return 2.0 ** (timecents / 1200)


class SoundFont:
    """The presets and samples of one .sf2 file."""

    def __init__(self, path: Path):
        data = path.read_bytes()
        if data[:4] != b"RIFF" or data[8:12] != b"sfbk":
            raise UserError(f"{path} is no SoundFont 2 file: give another one")
        lists = chunks(data, 12, len(data))
        begin, end = chunks(data, *lists[b"sdta"])[b"smpl"]
        self.samples = (
            np.frombuffer(data, "<i2", (end - begin) // 2, begin).astype(np.float32) / 32768
        )
        tables = chunks(data, *lists[b"pdta"])
        self.tables = {
            name: np.frombuffer(
                data, kind, (tables[name][1] - tables[name][0]) // kind.itemsize, tables[name][0]
            )
            for name, kind in RECORDS.items()
        }
        header = self.tables[b"phdr"]
        self.presets = {(int(p["bank"]), int(p["preset"])): n for n, p in enumerate(header[:-1])}
        self.regions = cache(self._regions)

    def _zones(self, prefix: bytes, first: int, last: int, link: int) -> list[dict[int, int]]:
        """Generators of the zones of a preset or instrument, the global zone merged into them."""
        bags, gens = self.tables[prefix + b"bag"], self.tables[prefix + b"gen"]
        common: dict[int, int] = {}
        zones = []
        for n in range(first, last):
            rows = gens[bags["gen"][n] : bags["gen"][n + 1]]
            zone = {int(row["oper"]): int(row["amount"]) for row in rows}
            if link in zone:
                zones.append(common | zone)
            elif n == first:
                common = zone
        return zones

    def _regions(self, bank: int, program: int) -> tuple[Region, ...]:
        """Everything that a program can sound."""
        if (bank, program) not in self.presets:
            raise UserError(
                f"the soundfont has no program {program} in bank {bank}: use another soundfont"
            )
        presets, instruments = self.tables[b"phdr"]["bag"], self.tables[b"inst"]["bag"]
        n = self.presets[bank, program]
        regions = []
        for outer in self._zones(b"p", presets[n], presets[n + 1], INSTRUMENT):
            k = outer[INSTRUMENT]
            for inner in self._zones(b"i", instruments[k], instruments[k + 1], SAMPLE):
                regions.append(self._region(outer, inner))
        return tuple(region for region in regions if region is not None)

    def _region(self, outer: dict[int, int], inner: dict[int, int]) -> Region | None:
        """A sample zone plus the values of its preset zone; None where they never meet."""

        def value(generator: int) -> int:
            added = 0 if generator in NOT_ADDED else outer.get(generator, 0)
            return inner.get(generator, DEFAULTS.get(generator, 0)) + added

        def span(generator: int) -> tuple[int, int]:
            pairs = [
                divmod(zone.get(generator, FULL_RANGE) & 0xFFFF, 256)[::-1]
                for zone in (outer, inner)
            ]
            return max(low for low, _ in pairs), min(high for _, high in pairs)

        sample = self.tables[b"shdr"][inner[SAMPLE]]
        place = {
            k: int(sample[k]) + value(fine) + 32768 * value(coarse)
            for k, (fine, coarse) in OFFSETS.items()
        }
        keys, velocities = span(KEYS), span(VELOCITIES)
        if keys[0] > keys[1] or velocities[0] > velocities[1] or sample["type"] & 0x8000:
            return None
        root = value(ROOT) if value(ROOT) >= 0 else int(sample["key"])
        tuning = value(COARSE) + (value(FINE) + int(sample["correction"])) / 100
        cents = value(FILTER) + value(SWEEP) * max(0.3, 1 - value(MOD_SUSTAIN) / 1000)
        looped = value(LOOPED) in (1, 3) and place["loop_end"] - place["loop_start"] > 8
        return Region(
            keys=keys,
            velocities=velocities,
            start=place["start"],
            end=place["end"],
            loop=(place["loop_start"], place["loop_end"]) if looped else None,
            rate=int(sample["rate"]),
            root=root - tuning,
            scale=value(SCALE) / 100,
            gain=-0.04 * value(ATTENUATION),  # 0.4 of the nominal centibels, as hardware did
            pan=min(max(value(PAN) / 500, -1.0), 1.0),
            cutoff=8.176 * 2 ** (cents / 1200) if cents < 12600 else None,
            resonance=value(RESONANCE) / 10,
            attack=seconds(value(ATTACK)),
            hold=seconds(value(HOLD)),
            decay=seconds(value(DECAY)),
            sustain=value(SUSTAIN) / 10,
            release=seconds(value(RELEASE)),
            choke=value(CHOKE),
        )


def find_soundfont() -> Path:
    """The small General MIDI soundfont that pretty_midi ships."""
    import importlib.util

    spec = importlib.util.find_spec("pretty_midi")
    path = Path(spec.origin).parent / "TimGM6mb.sf2" if spec and spec.origin else Path()
    if not path.is_file():
        raise UserError("the soundfont TimGM6mb.sf2 is missing: pip install pretty_midi")
    return path
