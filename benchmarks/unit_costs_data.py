"""Unit costs of data: preparing and tokenising an hour, its bytes, the index, the loader."""

from pathlib import Path
from typing import Any

from benchmarks.data_loading import SECONDS, Plan, index_memory, ours, rate, write_shards
from benchmarks.data_preparing import prepare_once, render, tokenize_once
from benchmarks.memory import in_fresh_process


def preparing(folder: Path, quick: bool) -> dict[str, Any]:
    """Seconds of one core for each hour of music, and the bytes that the hour becomes."""
    music = render(folder / "music", 5.0 if quick else 20.0)["mp3"]
    prepared = in_fresh_process(prepare_once, music, folder / "prepared", {})
    dataset = folder / "prepared" / "timed"
    few = dataset
    if quick:  # of which one track is tokenised
        first = min(music.iterdir())
        alone = folder / "alone"
        alone.mkdir()
        first.rename(alone / first.name)
        in_fresh_process(prepare_once, alone, folder / "few", {})
        few = folder / "few" / "timed"
    tokenised = in_fresh_process(tokenize_once, few, folder / "codes", "32khz")
    return {
        "music_hours": prepared["music"] / 3600,
        "prepare_core_seconds_per_hour": 3600 * prepared["spent"] / prepared["music"],
        "tokenize_core_seconds_per_hour": 3600 * tokenised["spent"] / tokenised["music"],
        "shard_bytes_per_hour": bytes_per_hour(dataset),
        "codes_bytes_per_hour": bytes_per_hour(folder / "codes"),
        "tokenize_flops_per_second": in_fresh_process(tokenizer_flops),
    }


def bytes_per_hour(dataset: Path) -> float:
    """Bytes of a dataset's shards for each hour of its music."""
    from musicgen_train.data.index import load_index

    index = load_index(dataset)
    return sum(index.shard_sizes().values()) / (float(index.duration.sum()) / 3600)


def tokenizer_flops() -> float:
    """Matrix FLOPs of the 32 kHz tokenizer for each second of audio."""
    from benchmarks.codec_models import folded_codec, music_like
    from benchmarks.flops import counted_flops

    codec = folded_codec("32khz")
    wav = music_like(1, 4.0, codec.sample_rate)
    return counted_flops(lambda: codec.encode(wav), codec) / 4.0


def index_costs() -> dict[str, float]:
    """What an index takes of each process that opens it, of a million samples."""
    n = 1_000_000
    found = in_fresh_process(index_memory, n)
    return {
        "samples": n,
        "bytes_per_sample": found["index MiB"] * 2**20 / n,
        "order_bytes_per_sample": found["order MiB"] * 2**20 / n,
        "open_seconds_per_million": found["open s"] * 1e6 / n,
    }


def loading(folder: Path, quick: bool) -> dict[str, dict[str, float]]:
    """Samples and bytes a second that one process reads from the page cache."""
    found = {}
    for kind, full in Plan().samples.items():
        path = write_shards(folder / "loaded" / kind, kind, full // 4 if quick else full)
        samples = rate(ours(path, kind, None, 0), 16 if quick else 96)
        found[kind] = {
            "samples_per_second": samples,
            "bytes_per_second": samples * bytes_per_hour(path) * SECONDS / 3600,
        }
    return found
