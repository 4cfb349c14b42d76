"""Dataset -> codes: python -m data_prep.tokenize dataset=… output_dir=… codec_path=…"""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
import numpy as np
from omegaconf import DictConfig, OmegaConf

from musicgen_train.errors import UserError, exit_on_user_error

if TYPE_CHECKING:
    from data_prep.encoding import ShardWork
    from data_prep.executors import Executor
    from musicgen_train.data.index import DatasetIndex

_FEW = 100  # segments too few to judge a share by
CONF = str(Path(__file__).resolve().parents[1] / "conf")


def tokenize(
    dataset: str | Path,
    output_dir: str | Path,
    codec: Any,
    *,
    batch_size: int | None = None,
    precision: str = "float32",
    keep_audio: bool = False,
    shard_mb: float = 256,
    max_bad: float = 0.01,
    **executor: Any,
) -> dict[str, Any]:
    """Write the dataset again with `codes.npy` (uint16 [K, T]) per segment; return dataset.json.

    Unless `keep_audio`, the audio is left out. batch_size: segments at once; None: 8 on GPUs, 1 on
    CPUs, which more only costs memory. precision: float32, or bfloat16 or float16 for the
    codec's convolutions. max_bad: share of unreadable segments above which the run stops, judged
    from 100 segments on. `executor` are the fields of `data_prep.executors.Executor`. Segments that
    cannot be read are recorded in failures.jsonl, each with its reason.
    """
    from data_prep.encoding import ShardWork, check_precision
    from data_prep.executors import Executor
    from data_prep.folders import WORK, resumable_folder
    from musicgen_train.data.index import load_index
    from musicgen_train.data.shards import ShardReader

    workers = Executor(**{"num_workers": 0, **executor})
    if batch_size is None:
        batch_size = 1 if workers.device == "cpu" else 8
    if batch_size < 1:
        raise UserError(f"batch_size is {batch_size}; use at least 1")
    check_precision(precision)
    index = load_index(dataset if "://" in str(dataset) else Path(dataset).absolute())
    check_codec(index, codec)
    with resumable_folder(Path(str(output_dir))) as folder:
        work = ShardWork(
            ShardReader(index), folded(codec), codec.identity(), (folder / WORK).absolute(),
            batch_size, precision, workers.device,
        )  # fmt: skip
        failures = encode_all(work, workers, max_bad)
        return pack(work, folder, failures, keep_audio, shard_mb)


def folded(codec: Any) -> Any:
    """The codec without weight norm: faster, and workers can be sent it."""
    from musicgen_train.codec.encodec import Encodec
    from musicgen_train.codec.folding import fold_weight_norm
    from musicgen_train.codec.stereo import StereoCodec

    if isinstance(codec, StereoCodec):
        return StereoCodec(fold_weight_norm(codec.mono))
    return fold_weight_norm(codec) if isinstance(codec, Encodec) else codec


def check_codec(index: "DatasetIndex", codec: Any) -> None:
    """Refuse a codec that the dataset's audio does not fit, and a dataset that is not whole."""
    from musicgen_train.data.storage import is_remote

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
    if not is_remote(index.folder):
        absent = [name for name in index.shard_sizes() if not (Path(index.folder) / name).is_file()]
        if absent:
            raise UserError(f"{index.folder}: {absent[0]} is missing; copy the dataset again")
    if codec.card > 1 << 16:
        raise UserError(f"the codec has {codec.card} codes a codebook; at most 65536 can be stored")


def encode_all(work: "ShardWork", workers: "Executor", max_bad: float) -> list[dict[str, str]]:
    """Write the part of every shard; return what could not be read, in the dataset's order."""
    from data_prep.parts import remove_unfinished
    from data_prep.progress import progress_bar
    from data_prep.workers import WorkerDied

    remove_unfinished(work.folder)
    index = work.reader.index
    hours = np.bincount(index.shard, index.duration, len(index.info["shards"])) / 3600
    failures: dict[int, list[dict[str, str]]] = {}
    with progress_bar("tokenising", float(hours.sum())) as bar:
        done, n_read = 0.0, 0
        for shard, report in workers.run(work, range(len(hours))):
            if isinstance(report, WorkerDied):
                raise UserError(
                    f"shard {shard} of {index.folder}: {report}; use a smaller batch_size or fewer "
                    "workers, and run this again: what is finished is kept"
                )
            failures[shard] = report["failures"]
            n_read += report["n_samples"] + len(report["failures"])
            done += float(hours[shard])
            n_failed = sum(map(len, failures.values()))
            if n_read >= _FEW and n_failed > max_bad * n_read:
                some = next(failure for found in failures.values() for failure in found)
                raise UserError(
                    f"{index.folder}: {n_failed} of {n_read} segments cannot be read, such as "
                    f"{some['sample']} ({some['reason']}); copy or prepare the dataset again, or "
                    f"raise max_bad={max_bad:g}"
                )
            note = f"{done:.1f} h, {3600 * done / bar.seconds:.0f}× real time, {n_failed} failed"
            bar.advance(float(hours[shard]), note)
    return [failure for shard in sorted(failures) for failure in failures[shard]]


def pack(
    work: "ShardWork",
    folder: Path,
    failures: list[dict[str, str]],
    keep_audio: bool,
    shard_mb: float,
) -> dict[str, Any]:
    """Join the codes with what else belongs to each segment, in the dataset's order."""
    from data_prep.folders import NothingUsable
    from data_prep.parts import npy_array, part_path, read_samples
    from musicgen_train.data.index import SPLITS
    from musicgen_train.data.shards import DatasetWriter

    index = work.reader.index
    statistics = CodeStatistics(work.codec.n_q, work.codec.card)
    kept = ["json", *(["flac"] if keep_audio else [])]
    kept += [name for name in index.members if name == "chroma.npy"]
    members = sorted([*kept, "codes.npy"])
    with DatasetWriter(folder, members, int(shard_mb * 2**20)) as writer:
        for shard in range(len(index.info["shards"])):
            for files in read_samples(part_path(work.folder, work.key(shard))):
                row = int(files.pop("row"))
                statistics.add(npy_array(files["codes.npy"]), is_train=bool(index.split[row] == 0))
                files |= {name: work.reader.read(row, name) for name in kept}
                duration = float(index.duration[row])
                writer.write(index.key(row), files, SPLITS[index.split[row]], duration)
        if statistics.n_samples == 0:
            raise NothingUsable(
                f"none of {len(index)} segments in {index.folder} could be read "
                f"({failures[0]['reason']})"
            )
        lines = [json.dumps(failure, ensure_ascii=False) + "\n" for failure in failures]
        (folder / "failures.jsonl").write_text("".join(lines), encoding="utf-8")
        return writer.close(describe(work, statistics, keep_audio, len(failures)))


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
    work: "ShardWork", statistics: CodeStatistics, keep_audio: bool, n_failed: int
) -> dict[str, Any]:
    """The source's dataset.json with the codec's part added."""
    from data_prep.prepare import settings_hash

    index, codec, identity = work.reader.index, work.codec, work.identity
    return {
        **index.info,
        "codec_identity": identity,
        "n_q": codec.n_q,
        "card": codec.card,
        "frame_rate": float(codec.frame_rate),
        "unigram_entropy": statistics.entropy(),
        "codebook_usage": statistics.usage(),
        "precision": work.precision,
        "unreadable_segments": n_failed,
        "source_fingerprint": index.fingerprint,
        "settings_hash": settings_hash(
            {
                "source": index.info.get("settings_hash"),
                "codec": identity,
                "precision": work.precision,
                "keep_audio": keep_audio,
            }
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
