"""Streamed coding against the length of the audio."""

from benchmarks.codec_models import folded_codec, seconds_of_music
from benchmarks.growth_fit import Curve, time_and_memory
from benchmarks.growth_point import measured
from benchmarks.memory import in_fresh_process
from benchmarks.timing import one_thread

PRESET = "tiny"
SIZES = {True: (10, 20, 40, 80), False: (30, 60, 120, 240, 480, 960)}  # seconds of audio
MUST: dict[str, tuple[float, float]] = {"seconds": (1, 1), "MiB": (0, 0)}


def coding_point(n_seconds: int) -> dict[str, dict[str, float]]:
    """Code audio that is made second by second, decode random codes, and keep nothing."""
    import torch

    from musicgen_train.codec.streaming import Piece, decode_stream, encode_stream

    one_thread()
    codec = folded_codec(PRESET)
    piece = Piece(torch.randint(codec.card, (1, codec.n_q, round(codec.frame_rate))))

    def encode(n: int) -> None:
        for _ in encode_stream(codec, seconds_of_music(n, codec.sample_rate)):
            pass

    def decode(n: int) -> None:
        for _ in decode_stream(codec, (piece for _ in range(n))):
            pass

    found = {}
    for name, work in (("encoding", encode), ("decoding", decode)):
        found[name] = measured(lambda w=work: w(n_seconds), 1, warm=lambda w=work: w(2))
    return found


def curves(quick: bool) -> list[Curve]:
    """Time and memory of both directions."""
    points = [(n, in_fresh_process(coding_point, n)) for n in SIZES[quick]]
    found = []
    for name in ("encoding", "decoding"):
        own = [(n, point[name]) for n, point in points]
        title = f"streamed {name} against the audio"
        found += time_and_memory("codec", title, "seconds", own, MUST)
    return found
