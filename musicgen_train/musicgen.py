"""MusicGen: text, melody or a musical prompt in, audio out."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from musicgen_train.codec.encodec import Encodec
from musicgen_train.conditioning.chroma import ChromaExtractor, fit_length, one_hot
from musicgen_train.conditioning.text import T5TextEncoder, WordTextEncoder
from musicgen_train.data.audio import resample, to_channels
from musicgen_train.errors import UserError
from musicgen_train.lm.model import LanguageModel
from musicgen_train.progress import reporting

if TYPE_CHECKING:
    from typing import Self

LONGEST = 600.0  # seconds; more is surely a slip (and hours of waiting)

Callback = Callable[[int, int], None]
Generated = Any  # wav [B, C, N]; with return_tokens (wav, codes [B, K, T])


class MusicGen:
    """A codec, a language model over its codes, and what turns conditions into its inputs.

    Every `generate*` returns wav [B, C, N] at `sample_rate` (with `return_tokens` also the codes
    [B, K, T]). `seeds`, one int per sample, fix the music whatever else is in the batch; without
    them they are drawn from torch's global generator. `callback(done, total)` is called after
    every step, in codec frames; raising in it cancels. `progress` shows a bar.
    """

    def __init__(
        self,
        name: str,
        codec: Encodec,
        lm: LanguageModel,
        text_encoder: WordTextEncoder | T5TextEncoder | None = None,
        chroma: ChromaExtractor | None = None,
        max_duration: float = 30.0,
    ) -> None:
        check_fit(codec, lm, text_encoder)
        self.name = name
        self.codec = codec.eval()
        self.lm = lm.eval()
        self.text_encoder = None if text_encoder is None else text_encoder.eval()
        self.chroma = chroma
        self.max_duration = max_duration
        self.set_generation_params(duration=min(15.0, max_duration))

    @staticmethod
    def get_pretrained(name: str | Path, device: str | torch.device | None = None) -> "MusicGen":
        """Load a checkpoint from its folder; on the GPU if there is one."""
        from musicgen_train.formats import load_musicgen

        if device is None:
            device = "cuda" if torch.cuda.is_available() else "cpu"
        return load_musicgen(name).to(device)

    def to(self, device: str | torch.device) -> "Self":
        """Move every part to a device."""
        for part in (self.codec, self.lm, self.text_encoder, self.chroma):
            if part is not None:
                part.to(device)
        return self

    @property
    def sample_rate(self) -> int:
        """Samples per second of the generated audio."""
        return self.codec.sample_rate

    @property
    def frame_rate(self) -> float:
        """Codec frames per second."""
        return self.codec.frame_rate

    @property
    def audio_channels(self) -> int:
        """Channels of the generated audio."""
        return self.codec.channels

    @property
    def device(self) -> torch.device:
        """Where the language model is."""
        return self.lm.heads.weight.device

    def set_generation_params(
        self,
        use_sampling: bool = True,
        top_k: int = 250,
        top_p: float = 0.0,
        temperature: float = 1.0,
        duration: float | None = None,
        cfg_coef: float = 3.0,
        extend_stride: float | None = None,
    ) -> None:
        """Set how the next generations are sampled.

        duration: seconds, a prompt included (default: max_duration). Beyond max_duration a window
        of that length slides by `extend_stride` seconds (default: 0.6 of it) over the music.
        top_p > 0 wins over top_k. cfg_coef is the guidance: 1 is none.
        """
        duration = self.max_duration if duration is None else duration
        stride = 0.6 * self.max_duration if extend_stride is None else extend_stride
        if not 0 < duration <= LONGEST:
            raise UserError(f"duration {duration:g} s: give more than 0 and at most {LONGEST:g} s")
        if round(duration * self.frame_rate) < 1:
            raise UserError(f"duration {duration:g} s is less than a frame: give more")
        if not 1 / self.frame_rate <= stride < self.max_duration:
            raise UserError(
                f"extend_stride {stride:g} s: give a frame or more, and less than the window "
                f"of {self.max_duration:g} s"
            )
        if top_k < 0 or not 0 <= top_p <= 1 or temperature < 0 or not math.isfinite(cfg_coef):
            raise UserError(
                f"top_k {top_k}, top_p {top_p}, temperature {temperature}, cfg_coef {cfg_coef}: "
                "give top_k >= 0, top_p in [0, 1], temperature >= 0 and a finite cfg_coef"
            )
        self.duration = duration
        self.extend_stride = stride
        self.generation_params = {
            "greedy": not use_sampling,
            "top_k": top_k,
            "top_p": top_p,
            "temperature": temperature,
            "cfg_coef": cfg_coef,
        }

    def generate(
        self,
        descriptions: Sequence[str | None],
        progress: bool = False,
        return_tokens: bool = False,
        *,
        seeds: Sequence[int] | None = None,
        callback: Callback | None = None,
    ) -> Generated:
        """Music for each description; None or "" is unconditional."""
        texts = check_descriptions(descriptions)
        codes = self._generate_codes(texts, None, None, seeds, callback, progress)
        return self._output(codes, return_tokens)

    def generate_unconditional(
        self,
        num_samples: int,
        progress: bool = False,
        return_tokens: bool = False,
        *,
        seeds: Sequence[int] | None = None,
        callback: Callback | None = None,
    ) -> Generated:
        """Music of the model's own choosing."""
        if num_samples < 1:
            raise UserError(f"num_samples {num_samples}: ask for at least 1")
        codes = self._generate_codes([""] * num_samples, None, None, seeds, callback, progress)
        return self._output(codes, return_tokens)

    def generate_with_chroma(
        self,
        descriptions: Sequence[str | None],
        melody_wavs: Tensor | Sequence[Tensor | None],
        melody_sample_rate: int,
        progress: bool = False,
        return_tokens: bool = False,
        *,
        seeds: Sequence[int] | None = None,
        callback: Callback | None = None,
    ) -> Generated:
        """Music for each description that follows a melody.

        melody_wavs: [B, C, N] (or [C, N] for one), or a list of [C, N] with None for no melody.
        A melody shorter than the music is repeated.
        """
        texts = check_descriptions(descriptions)
        if self.chroma is None:
            raise UserError(
                f"model {self.name!r} takes no melody: use generate(), or load a melody model"
            )
        if isinstance(melody_wavs, Tensor) and melody_wavs.dim() == 2:
            melody_wavs = melody_wavs[None]
        melodies = list(melody_wavs)
        if len(melodies) != len(texts):
            raise UserError(
                f"{len(texts)} descriptions but {len(melodies)} melodies: give one melody each"
            )
        rate = self.chroma.sample_rate
        prepared = [
            None if m is None else check_audio(f"melody {i}", m, melody_sample_rate, rate)
            for i, m in enumerate(melodies)
        ]
        codes = self._generate_codes(texts, prepared, None, seeds, callback, progress)
        return self._output(codes, return_tokens)

    def generate_continuation(
        self,
        prompt: Tensor,
        prompt_sample_rate: int,
        descriptions: Sequence[str | None] | None = None,
        progress: bool = False,
        return_tokens: bool = False,
        *,
        seeds: Sequence[int] | None = None,
        callback: Callback | None = None,
    ) -> Generated:
        """Music that begins with the prompt [B, C, N] or [C, N]; it is part of the result."""
        if prompt.dim() == 2:
            prompt = prompt[None]
        if prompt.dim() != 3:
            raise UserError(f"the prompt has shape {list(prompt.shape)}: give [B, C, N]")
        texts = check_descriptions(descriptions if descriptions is not None else [""] * len(prompt))
        if len(texts) != len(prompt):
            raise UserError(
                f"{len(texts)} descriptions but {len(prompt)} prompts: give one prompt each"
            )
        wavs = [
            check_audio(f"prompt {i}", wav, prompt_sample_rate, self.sample_rate)
            for i, wav in enumerate(prompt)
        ]
        wav = torch.stack([to_channels(wav, self.audio_channels) for wav in wavs])
        codes = self.codec.encode(wav.to(self.device))
        seconds = codes.shape[-1] / self.frame_rate
        if codes.shape[-1] >= round(self.duration * self.frame_rate):
            raise UserError(
                f"the prompt lasts {seconds:g} s of a duration of {self.duration:g} s, which "
                f"includes it: call set_generation_params(duration=...) with more than {seconds:g}"
            )
        codes = self._generate_codes(texts, None, codes, seeds, callback, progress)
        return self._output(codes, return_tokens)

    @torch.no_grad()
    def _generate_codes(
        self,
        texts: list[str],
        melodies: list[Tensor | None] | None,
        prompt: Tensor | None,
        seeds: Sequence[int] | None,
        callback: Callback | None,
        progress: bool,
    ) -> Tensor:
        """Slide the model's window over `duration`: codes [B, K, T], the prompt's included."""
        if seeds is None:
            seeds = torch.randint(2**62, (len(texts),)).tolist()
        if len(seeds) != len(texts):
            raise UserError(f"{len(seeds)} seeds for {len(texts)} samples: give one each")
        total = round(self.duration * self.frame_rate)
        window = round(self.max_duration * self.frame_rate)
        stride = round(self.extend_stride * self.frame_rate)
        text = self._text_condition(texts)
        empty = torch.zeros(len(texts), self.lm.n_q, 0, dtype=torch.long, device=self.device)
        codes = empty if prompt is None else prompt
        start = 0
        with reporting(callback, progress) as report:
            while (done := codes.shape[-1]) < total:
                if done - start >= window:
                    start += stride
                    continue
                length = min(window, total - start)
                known = codes[..., start:]
                generated = self.lm.generate(
                    length,
                    text,
                    self._chroma_condition(melodies, start / self.frame_rate),
                    prompt=known if known.shape[-1] else None,
                    seeds=[window_seed(seed, start) for seed in seeds],
                    callback=lambda step, _, done=done, end=start + length: report(
                        min(done + step, end), total
                    ),
                    **self.generation_params,
                )
                codes = torch.cat([codes, generated[..., done - start :]], dim=-1)
        return codes

    def _text_condition(self, texts: list[str]) -> tuple[Tensor, Tensor] | None:
        """The encoder's output for the language model; None if nobody has a text."""
        if not any(texts):
            return None
        if self.text_encoder is None:
            raise UserError(
                f"model {self.name!r} takes no text: leave the descriptions empty, "
                "or load a model with a text encoder"
            )
        embedding, mask = self.text_encoder(texts)
        return embedding.to(self.device), mask.to(self.device)

    def _chroma_condition(
        self, melodies: list[Tensor | None] | None, offset: float
    ) -> Tensor | None:
        """One-hot chroma [B, F, 12] of the window that begins at `offset` seconds."""
        if melodies is None or self.chroma is None or all(m is None for m in melodies):
            return None
        n_samples = round(self.max_duration * self.chroma.sample_rate)
        first = round(offset * self.chroma.sample_rate)
        positions = torch.arange(first, first + n_samples)
        rows = []
        for melody in melodies:
            # Silence has the null chroma, so it also stands for "no melody".
            wav = torch.zeros(1, 1) if melody is None else melody.mean(dim=0, keepdim=True)
            rows.append(wav[:, positions % wav.shape[1]])
        chroma = self.chroma(torch.stack(rows).to(self.device))
        return one_hot(fit_length(chroma, self.lm.fuser.chroma_length))

    @torch.no_grad()
    def _output(self, codes: Tensor, return_tokens: bool) -> Generated:
        wav = self.codec.decode(codes)
        return (wav, codes) if return_tokens else wav


