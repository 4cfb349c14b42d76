"""What the language model under training makes of the same few prompts, as it learns."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import torch
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor

from musicgen_train.conditioning.chroma import one_hot
from musicgen_train.data.datamodule import MusicDataModule
from musicgen_train.data.segments import BadSample
from musicgen_train.errors import UserError, reason_of
from musicgen_train.musicgen import MusicGen
from musicgen_train.training.monitoring.clips import Clip, send_clips, write_clip
from musicgen_train.training.monitoring.sample_page import ORIGINAL, PagePrompt, write_page
from musicgen_train.training.monitoring.step_clock import clock_of


class Prompt(NamedTuple):
    """What is asked for, always with the same seed."""

    key: str  # name of its files
    text: str
    chroma: Tensor | None = None  # [F, 12] of a validation sample, max-normalised
    codes: Tensor | None = None  # [K, T] of that sample itself


class PromptSamples(L.Callback):
    """Every `every_n_steps` steps and at the end, write music for fixed prompts.

    `folder`/step_N holds KEY.flac and KEY.png (its spectrogram) of each prompt, and
    `folder`/index.html plays them all, steps side by side. W&B and TensorBoard loggers get the
    same. prompts: texts; None takes `n_prompts` descriptions of the validation set, with their
    melodies if the model follows them. duration: seconds; None is that of the data's segments.
    Prompt i has the seed `seed` + i. Training goes on as if there were no samples; what cannot be
    written is told and left out.
    """

    def __init__(
        self,
        folder: str | Path,
        every_n_steps: int = 1000,
        prompts: Sequence[str] | None = None,
        n_prompts: int = 4,
        duration: float | None = None,
        seed: int = 0,
        cfg_coef: float = 3.0,
        top_k: int = 250,
        temperature: float = 1.0,
    ):
        if every_n_steps < 1 or n_prompts < 1 or (duration is not None and duration <= 0):
            raise UserError(
                f"samples have every_n_steps {every_n_steps}, n_prompts {n_prompts} and duration "
                f"{duration}: use 1 or more steps and prompts, and more than 0 seconds"
            )
        self.folder = Path(folder)
        self.every_n_steps = every_n_steps
        self.texts = None if prompts is None else list(prompts)
        self.n_prompts = n_prompts
        self.duration = duration
        self.seed = seed
        self.sampling = {"cfg_coef": cfg_coef, "top_k": top_k, "temperature": temperature}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]
        longest = float(pl_module.max_duration)  # type: ignore[arg-type]
        self.seconds = self.duration or min(datamodule.duration, longest)
        if self.seconds > longest:
            raise UserError(
                f"samples of {self.seconds:g} s are longer than task.max_duration={longest:g}: "
                "lower callbacks.samples.duration"
            )
        if self.texts is None:
            self.prompts = validation_prompts(datamodule, self.n_prompts)
        else:
            self.prompts = [Prompt(f"prompt_{i}", text) for i, text in enumerate(self.texts)]
        self.last_step = trainer.global_step

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        step = trainer.global_step
        due = step % self.every_n_steps == 0 or step == trainer.max_steps
        if step != self.last_step and due and self.prompts:
            clock, device = clock_of(trainer), trainer.strategy.root_device
            clock.pause("samples", device, self.every_n_steps)
            self._sample(trainer, pl_module)
            clock.resume("samples")
        self.last_step = step

    def _sample(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        training = [module for module in pl_module.modules() if module.training]
        try:
            # Of a sharded model all ranks hold a part, and have to give it.
            model = musicgen_of(pl_module)
            if model is None or not trainer.is_global_zero:
                return
            with isolate_rng(include_cuda=trainer.strategy.root_device.type == "cuda"):
                # A compiled layer would be compiled anew for the shapes of generation.
                eager = torch.compiler.set_stance("force_eager")
                with trainer.precision_plugin.forward_context(), eager:
                    codes = self._codes(model)
                wavs = [model.codec.decode(row[None])[0] for row in codes]
        finally:
            for module in training:
                module.training = True
        self._publish(trainer, model, wavs)

    @torch.no_grad()
    def _codes(self, model: MusicGen) -> list[Tensor]:
        """Codes [K, T] for each prompt, one at a time: it may be tight beside a training."""
        n_frames = max(1, round(self.seconds * model.frame_rate))
        made = []
        for i, prompt in enumerate(self.prompts):
            text = chroma = None
            if model.text_encoder is not None and prompt.text:
                text = model.text_encoder([prompt.text])
            if model.chroma is not None and prompt.chroma is not None:
                chroma = one_hot(prompt.chroma[None].to(model.device))
            made.append(
                model.lm.generate(
                    n_frames, text, chroma, seeds=[self.seed + i], **self.sampling
                )[0]
            )  # fmt: skip
        return made

    def _publish(self, trainer: L.Trainer, model: MusicGen, wavs: list[Tensor]) -> None:
        """Write and log what was made; a training does not end because that fails."""
        rate = model.sample_rate
        try:
            self._write_originals(model)
            folder = self.folder / f"step_{trainer.global_step}"
            clips = self._write(folder, wavs, rate)
            shown = [PagePrompt(p.key, p.text, p.chroma is not None) for p in self.prompts]
            write_page(self.folder, shown, trainer.max_steps)
            send_clips(trainer, "samples", clips, rate)
        except Exception as error:  # of files, pictures, or a logger's connection
            print(f"samples of step {trainer.global_step} were left out: {reason_of(error)}")

    def _write_originals(self, model: MusicGen) -> None:
        """The validation samples that the prompts are from, as the codec gives them back."""
        with isolate_rng(include_cuda=model.device.type == "cuda"):
            for prompt in self.prompts:
                written = (self.folder / ORIGINAL / f"{prompt.key}.png").exists()
                if prompt.codes is not None and not written:
                    n_frames = max(1, round(self.seconds * model.frame_rate))
                    codes = prompt.codes[None, :, :n_frames].to(model.device)
                    wav = model.codec.decode(codes)[0]
                    write_clip(self.folder / ORIGINAL, prompt.key, wav, model.sample_rate)

    def _write(self, folder: Path, wavs: list[Tensor], rate: int) -> list[Clip]:
        return [
            write_clip(folder, prompt.key, torch.nan_to_num(wav), rate)
            for prompt, wav in zip(self.prompts, wavs, strict=True)
        ]


def musicgen_of(module: Any) -> MusicGen | None:
    """What is trained (its average, if there is one) to generate with; None on ranks without it."""
    return module.musicgen()


def validation_prompts(datamodule: MusicDataModule, n_prompts: int) -> list[Prompt]:
    """The first validation samples whose descriptions differ: the same on every rank."""
    prompts: dict[str, Prompt] = {}
    for source in datamodule.sources("valid"):
        for row in source.rows[: 8 * n_prompts]:
            if len(prompts) == n_prompts:
                break
            try:
                sample = source.segments.read(int(row), 0.0)
            except BadSample:
                continue
            text = sample.metadata.get("description") or ""
            melody = sample.chroma if sample.chroma is not None and len(sample.chroma) else None
            key = "".join(c if c.isalnum() or c in "._-" else "_" for c in sample.key)
            prompts.setdefault(text, Prompt(key, text, melody, sample.content))
    return list(prompts.values())
