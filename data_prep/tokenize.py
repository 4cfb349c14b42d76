"""Dataset -> codes: python -m data_prep.tokenize dataset=… output_dir=… codec_path=…"""

import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
import numpy as np
from omegaconf import DictConfig, OmegaConf

from musicgen_train.errors import UserError, exit_on_user_error

if TYPE_CHECKING:
    from torch import Tensor

    from musicgen_train.data.index import DatasetIndex
    from musicgen_train.data.shards import DatasetWriter, ShardReader

CONF = str(Path(__file__).resolve().parents[1] / "conf")


def tokenize(
    dataset: str | Path,
    output_dir: str | Path,
    codec: Any,
    *,
    batch_size: int = 8,
    device: str = "cpu",
    keep_audio: bool = False,
    shard_mb: float = 256,
) -> dict[str, Any]:
    """Write the dataset again with `codes.npy` (uint16 [K, T]) per segment; return dataset.json.

    Unless `keep_audio`, the audio is left out. Segments that cannot be read are recorded in
    failures.jsonl, each with its reason.
    """
    from data_prep.folders import new_folder
    from musicgen_train.data.index import load_index
    from musicgen_train.data.shards import DatasetWriter, ShardReader

    if batch_size < 1:
        raise UserError(f"batch_size is {batch_size}; use at least 1")
    index = load_index(dataset)
    check_codec(index, codec)
    kept = ["json", *(["flac"] if keep_audio else [])]
    kept += [name for name in index.members if name == "chroma.npy"]
    statistics = CodeStatistics(codec.n_q, codec.card)
    with new_folder(Path(output_dir)) as folder:
        writer = DatasetWriter(folder, sorted([*kept, "codes.npy"]), int(shard_mb * 2**20))
        failures: list[dict[str, str]] = []
        encoded = encode_all(ShardReader(index), codec.to(device).eval(), batch_size, failures)
        for row, codes in encoded:
            statistics.add(codes, is_train=bool(index.split[row] == 0))
            copy_sample(ShardReader(index), row, codes, kept, writer)
        if statistics.n_samples == 0:
            raise UserError(
                f"none of {len(index)} segments in {dataset} could be read ({failures[0]})"
            )
        lines = [json.dumps(failure, ensure_ascii=False) + "\n" for failure in failures]
        (folder / "failures.jsonl").write_text("".join(lines), encoding="utf-8")
        return writer.close(describe(index, codec, statistics, keep_audio, len(failures)))


def check_codec(index: "DatasetIndex", codec: Any) -> None:
    """Refuse a codec that the dataset's audio does not fit."""
    if "flac" not in index.members:
        raise UserError(
            f"{index.folder}: holds no audio; use the dataset that it was tokenised from"
        )
    for name in ("sample_rate", "channels"):
        if index.info[name] != getattr(codec, name):
            raise UserError(
                f"{index.folder}: {name} is {index.info[name]}, but the codec's is "
                f"{getattr(codec, name)}; prepare the music with {name}={getattr(codec, name)}"
            )
    if codec.card > 1 << 16:
        raise UserError(f"the codec has {codec.card} codes a codebook; at most 65536 can be stored")


