"""What the names of metrics stand for: family, listener or kind, and the system measured."""

from __future__ import annotations

from typing import NamedTuple


class Source(NamedTuple):
    """A source of music that is measured."""

    music: str
    kind: str  # of its clips
    short: str


FROM_TEXT = Source("Music from text", "text", "from text")
WITH_MELODY = Source("Music from text and melody", "melody", "text and melody")
LONG = Source("Long pieces from text", "long", "long pieces")
ROUND_TRIP = Source("Real music through the codec", "reconstruction", "codec round trip")
SOURCES = {  # by the last part of a metric's name
    "": Source("Generated music", "generated", "generated"),
    "text": FROM_TEXT,
    "melody": WITH_MELODY,
    "with_melody": WITH_MELODY,
    "round_trip": ROUND_TRIP,
}
SOURCES_OF_FAMILY = {  # where the name does not say
    "codec": ROUND_TRIP,
    "text": FROM_TEXT,
    "long_form": LONG,
}
LISTENERS = {
    "vggish": "VGGish",
    "clap": "CLAP",
    "passt": "PaSST",
    "mert": "MERT",
    "judge": "the judge",
    "codec": "the codec",
}
FAD_TITLE = "How far from real music (FAD), as {listener} hears it"
VARIETY_TITLE = "As good and as varied as real music? As {listener} hears it"
GROUP_TITLES = {  # families of one title stand in one table
    "codec": "Codec",
    "lm": "Language model",
    "fad": FAD_TITLE,
    "fad_inf": FAD_TITLE,
    "kad": "How far from real music (KAD), as {listener} hears it",
    "density": VARIETY_TITLE,
    "coverage": VARIETY_TITLE,
    "kl": "What is heard, beside the real clip of the same name (KL over the labels of {listener})",
    "clap": "Does it sound like the text? (CLAP)",
    "text": "Is what the text asks for heard? (by the judge)",
    "chroma": "Does it follow the melody?",
    "failures": "Does it fail? Silence, clipping, loudness",
    "long_form": "Do long pieces stay what they began as?",
    "aesthetics": "How it is rated (Audiobox Aesthetics)",
}
HEARD_FAMILIES = ("fad", "fad_inf", "kad", "density", "coverage", "kl")  # named with a listener
SHORT_NAMES = {
    "fad": "FAD",
    "fad_inf": "FAD∞",
    "kad": "KAD",
    "density": "Density",
    "coverage": "Coverage",
    "kl": "KL",
    "clap": "CLAP score",
    "chroma.argmax": "Pitch class",
    "chroma.cosine": "Chroma cosine",
    "text.instrument": "Instrument",
    "text.genre": "Genre",
    "text.tempo": "Tempo class",
    "text.control": "Text control",
    "text.control_of_real": "Text control beside real music",
    "failures.clips": "Failing",
    "failures.loudness": "Loudness beside real",
    "long_form.control": "Heard as asked, last quarter",
    "long_form.drift": "Distance of the halves",
    "long_form.silence": "Silence",
    "long_form.level": "Level, last quarter less first",
    "codec.mel_distance": "Mel distance",
    "codec.si_sdr": "SI-SDR",
    "codec.stft_distance": "STFT distance",
    "codec.loudness_difference": "Loudness",
    "codec.usage": "Codebook usage",
    "codec.perplexity": "Perplexity",
    "codec.bitrate": "Bitrate",
    "codec.entropy_bitrate": "Entropy bitrate",
    "lm.cross_entropy": "Cross entropy",
}


class MetricName(NamedTuple):
    """fad.vggish.text: family, then listener or kind, then system; the latter may be ""."""

    family: str
    detail: str
    system: str

    @property
    def metric(self) -> str:
        """The name without the system: figures of one metric share a scale."""
        return ".".join(filter(None, (self.family, self.detail)))

    @property
    def listener(self) -> str:
        """Who heard the clips, in words; "" where the name does not say."""
        heard = self.family in HEARD_FAMILIES
        return LISTENERS.get(self.detail, self.detail) if heard else ""

    @property
    def by_judge(self) -> bool:
        """Whether the figure rests on the judge that this project ships."""
        if self.family == "long_form":
            return self.detail in ("control", "drift")
        return self.family == "text" or (self.family in HEARD_FAMILIES and self.detail == "judge")

    @property
    def group_title(self) -> str:
        """Title of the table in which the figure stands."""
        return GROUP_TITLES.get(self.family, self.family).format(listener=self.listener)

    @property
    def short(self) -> str:
        """A few characters for the head of a column: FAD VGGish."""
        if self.metric in SHORT_NAMES:
            return SHORT_NAMES[self.metric]
        detail = self.listener.removeprefix("the ") or self.detail.replace("_", " ")
        return f"{SHORT_NAMES.get(self.family, self.family)} {detail}".strip()

    @property
    def source(self) -> Source:
        """What was measured."""
        unsaid = SOURCES_OF_FAMILY.get(self.family, SOURCES[""])
        return SOURCES[self.system] if self.system else unsaid


def parse_name(name: str) -> MetricName:
    """The parts of a measurement's name."""
    family, *rest = name.split(".")
    system = rest.pop() if rest and rest[-1] in SOURCES else ""
    return MetricName(family, ".".join(rest), system)