def check_fit(
    codec: Encodec, lm: LanguageModel, text_encoder: WordTextEncoder | T5TextEncoder | None
) -> None:
    """Refuse parts that do not belong together, naming both values."""
    if (codec.n_q, codec.card) != (lm.n_q, lm.card):
        raise UserError(
            f"the codec has {codec.n_q} codebooks of {codec.card}, the language model "
            f"{lm.n_q} of {lm.card}: load the codec that the model was trained with"
        )
    text_dim = lm.config["text_dim"]
    if text_encoder is not None and text_encoder.dim != text_dim:
        raise UserError(
            f"the text encoder gives {text_encoder.dim} features, the language model takes "
            f"{text_dim}: load the text encoder that the model was trained with"
        )


def check_descriptions(descriptions: Sequence[str | None]) -> list[str]:
    """Descriptions as texts, None as ""."""
    if isinstance(descriptions, str):
        raise UserError(f"descriptions is one text: give a list, [{descriptions!r}]")
    if not descriptions:
        raise UserError("no descriptions: give at least one (it may be empty)")
    return ["" if text is None else text.strip() for text in descriptions]


def check_audio(name: str, wav: Tensor, sample_rate: int, target_rate: int) -> Tensor:
    """The user's audio [C, N] at the rate that is needed; refused if it is not audio."""
    if wav.dim() != 2 or wav.shape[1] == 0:
        raise UserError(f"{name} has shape {list(wav.shape)}: give [channels, samples], not empty")
    if not wav.is_floating_point() or not wav.isfinite().all():
        raise UserError(f"{name} is not audio: give finite float samples in [-1, 1]")
    if sample_rate <= 0:
        raise UserError(f"{name} has sample rate {sample_rate}: give samples per second")
    return resample(wav.detach().float().cpu(), int(sample_rate), target_rate)


def window_seed(seed: int, start: int) -> int:
    """A seed for the window at frame `start`: the first keeps the sample's own."""
    return (seed + start * 0x9E3779B97F4A7C15) % 2**63