def encode_all(
    reader: "ShardReader", codec: Any, batch_size: int, failures: list[dict[str, str]]
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (row, codes uint16 [K, T]) in order; only segments of equal length share a batch."""
    import torch

    from data_prep.progress import progress_bar

    readable = read_all(reader, failures)
    device = next(codec.parameters()).device
    with progress_bar("tokenising", len(reader.index)) as advance, torch.inference_mode():
        for _, group in itertools.groupby(readable, key=lambda item: item[1].shape[-1]):
            while batch := list(itertools.islice(group, batch_size)):
                codes = codec.encode(torch.stack([wav for _, wav in batch]).to(device)).cpu()
                assert codes.min() >= 0 and codes.max() < codec.card, (codes.max(), codec.card)
                for (row, _), sample_codes in zip(batch, codes, strict=True):
                    yield row, sample_codes.numpy().astype(np.uint16)
                    advance(f"{len(failures)} failed" if failures else "")


def read_all(
    reader: "ShardReader", failures: list[dict[str, str]]
) -> Iterator[tuple[int, "Tensor"]]:
    """Yield (row, wav [C, N]) of each readable segment; report the others in `failures`."""
    from musicgen_train.data.audio import decode_flac

    for row in range(len(reader.index)):
        try:
            wav = decode_flac(reader.read(row, "flac"))
            expected = round(reader.index.duration[row] * reader.index.info["sample_rate"])
            if wav.shape[1] != expected:
                raise ValueError(f"{wav.shape[1]} samples instead of {expected}")
        except Exception as error:
            failures.append({"sample": reader.index.key(row), "reason": str(error).strip()})
            continue
        yield row, wav


def copy_sample(
    reader: "ShardReader", row: int, codes: np.ndarray, kept: list[str], writer: "DatasetWriter"
) -> None:
    from data_prep.segmenting import npy_bytes
    from musicgen_train.data.index import SPLITS

    index = reader.index
    files = {name: reader.read(row, name) for name in kept}
    files["codes.npy"] = npy_bytes(codes, np.uint16)
    writer.write(index.key(row), files, SPLITS[index.split[row]], float(index.duration[row]))


class CodeStatistics:
    """How often each code occurs in the training split."""

    def __init__(self, n_q: int, card: int) -> None:
        self.counts = np.zeros((n_q, card), np.int64)
        self.n_samples = 0

    def add(self, codes: np.ndarray, is_train: bool) -> None:
        """Count codes [K, T] of one segment."""
        self.n_samples += 1
        if is_train:
            for k, row in enumerate(codes):
                self.counts[k] += np.bincount(row, minlength=self.counts.shape[1])

    def entropy(self) -> list[float]:
        """Unigram entropy of each codebook in nats: what guessing by frequency alone costs."""
        shares = self.counts / np.maximum(self.counts.sum(1, keepdims=True), 1)
        logs = np.log(shares, where=shares > 0, out=np.zeros_like(shares))
        return [round(float(value), 6) for value in -(shares * logs).sum(1)]

    def usage(self) -> list[float]:
        """Share of each codebook's codes that occur at all."""
        return [round(float(value), 6) for value in (self.counts > 0).mean(1)]


def describe(
    index: "DatasetIndex", codec: Any, statistics: CodeStatistics, keep_audio: bool, n_failed: int
) -> dict[str, Any]:
    """The source's dataset.json with the codec's part added."""
    from data_prep.prepare import settings_hash

    identity = codec.identity()
    return {
        **index.info,
        "codec_identity": identity,
        "n_q": codec.n_q,
        "card": codec.card,
        "frame_rate": float(codec.frame_rate),
        "unigram_entropy": statistics.entropy(),
        "codebook_usage": statistics.usage(),
        "unreadable_segments": n_failed,
        "source_fingerprint": index.fingerprint,
        "settings_hash": settings_hash(
            {"source": index.info["settings_hash"], "codec": identity, "keep_audio": keep_audio}
        ),
    }


def summary(info: dict[str, Any], seconds: float, output_dir: str | Path) -> str:
    ceiling = np.log(info["card"])
    entropy = ", ".join(f"{value:.2f}" for value in info["unigram_entropy"])
    usage = ", ".join(f"{100 * value:.0f}%" for value in info["codebook_usage"])
    return (
        f"{info['samples']} segments, {info['hours']:.2f} h in {seconds:.0f} s "
        f"({info['hours'] * 3600 / max(seconds, 1e-9):.0f} times real time), "
        f"{info['unreadable_segments']} unreadable -> {output_dir}\n"
        f"unigram entropy [nats] {entropy} of at most {ceiling:.2f}; codes used {usage}"
    )


@hydra.main(version_base="1.3", config_path=CONF, config_name="tokenize")
@exit_on_user_error
def main(cfg: DictConfig) -> None:
    arguments: Any = OmegaConf.to_container(cfg, resolve=True)
    for name in ("dataset", "output_dir", "codec_path"):
        if arguments[name] is None:
            raise UserError(f"{name} is missing; give {name}=…")
    from musicgen_train.formats import load_codec

    codec = load_codec(arguments.pop("codec_path"))
    began = time.monotonic()
    info = tokenize(codec=codec, **arguments)
    print(summary(info, time.monotonic() - began, cfg.output_dir))


if __name__ == "__main__":
    main()
