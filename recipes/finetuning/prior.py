"""Music that the base makes of general texts, as a dataset of codes: training on some of it keeps
what the songs do not show (prior preservation: Ruiz et al. 2022, "DreamBooth", section 3.2).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recipes.finetuning.general_prompts import general_prompts
from recipes.finetuning.generating import Request, generate_codes, ready
from recipes.finetuning.run_folder import remove, whole_folder
from recipes.finetuning.stage import Stage, Work

if TYPE_CHECKING:
    from musicgen_train.musicgen import MusicGen

FIRST_SEED = 1_000_000  # far from those that clips are generated with
WORK = "prior.work"  # finished batches
SHARED = ("sample_rate", "channels", "chroma", "codec_identity", "n_q", "card", "frame_rate")


def settings_of(work: Work) -> dict[str, Any]:
    plan = work.expected
    return {
        "base": work.base.identity,
        "clips": plan.prior_clips,
        "duration": plan.segment_duration,
        "sampling": work.settings.sampling,
        "seed": work.settings.seed,
        "prompts": [prompt.text for prompt in general_prompts("prior")],
        "batch_size": work.generation_batch,
    }


def run(work: Work) -> dict[str, Any]:
    plan = work.expected
    if not plan.prior_clips:
        print("prior_share=0: none is used, so what the songs do not show may be forgotten")
        (work.run / "prior").mkdir(exist_ok=True)
        return {"fingerprint": None}
    print(f"{plan.prior_clips} clips of {plan.segment_duration:g} s by base={work.base.name}")
    with whole_folder(work.run / "prior") as folder:
        fingerprint = write_dataset(work, folder)
    remove(work.run / WORK)
    return {"fingerprint": fingerprint}


def requests(work: Work) -> list[Request]:
    """The texts in turn, each time with another seed."""
    prompts, plan = general_prompts("prior"), work.expected
    first = FIRST_SEED + work.settings.seed
    return [
        Request(f"prior_{i:04d}", prompts[i % len(prompts)].text, first + i)
        for i in range(plan.prior_clips)
    ]


def write_dataset(work: Work, folder: Path) -> str:
    """Generate what is missing, and pack it all; return the fingerprint."""
    from musicgen_train.data.index import load_index
    from musicgen_train.data.shards import DatasetWriter

    like = load_index(work.run / "tokens")
    seconds = work.expected.segment_duration
    model = ready(work.base.model, work)
    with DatasetWriter(folder, like.members) as writer:
        for batch, codes in generate_codes(model, requests(work), seconds, work, work.run / WORK):
            for request, row in zip(batch, codes.numpy(), strict=True):
                files = _files(request, row, model, like.info, like.members)
                writer.write(request.key, files, "train", seconds)
        shared = {name: like.info[name] for name in SHARED if name in like.info}
        return writer.close({**shared, "segment_duration": seconds})["fingerprint"]


def _files(
    request: Request, codes: np.ndarray, model: MusicGen, info: dict[str, Any], members: Any
) -> dict[str, bytes]:
    """A clip as the songs' segments are."""
    from data_prep.parts import npy_bytes

    told = {"track_id": request.key}
    told |= {"description": request.text} if model.text_encoder is not None else {}
    files = {"codes.npy": npy_bytes(codes.astype(np.uint16)), "json": json.dumps(told).encode()}
    if "chroma.npy" in members:
        files["chroma.npy"] = npy_bytes(_chroma(model, codes, info))
    return files


def _chroma(model: MusicGen, codes: np.ndarray, info: dict[str, Any]) -> np.ndarray:
    """Chroma [F, 12] of a clip's codes [K, T], so that it is a melody with its music."""
    import torch

    from musicgen_train.conditioning.chroma import ChromaExtractor

    made = info["chroma"]
    extract = ChromaExtractor(model.sample_rate, window=made["window"], hop=made["hop"])
    with torch.inference_mode():
        wav = model.codec.decode(torch.from_numpy(codes)[None].to(model.device)).cpu()
    return extract(wav)[0].numpy().astype(np.float16)


STAGE = Stage(
    "prior", "Making music with the base, against forgetting", ("tokenize",), ("prior",),
    settings_of, run, leftovers=(WORK,),
)  # fmt: skip
