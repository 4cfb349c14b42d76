"""Take the vocals out of a track: by its own stems, by HT-Demucs, or not at all."""

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from data_prep.pcm import Pcm
from data_prep.tag_filter import VOCAL_WORDS, says_vocals
from musicgen_train.conditioning.stem_stream import measure_level, stream_stems
from musicgen_train.conditioning.stems import RHYTHM, load_demucs
from musicgen_train.data.audio import to_channels
from musicgen_train.data.audio_blocks import even_blocks, resample_blocks
from musicgen_train.data.audio_file import AudioError, AudioFile

SEPARATORS = ("none", "stems", "demucs")
_BLOCK = 1 << 16  # samples that stems are summed in


class Separated(NamedTuple):
    """A track as it is decoded and separated, in constant memory."""

    pcm: Pcm  # what was decoded; known once the blocks are through
    sample_rate: int  # of the blocks
    # [K, C, n]: first the target, without vocals; last what the melody is heard in, without drums
    # and bass. K is 1 where both are the same.
    blocks: Iterator[Tensor]


def keep_mix(path: Path) -> Separated:
    """Trust that the track has no vocals; hear the melody in the whole mix."""
    file = AudioFile(path)
    pcm = Pcm(file.sample_rate, file.channels)
    return Separated(pcm, file.sample_rate, (block[None] for block in pcm.hear(file.blocks())))


def sum_stems(path: Path, stems: Mapping[str, Path]) -> Separated:
    """Sum a track's own stems: all but vocals, and all but drums and bass.

    What is decoded, and known by its hash, is then the sum.
    """
    if not stems:
        raise AudioError(path, "its metadata lists no stems", "use separator=none or demucs")
    if all(is_vocal(name) for name in stems):
        raise AudioError(path, "all its stems are vocals")
    try:
        files = {name: AudioFile(stems[name]) for name in sorted(stems)}
    except AudioError as error:
        raise _bad_stem(path, error) from None
    rates = sorted({file.sample_rate for file in files.values()})
    if len(rates) > 1:
        raise AudioError(path, f"its stems differ in sample rate ({rates})")
    channels = {file.channels for file in files.values()}
    if len(channels - {1}) > 1:
        raise AudioError(path, f"its stems differ in channels ({sorted(channels)})")
    pcm = Pcm(rates[0], max(channels))
    return Separated(pcm, rates[0], _sums(path, files, pcm))


def separate_with_demucs(
    path: Path, name: str, repo: str | None, batch_size: int, device: str
) -> Separated:
    """Split a track with HT-Demucs, at the separator's own rate and channels.

    The file is decoded twice: its level, which the separator needs, is only known at its end.
    """
    model = load_demucs(name, repo)

    def mix(blocks: Iterator[Tensor]) -> Iterator[Tensor]:
        resampled = resample_blocks(blocks, pcm.sample_rate, model.samplerate)
        return (to_channels(block, model.audio_channels) for block in resampled)

    file = AudioFile(path)
    pcm = Pcm(file.sample_rate, file.channels)
    level = measure_level(mix(pcm.hear(file.blocks())))
    stems = stream_stems(model, mix(file.blocks()), level, device, batch_size)
    sums = (_target_and_melodic(dict(zip(model.sources, b, strict=True))) for b in stems)
    return Separated(pcm, model.samplerate, sums)


def is_vocal(stem: str) -> bool:
    """Whether a stem of this name holds singing."""
    return says_vocals(stem, (*VOCAL_WORDS, "vox", "bgv"))


def _sums(path: Path, files: Mapping[str, AudioFile], pcm: Pcm) -> Iterator[Tensor]:
    """Sum stems in step; shorter ones end in silence, mono ones sound in all channels."""
    streams = [even_blocks(file.blocks(), _BLOCK) for file in files.values()]
    try:
        for row in zip_longest(*streams, fillvalue=torch.zeros(1, 0)):
            n_samples = max(block.shape[1] for block in row)
            padded = [F.pad(block, (0, n_samples - block.shape[1])) for block in row]
            wavs = [to_channels(block, pcm.channels) for block in padded]
            sums = _target_and_melodic(dict(zip(files, wavs, strict=True)))
            pcm.add(sums[0])
            yield sums
    except AudioError as error:
        raise _bad_stem(path, error) from None


def _target_and_melodic(stems: Mapping[str, Tensor]) -> Tensor:
    """Sums [2, C, n] of stems [C, n]: all but vocals, and all but drums and bass."""
    silence = torch.zeros_like(next(iter(stems.values())))
    target = [stem for name, stem in stems.items() if not is_vocal(name)]
    melodic = [stem for name, stem in stems.items() if name.lower() not in RHYTHM]
    return torch.stack([sum(target, silence), sum(melodic, silence)])


def _bad_stem(path: Path, error: AudioError) -> AudioError:
    return AudioError(path, f"a stem cannot be used ({error.path.name} {error.reason})")
