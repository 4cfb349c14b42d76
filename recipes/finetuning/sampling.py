"""Clips by the base and by the fine-tuned model: the same texts, the same seeds."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musicgen_train.whole_files import write_json
from recipes.finetuning.generating import Request, generate_codes, ready
from recipes.finetuning.prompts import Prompt, make_prompts, to_json
from recipes.finetuning.run_folder import read_json, remove, whole_folder
from recipes.finetuning.stage import Stage, Work

if TYPE_CHECKING:
    from musicgen_train.musicgen import MusicGen

PROMPTS = "samples/prompts.json"
SETS = ("before", "after")


def settings_of(work: Work) -> dict[str, Any]:
    return {
        "base": work.base.identity,
        "clips": work.plan().clips,
        "sampling": work.settings.sampling,
        "seed": work.settings.seed,
        "duration": work.expected.segment_duration,
        "batch_size": work.generation_batch,
    }


def run(work: Work) -> dict[str, Any]:
    from musicgen_train.formats import load_musicgen

    prompts = make_prompts(work)
    n = len(prompts)
    print(f"{n} clips of {work.expected.segment_duration:g} s each, before and after")
    asked = {"prompts": to_json(prompts), **settings_of(work)}
    make_set("before", asked | {"model": work.base.identity}, prompts, work,
             lambda: work.base.model)  # fmt: skip
    work.base.release()
    tuned = work.results["train"]["model"]
    make_set("after", asked | {"model": tuned}, prompts, work,
             lambda: load_musicgen(work.run / "training/model"))  # fmt: skip
    write_json(work.run / PROMPTS, {"prompts": to_json(prompts)})
    request = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]
    return {"prompts": n, "model": tuned, "request": request}


def make_set(
    name: str, asked: dict[str, Any], prompts: list[Prompt], work: Work, load: Any
) -> None:
    """Make a folder of clips, unless it is there and of the same request."""
    folder, kept = work.run / "samples" / name, work.run / "samples" / f".{name}.codes"
    if read_json(folder / "request.json") == asked:
        return
    if read_json(kept / "request.json") != asked:
        remove(kept)
        write_json(kept / "request.json", asked)
    remove(folder)
    with whole_folder(folder) as partial:
        write_clips(ready(load(), work), prompts, work, kept, partial)
        write_json(partial / "request.json", asked)
    remove(kept)


def write_clips(
    model: MusicGen, prompts: list[Prompt], work: Work, kept: Path, folder: Path
) -> None:
    """KEY.flac of each prompt."""
    import torch

    from musicgen_train.data.audio import encode_flac

    asked = [Request(prompt.key, prompt.text, prompt.seed) for prompt in prompts]
    for batch, codes in generate_codes(model, asked, work.expected.segment_duration, work, kept):
        with torch.inference_mode():
            wavs = model.codec.decode(codes.to(model.device)).cpu()
        for request, wav in zip(batch, wavs, strict=True):
            wav = torch.nan_to_num(wav.float()).clamp(-1, 1)
            (folder / f"{request.key}.flac").write_bytes(encode_flac(wav, model.sample_rate))


# What was made before the training stays when only that has changed: `make_set` looks itself.
STAGE = Stage(
    "samples", "Listening before and after", ("captions", "train"), (PROMPTS,), settings_of, run,
    keeps=tuple(f"samples/{name}" for name in SETS),
)  # fmt: skip
