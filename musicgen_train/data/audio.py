"""Read audio files of any kind, change their rate and channels, and write generated music."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor

from musicgen_train.data.audio_file import AudioError, AudioFile
from musicgen_train.data.decoders import ReadOnce
from musicgen_train.data.loudness import normalize_audio
from musicgen_train.errors import UserError
from musicgen_train.whole_files import replacing, writing

AUDIO_SUFFIXES = {".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".aif", ".aiff"}
_SUBTYPES = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
_VORBIS_RATES = (64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 500)  # kbit/s of quality 0 to 10
_BLOCK = 1 << 16  # libsndfile's Vorbis encoder overflows its stack on one very long write


def read_audio(
    path: str | Path, start: float = 0.0, duration: float | None = None, finite: bool = True
) -> tuple[Tensor, int]:
    """Decode a file, or `duration` seconds of it from `start`: -> (wav [C, N] float32, rate).

    finite: refuse samples that are NaN or infinite.
    """
    file = AudioFile(path)
    wanted = None if duration is None else round(duration * file.sample_rate)
    blocks, n_samples = [], 0
    for block in file.blocks(first=round(start * file.sample_rate), finite=finite):
        blocks.append(block)
        n_samples += block.shape[1]
        if wanted is not None and n_samples >= wanted:
            break
    if not n_samples:
        raise AudioError(path, "holds no audio samples")
    return torch.cat(blocks, dim=1)[:, :wanted], file.sample_rate


def resample(wav: Tensor, from_rate: int, to_rate: int) -> Tensor:
    """Change the rate of a [..., N] wav; every channel keeps its place in time."""
    if from_rate == to_rate or not wav.shape[-1]:
        return wav
    import soxr

    channels = wav.detach().cpu().float().reshape(-1, wav.shape[-1])
    out = soxr.resample(channels.T.numpy(), from_rate, to_rate, quality="HQ")
    resampled = torch.from_numpy(np.ascontiguousarray(np.asarray(out, np.float32).T))
    return resampled.reshape(*wav.shape[:-1], -1).to(wav.device)


def to_channels(wav: Tensor, channels: int) -> Tensor:
    """Average a [..., C, N] wav to mono, copy mono to many, or keep the first `channels`."""
    if wav.shape[-2] == channels:
        return wav
    if channels == 1:
        return wav.mean(dim=-2, keepdim=True)
    if wav.shape[-2] == 1:
        return wav.expand(*wav.shape[:-2], channels, wav.shape[-1]).contiguous()
    if wav.shape[-2] > channels:
        return wav[..., :channels, :].contiguous()
    raise UserError(f"cannot make {channels} channels from {wav.shape[-2]}; use mono audio")


def encode_flac(wav: Tensor, sample_rate: int) -> bytes:
    """Encode a [C, N] wav in [-1, 1] as 16-bit FLAC; equal samples give equal bytes."""
    buffer = io.BytesIO()
    soundfile.write(buffer, wav.T.numpy(), sample_rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def decode_flac(data: bytes, start: int = 0, n_samples: int = -1) -> Tensor:
    """Decode `n_samples` samples from sample `start` on, without decoding the rest: -> [C, N].

    A view of interleaved samples, for those who copy them anyway.
    """
    with ReadOnce(io.BytesIO(data)) as file:
        if start:
            file.seek(start)
        if n_samples < 0:
            n_samples = file.frames - start
        return torch.from_numpy(file.read(n_samples, dtype="float32", always_2d=True).T)


def audio_write(
    stem_name: str | Path,
    wav: Tensor,
    sample_rate: int,
    format: str = "wav",
    mp3_rate: int = 320,
    ogg_rate: int | None = None,
    normalize: bool = True,
    strategy: str = "peak",
    peak_clip_headroom_db: float = 1,
    rms_headroom_db: float = 18,
    loudness_headroom_db: float = 14,
    loudness_compressor: bool = False,
    log_clipping: bool = True,
    make_parent_dir: bool = True,
    add_suffix: bool = True,
) -> Path:
    """Level a [C, N] or [N] wav by `strategy`, write it as `<stem_name>.<format>`, return the path.

    Strategies: peak (scale to the headroom), clip (cut at it), rms and loudness (scale to a level,
    then cut what exceeds full scale), none (the wav must already be within [-1, 1]).
    mp3_rate: kbit/s. ogg_rate: about so many kbit/s; None leaves it to the encoder.
    """
    wav = _checked(wav)
    check_format(format, sample_rate, len(wav))
    wav = normalize_audio(
        wav,
        sample_rate,
        normalize=normalize,
        strategy=strategy,
        peak_clip_headroom_db=peak_clip_headroom_db,
        rms_headroom_db=rms_headroom_db,
        loudness_headroom_db=loudness_headroom_db,
        loudness_compressor=loudness_compressor,
        clipping_name=str(stem_name) if log_clipping else None,
    )
    path = Path(f"{stem_name}.{format}" if add_suffix else stem_name)
    with writing(path):
        if make_parent_dir:
            path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            _encode(temporary, wav, sample_rate, format, mp3_rate, ogg_rate)
    return path


def write_with_comment(
    path: Path, wav: Tensor, sample_rate: int, format: str, comment: str
) -> Path:
    """Write a [C, N] wav in [-1, 1] as it is, with a text embedded; return the path.

    The text may have 48 kB in wav, and only ASCII in mp3.
    """
    wav = _checked(wav)
    check_format(format, sample_rate, len(wav))
    with writing(path), replacing(path) as temporary:
        _encode(temporary, wav, sample_rate, format, 320, None, comment)
    return path


def check_format(format: str, sample_rate: int, channels: int) -> None:
    """Refuse a format that is unknown, or cannot hold audio of this rate and these channels."""
    if format not in _SUBTYPES:
        raise UserError(f"unknown audio format {format!r}; use one of {', '.join(_SUBTYPES)}")
    try:
        _encode(io.BytesIO(), torch.zeros(channels, 1), sample_rate, format, 320, None)
    except soundfile.LibsndfileError:
        raise UserError(
            f"{format} files cannot have {channels} channels of {sample_rate} Hz: use wav or flac"
        ) from None


def _checked(wav: Tensor) -> Tensor:
    if not wav.is_floating_point():
        raise UserError(f"audio to write must be floating point in [-1, 1], not {wav.dtype}")
    wav = wav.detach().float().cpu()
    wav = wav[None] if wav.dim() == 1 else wav
    if wav.dim() != 2 or wav.shape[1] == 0:
        raise UserError(f"audio to write must be [channels, samples], not {list(wav.shape)}")
    if not wav.isfinite().all():
        raise UserError("audio to write holds NaN or infinite samples")
    return wav


def _encode(
    target: Path | io.BytesIO,
    wav: Tensor,
    sample_rate: int,
    format: str,
    mp3_rate: int,
    ogg_rate: int | None,
    comment: str | None = None,
) -> None:
    container, subtype = _SUBTYPES[format]
    options: dict[str, Any] = {}
    if format == "mp3":
        # libsndfile spells a bit rate as a level: 0 the highest of the MPEG version, 1 the lowest.
        low, high = (32, 320) if sample_rate >= 32000 else (8, 160)
        level = (high - min(max(mp3_rate, low), high)) / (high - low)
        options = {"bitrate_mode": "CONSTANT", "compression_level": min(level, 0.999)}
    if format == "ogg" and ogg_rate is not None:
        # Vorbis has qualities, not rates: what each takes of 44.1 kHz stereo, in tenths.
        nominal = ogg_rate * (44_100 / sample_rate) * (2 / wav.shape[0])
        quality = np.interp(nominal, _VORBIS_RATES, np.linspace(0, 1, len(_VORBIS_RATES)))
        options = {"compression_level": 1 - float(quality)}
    samples = wav.T.numpy()
    with soundfile.SoundFile(
        target, "w", sample_rate, samples.shape[1], subtype, format=container, **options
    ) as file:
        if comment is not None:
            file.comment = comment
        for begin in range(0, len(samples), _BLOCK):
            file.write(samples[begin : begin + _BLOCK])
