"""MusicGen: text, melody or a musical prompt in, audio out."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from musicgen_train.adapters.options import check_adapters
from musicgen_train.arguments import number, shown
from musicgen_train.codec.encodec import Encodec
from musicgen_train.codec.stereo import StereoCodec
from musicgen_train.conditioning.chroma import ChromaExtractor
from musicgen_train.conditioning.text import T5TextEncoder, WordTextEncoder
from musicgen_train.data.audio import to_channels
from musicgen_train.decoding import decode_pieces, decode_rows, encoded_length, piece_length
from musicgen_train.descriptions import check_descriptions, check_negative
from musicgen_train.errors import UserError
from musicgen_train.fit import (
    check_fit,
    check_preparation,
    checked_device,
    prepare_for_generation,
)
from musicgen_train.generation_params import GenerationParams, check_seeds, frames_in, one_each
from musicgen_train.lm.fusing import TextCondition
from musicgen_train.lm.inference import restore
from musicgen_train.lm.model import LanguageModel
from musicgen_train.long_form import Request, compose, last_start
from musicgen_train.melody import Melodies, prepare_melodies
from musicgen_train.progress import reporting, telling
from musicgen_train.user_audio import at_rate, batched, check_audio, check_sample_rate

if TYPE_CHECKING:
    from typing import Self

    from musicgen_train.adapters.mixing import AdapterMix

Callback = Callable[[int, int], None]
Generated = Any  # wav; with return_tokens (wav, codes); see MusicGen


class MusicGen:
    """A codec, a language model over its codes, and what turns conditions into its inputs.

    Every `generate*` returns wav [B, C, N] at `sample_rate`, and takes

    return_tokens: return (wav, codes [B, K, T]).
    seeds: one int per sample, which fixes its music whatever else is in the batch; without them
        they are drawn from torch's global generator.
    durations: seconds of each sample, in place of that of `set_generation_params`; wav and codes
        are then lists, of [C, N_i] and [K, T_i].
    negative_descriptions: what the music should not be, one text for all or one per sample:
        guidance leads away from it instead of from music without a text.
    callback: called with (frames done, frames in all) after every step; raising in it cancels.
    progress: show a bar with the time left on stderr.
    """

    def __init__(
        self,
        name: str,
        codec: Encodec | StereoCodec,
        lm: LanguageModel,
        text_encoder: WordTextEncoder | T5TextEncoder | None = None,
        chroma: ChromaExtractor | None = None,
        max_duration: float = 30.0,
    ) -> None:
        check_fit(codec, lm, text_encoder, chroma)
        self.name = name
        self.codec = codec.eval()
        self.lm = lm.eval()
        self.text_encoder = None if text_encoder is None else text_encoder.eval()
        self.chroma = chroma
        self.max_duration = max_duration
        self._preparation: dict[str, Any] | None = None
        self._mix: AdapterMix | None = None
        self._progress_callback: Callback | None = None
        self.set_generation_params(duration=min(15.0, max_duration))

    @staticmethod
    def get_pretrained(
        name: str | Path = "melody",
        device: str | torch.device | None = None,
        *,
        weights: str = "float32",
        compile: bool = False,
        adapters: Mapping[str, float] | None = None,
    ) -> "MusicGen":
        """Load a model to generate with, on the GPU if there is one and `device` is not said.

        name: small, medium, melody, large, melody-large, stereo-…; a repository of the hub; or a
        checkpoint's folder or file. weights: float32, bfloat16, float16 (GPU) or int8 (CPU).
        compile: spend a minute at first on steps that are then faster (on a GPU also CUDA graphs).
        adapters: folders of adapters and the weights to mix them with, as `load_adapter` takes.
        """
        from musicgen_train.formats import load_musicgen

        if not isinstance(name, str | Path):
            raise UserError(f"name {shown(name)}: give a model's name, or a checkpoint's path")
        place = checked_device(device)  # before anything is loaded
        check_adapters(list(adapters or {}))
        model = load_musicgen(name).to(place)
        for path, weight in (adapters or {}).items():
            model.load_adapter(path, weight, name=path)
        model.prepare(weights=weights, compile=compile)
        return model

    def prepare(self, *, weights: str = "float32", compile: bool = False) -> None:
        """Make generation fast; the language model cannot be trained any more."""
        mix = self._adapter_mix()  # while the weights are not rounded
        prepare_for_generation(self.lm, weights=weights, compile=compile)
        self._preparation = {"weights": weights, "compile": compile}
        mix.apply()

    def to(self, device: str | torch.device) -> "Self":
        """Move every part to a device; a prepared model is prepared again there."""
        place = checked_device(device)
        if self._preparation is not None:
            check_preparation(place, self._preparation)  # while nothing is changed
            restore(self.lm)
        for part in (self.codec, self.lm, self.text_encoder, self.chroma):
            if part is not None:
                part.to(place)
        if self._preparation is not None:
            self.prepare(**self._preparation)
        return self

    def load_adapter(self, path: str | Path, weight: float = 1.0, name: str | None = None) -> str:
        """Add an adapter's folder to what is heard; return its name, by default its own.

        weight: how much of it; 0 is nothing, 1 as it was trained, below 0 away from it. An adapter
        of another model is refused. On a model that is rounded (`prepare`), it is added to what
        rounding left: load it before, where that matters.
        """
        return self._adapter_mix().load(path, weight, name)

    def set_adapters(self, weights: Mapping[str, float]) -> None:
        """Mix the loaded adapters by these weights; those that are not named are not heard."""
        self._adapter_mix().set(weights)

    def remove_adapters(self, *names: str) -> None:
        """Forget these adapters, or all; without any the model is its base again, bit for bit."""
        self._adapter_mix().remove(*names)
        if not self.adapters and self._preparation is None:
            self._mix = None  # the model may be trained

    @property
    def adapters(self) -> dict[str, float]:
        """The loaded adapters and their weights."""
        return {} if self._mix is None else dict(self._mix.weights)

    @property
    def merged_adapters(self) -> str:
        """What is mixed into the weights, for the record of whoever writes them; "" for nothing."""
        return "" if self._mix is None else self._mix.told()

    def _adapter_mix(self) -> "AdapterMix":
        if self._mix is None:
            from musicgen_train.adapters.mixing import AdapterMix

            self._mix = AdapterMix(self.lm)
        return self._mix

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
    def compression_model(self) -> Encodec | StereoCodec:
        """The codec, under the name that it has in audiocraft."""
        return self.codec

    @property
    def device(self) -> torch.device:
        """Where the language model is."""
        return self.lm.device

    @property
    def duration(self) -> float:
        """Seconds of the music that is generated, a prompt included."""
        duration = self.params.duration
        return self.max_duration if duration is None else duration

    def set_generation_params(
        self,
        use_sampling: bool = True,
        top_k: int = 250,
        top_p: float = 0.0,
        temperature: float = 1.0,
        duration: float | None = None,
        cfg_coef: float = 3.0,
        two_step_cfg: bool = False,
        extend_stride: float | None = None,
    ) -> None:
        """Set how the next generations are sampled.

        duration: seconds, a prompt included (default: max_duration). Beyond max_duration a window
        of that length slides by `extend_stride` seconds (default: 0.6 of it) over the music.
        top_p > 0 wins over top_k. cfg_coef is the guidance: 1 is none. two_step_cfg computes
        guidance in two steps, which takes less memory and more time.
        """
        params = GenerationParams(
            use_sampling=use_sampling,
            top_k=top_k,
            top_p=top_p,
            temperature=temperature,
            duration=duration,
            cfg_coef=cfg_coef,
            two_step_cfg=two_step_cfg,
            extend_stride=extend_stride,
        )
        params.stride(self.max_duration, self.frame_rate)
        frames_in(self.max_duration if duration is None else duration, self.frame_rate)
        self.params = params

    def set_custom_progress_callback(self, progress_callback: Callback | None = None) -> None:
        """Call a function with (frames done, frames in all) in every generation from now on.

        It takes the place of the bar that `progress` shows. None takes it away.
        """
        self._progress_callback = progress_callback

    def generate(
        self,
        descriptions: Sequence[str | None],
        progress: bool = False,
        return_tokens: bool = False,
        *,
        seeds: Sequence[int] | None = None,
        durations: Sequence[float] | None = None,
        negative_descriptions: str | Sequence[str | None] | None = None,
        callback: Callback | None = None,
    ) -> Generated:
        """Music for each description; None or "" is unconditional."""
        texts = check_descriptions(descriptions)
        request = self._request(texts, seeds, durations, negative_descriptions)
        return self._generate(request, progress, return_tokens, callback, durations is not None)

    def generate_unconditional(
        self,
        num_samples: int,
        progress: bool = False,
        return_tokens: bool = False,
        *,
        seeds: Sequence[int] | None = None,
        durations: Sequence[float] | None = None,
        negative_descriptions: str | Sequence[str | None] | None = None,
        callback: Callback | None = None,
    ) -> Generated:
        """Music of the model's own choosing."""
        remedy = "give a whole number of at least 1"
        number("num_samples", num_samples, lambda n: n >= 1, remedy, whole=True)
        request = self._request([""] * num_samples, seeds, durations, negative_descriptions)
        return self._generate(request, progress, return_tokens, callback, durations is not None)

    def generate_with_chroma(
        self,
        descriptions: Sequence[str | None],
        melody_wavs: Tensor | Sequence[Tensor | None],
        melody_sample_rate: int,
        progress: bool = False,
        return_tokens: bool = False,
        *,
        separator: str | None = None,
        seeds: Sequence[int] | None = None,
        durations: Sequence[float] | None = None,
        negative_descriptions: str | Sequence[str | None] | None = None,
        callback: Callback | None = None,
    ) -> Generated:
        """Music for each description that follows a melody.

        melody_wavs: [B, C, N] (or [C, N] for one), or a list of [C, N] with None for no melody.
        A melody shorter than the music is repeated. separator: "htdemucs" (a download of 160 MB)
        or the folder of its files takes drums and bass out of the melody, as the released models
        were trained; None hears the melody in the whole mix, which suits a melody played alone.
        """
        texts = check_descriptions(descriptions)
        self._check_melody_model()
        request = self._request(texts, seeds, durations, negative_descriptions)
        request = self._with_melodies(request, melody_wavs, melody_sample_rate, separator)
        return self._generate(request, progress, return_tokens, callback, durations is not None)

    def generate_continuation(
        self,
        prompt: Tensor,
        prompt_sample_rate: int,
        descriptions: Sequence[str | None] | None = None,
        progress: bool = False,
        return_tokens: bool = False,
        *,
        seeds: Sequence[int] | None = None,
        durations: Sequence[float] | None = None,
        negative_descriptions: str | Sequence[str | None] | None = None,
        callback: Callback | None = None,
    ) -> Generated:
        """Music that begins with the prompt [B, C, N] or [C, N]; it is part of the result."""
        prompt = batched("prompt", prompt)
        texts = check_descriptions([None] * len(prompt) if descriptions is None else descriptions)
        request = self._request(texts, seeds, durations, negative_descriptions)
        request = self._with_prompt(request, prompt, prompt_sample_rate)
        return self._generate(request, progress, return_tokens, callback, durations is not None)

    def generate_stream(
        self,
        descriptions: Sequence[str | None],
        chunk_duration: float = 0.5,
        *,
        melody_wavs: Tensor | Sequence[Tensor | None] | None = None,
        melody_sample_rate: int | None = None,
        separator: str | None = None,
        prompt: Tensor | None = None,
        prompt_sample_rate: int | None = None,
        seeds: Sequence[int] | None = None,
        negative_descriptions: str | Sequence[str | None] | None = None,
        callback: Callback | None = None,
        progress: bool = False,
    ) -> Generator[Tensor, None, None]:
        """Music while it is generated: wav [B, C, n] of about `chunk_duration` seconds a time.

        Put together it is what the other methods return under the same seeds, but for the rounding
        of float32 (1e-5). The first chunk comes after `chunk_duration` of steps, and is shorter by
        what the decoder looks ahead. Closing the generator cancels. A codec of chunks sets their
        length itself.
        """
        remedy = "give more than 0"
        chunk = number("chunk_duration", chunk_duration, lambda s: s > 0, remedy, unit=" s")
        piece = piece_length(self.codec, min(chunk, self.duration))
        texts = check_descriptions(descriptions)
        if melody_wavs is not None:
            self._check_melody_model()
        request = self._request(texts, seeds, None, negative_descriptions)
        if prompt is not None:
            prompt = batched("prompt", prompt)
            request = self._with_prompt(request, prompt, prompt_sample_rate)
        if melody_wavs is not None:
            request = self._with_melodies(request, melody_wavs, melody_sample_rate, separator)
        return self._stream(request, self.params, piece, callback, progress)

    def _stream(
        self,
        request: Request,
        params: GenerationParams,
        piece: int,
        callback: Callback | None,
        progress: bool,
    ) -> Generator[Tensor, None, None]:
        # `closing`: a consumer that stops halfway ends the language model's loop at once.
        with (
            self._reporting(callback, progress) as report,
            closing(self._compose(request, params, piece, report)) as pieces,
        ):
            yield from decode_pieces(self.codec, pieces)

    def _generate(
        self,
        request: Request,
        progress: bool,
        return_tokens: bool,
        callback: Callback | None,
        listed: bool,
    ) -> Generated:
        """All codes, then all audio: tensors, or lists of one tensor per sample."""
        with self._reporting(callback, progress) as report:
            (codes,) = self._compose(request, self.params, max(request.lengths), report)
        rows = [row[:, :n] for row, n in zip(codes, request.lengths, strict=True)]
        wavs = decode_rows(self.codec, rows)
        wav, codes = (wavs, rows) if listed else (torch.stack(wavs), codes)
        return (wav, codes) if return_tokens else wav

    def _reporting(
        self, callback: Callback | None, progress: bool
    ) -> AbstractContextManager[Callback]:
        own = self._progress_callback
        return reporting(telling(callback, own), progress and own is None)

    def _compose(
        self, request: Request, params: GenerationParams, piece: int, report: Callback
    ) -> Generator[Tensor, None, None]:
        """The codes of a request, `piece` frames at a time."""
        return compose(
            self.lm,
            request,
            size=self._window_size,
            stride=params.stride(self.max_duration, self.frame_rate),
            frame_rate=self.frame_rate,
            piece=piece,
            sampling=params.sampling(),
            report=report,
        )

    def _request(
        self,
        texts: list[str],
        seeds: Sequence[int] | None,
        durations: Sequence[float] | None,
        negative_descriptions: str | Sequence[str | None] | None,
    ) -> Request:
        """What is asked for, checked, one entry per text."""
        if durations is None:
            durations = [self.duration] * len(texts)
        if seeds is None:
            seeds = torch.randint(2**62, (len(texts),), device="cpu").tolist()
        seconds = one_each("durations", durations, len(texts))
        return Request(
            lengths=[frames_in(duration, self.frame_rate) for duration in seconds],
            seeds=check_seeds(one_each("seeds", seeds, len(texts))),
            text=self._text_condition(texts),
            negative_text=self._text_condition(check_negative(negative_descriptions, len(texts))),
        )

    @torch.no_grad()
    def _text_condition(self, texts: list[str] | None) -> TextCondition | None:
        """The encoder's output for the language model; None if nobody has a text."""
        if texts is None or not any(texts):
            return None
        if self.text_encoder is None:
            raise UserError(
                f"model {self.name!r} takes no text: leave the descriptions empty, "
                "or load a model with a text encoder"
            )
        embedding, mask = self.text_encoder(texts)
        return embedding.to(self.device), mask.to(self.device)

    @property
    def _window_size(self) -> int:
        """Frames that the language model's window holds."""
        return round(self.max_duration * self.frame_rate)

    def _check_melody_model(self) -> ChromaExtractor:
        if self.chroma is None:
            raise UserError(
                f"model {self.name!r} takes no melody: use generate(), or load a melody model"
            )
        return self.chroma

    def _with_melodies(
        self,
        request: Request,
        melody_wavs: Tensor | Sequence[Tensor | None],
        sample_rate: float | None,
        separator: str | None,
    ) -> Request:
        """The request with a melody to follow for each sample."""
        chroma = self._check_melody_model()
        stride = self.params.stride(self.max_duration, self.frame_rate)
        starts = [last_start(n, self._window_size, stride) for n in request.lengths]
        heard = [start / self.frame_rate + self.max_duration for start in starts]
        wavs = prepare_melodies(
            melody_wavs, sample_rate, heard, chroma.sample_rate, separator, self.device
        )
        length = self.lm.fuser.chroma_length
        return request._replace(melodies=Melodies(wavs, chroma, length, self.max_duration))

    def _with_prompt(self, request: Request, prompt: Tensor, sample_rate: float | None) -> Request:
        """The request with the codes of the prompt [B, C, N] in front."""
        n_samples = len(request.lengths)
        if len(prompt) != n_samples:
            raise UserError(
                f"{n_samples} descriptions but {len(prompt)} prompts: give one prompt each"
            )
        rate = check_sample_rate("prompt", sample_rate)
        checked = [check_audio(f"prompt {i}", wav) for i, wav in enumerate(prompt)]
        wav = at_rate("the prompt", torch.stack(checked), rate, self.sample_rate)
        n_frames, shortest = encoded_length(self.codec, wav.shape[-1]), min(request.lengths)
        if n_frames >= shortest:  # said before it is encoded, which takes time and memory
            seconds = n_frames / self.frame_rate
            raise UserError(
                f"the prompt lasts {seconds:g} s of a duration of {shortest / self.frame_rate:g} "
                f"s, which includes it: set a duration of more than {seconds:g}"
            )
        prompt = to_channels(wav, self.audio_channels).to(self.device)
        return request._replace(prompt=self.codec.encode(prompt))
