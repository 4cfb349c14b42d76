"""How fast clips are heard: every embedder in its published shape, with random weights.

`prepare` runs on the CPU in threads beside `hear`, which runs on a GPU if there is one.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from benchmarks.codec_models import PRESETS, music_like
from benchmarks.flops import counted_flops
from benchmarks.limits import Limits
from benchmarks.results import Row
from benchmarks.timing import device_name, in_turn, one_thread, times_as_fast

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import ClapModel

    from musicgen_train.evaluation.embedders.embedder import Embedder

SECONDS, RATE = 10.0, 32_000  # of a clip, as MusicGen makes it
MUSICCAPS = 5469  # clips of MusicCaps that the published figures rest on


def embedders(device: str) -> list[Embedder]:
    """Full-size networks; the judge is the shipped one."""
    import torch

    from musicgen_train.codec.encodec import Encodec
    from musicgen_train.evaluation.embedders.clap import ClapEmbedder, Source
    from musicgen_train.evaluation.embedders.codec_latents import CodecEmbedder
    from musicgen_train.evaluation.embedders.judge import load_judge
    from musicgen_train.evaluation.embedders.judge_embedder import JudgeEmbedder
    from musicgen_train.evaluation.embedders.passt import Passt
    from musicgen_train.evaluation.embedders.passt_embedder import PasstEmbedder
    from musicgen_train.evaluation.embedders.vggish import Vggish, VggishEmbedder

    torch.manual_seed(0)
    return [
        VggishEmbedder(Vggish(), "random", device=device),
        PasstEmbedder(Passt(time_patches=200), 20.0, device=device),
        ClapEmbedder(htsat_base(), None, Source("random", "random"), device=device),
        JudgeEmbedder(load_judge(None), device),
        CodecEmbedder(Encodec(**PRESETS["32khz"]), device),
    ]


def htsat_base() -> ClapModel:
    """CLAP with the audio tower of music_audioset_epoch_15_esc_90.14; texts are not heard here."""
    from transformers import ClapConfig, ClapModel

    audio = {
        "patch_embeds_hidden_size": 128, "hidden_size": 1024, "depths": [2, 2, 12, 2],
        "num_attention_heads": [4, 8, 16, 32],
    }  # fmt: skip
    return ClapModel(ClapConfig(text_config={"num_hidden_layers": 1}, audio_config=audio))


def hearing(rounds: int, n_clips: int, limits: Limits) -> Iterator[Row]:
    """Clips a second that each embedder hears; medians over rounds, embedders in turn."""
    everybody = embedders(device_name())
    clips = [music_like(1, SECONDS, RATE, start=i * RATE)[0] for i in range(n_clips)]
    times: dict[str, list[tuple[float, float]]] = {one.name: [] for one in everybody}
    for turn in range(rounds + 1):
        for one in everybody:
            found = time_embedder(one, clips[:1] if turn == 0 else clips)
            if turn > 0:  # the first time plans and allocates
                times[one.name].append(found)
    for one in everybody:
        prepare, hear = (statistics.median(part) for part in zip(*times[one.name], strict=True))
        note = (
            f"MusicCaps in {MUSICCAPS * hear / 60:.0f} min; preparing a clip takes "
            f"{1000 * prepare:.0f} ms beside it"
        )
        limit = limits.float32 / hearing_flops(one, clips[0])
        case = f"{one.name} hears clips of {SECONDS:.0f} s"
        yield Row("evaluation", case, 1 / hear, "clips/s", rounds=rounds, limit=limit, note=note)


def hearing_flops(one: Embedder, clip: Tensor) -> int:
    """Of a clip's network; that of a codec counts without its weight norm."""
    from musicgen_train.codec.folding import fold_weight_norm
    from musicgen_train.evaluation.embedders.codec_latents import CodecEmbedder

    if isinstance(one, CodecEmbedder):
        one = CodecEmbedder(fold_weight_norm(one.codec), one.device)
    prepared = one.prepare(clip, RATE)
    return counted_flops(lambda: one.hear(prepared), *vars(one).values())


def time_embedder(one: Embedder, clips: list[Tensor]) -> tuple[float, float]:
    """Seconds a clip to prepare and to hear; `hear` returns what is on the CPU, so all is done."""
    began = time.perf_counter()
    prepared = [one.prepare(clip, RATE) for clip in clips]
    between = time.perf_counter()
    for samples in prepared:
        one.hear(samples)
    ended = time.perf_counter()
    return (between - began) / len(clips), (ended - between) / len(clips)


def front_ends(rounds: int) -> Iterator[Row]:
    """CLAP's log-mel by us and by transformers' `ClapFeatureExtractor`; ours leads each pair.

    torch on one thread: a second one would wait for the threads of numpy's products.
    """
    import torch
    from transformers import ClapFeatureExtractor

    from musicgen_train.evaluation.embedders.clap_features import (
        HIGHEST,
        HOP,
        LOWEST,
        SAMPLE_RATE,
        WINDOW,
        log_mel,
        windows,
    )

    theirs = ClapFeatureExtractor(
        feature_size=64, sampling_rate=SAMPLE_RATE, hop_length=HOP, truncation="rand_trunc",
        padding="repeatpad", frequency_min=LOWEST, frequency_max=HIGHEST,
    )  # fmt: skip
    wav = music_like(1, SECONDS, SAMPLE_RATE)[0, 0]

    def by_us() -> Tensor:
        return log_mel(windows(wav, WINDOW))

    def by_transformers() -> Tensor:
        heard = theirs(wav.numpy(), sampling_rate=SAMPLE_RATE, return_tensors="pt")
        return torch.as_tensor(heard["input_features"])

    gap = float((by_us()[..., 0, :, :] - by_transformers().reshape(1, -1, 64)).abs().max())
    assert gap < 0.01, f"the front ends differ by {gap} dB"
    threads = torch.get_num_threads()
    one_thread()
    row = beside("CLAP's log-mel", "transformers", by_us, by_transformers, rounds, gap)
    torch.set_num_threads(threads)
    yield row


def resamplers(rounds: int) -> Iterator[Row]:
    """32 to 16 kHz by soxr, which we use, and by julius, which audiocraft uses."""
    from julius.resample import ResampleFrac

    from musicgen_train.data.audio import resample

    wav = music_like(1, SECONDS, RATE)[0]
    julius = ResampleFrac(RATE, 16_000)
    gap = float((resample(wav, RATE, 16_000) - julius(wav)).abs().max())
    calls = (lambda: resample(wav, RATE, 16_000), lambda: julius(wav))
    yield beside("resampling 32 to 16 kHz", "julius", *calls, rounds, gap)


def beside(
    title: str,
    peer: str,
    by_us: Callable[[], Any],
    by_peer: Callable[[], Any],
    rounds: int,
    gap: float,
) -> Row:
    """Ours beside another's in pairs, and the median of the pairs' ratios."""
    times = in_turn({"ours": by_us, peer: by_peer}, rounds)
    ours, theirs = (1000 * statistics.median(found) for found in times.values())
    return Row(
        "evaluation", f"{title}, a clip", ours, "ms", peer, theirs,
        times_as_fast(times["ours"], times[peer]), rounds, note=f"largest difference {gap:.1g}",
    )  # fmt: skip
