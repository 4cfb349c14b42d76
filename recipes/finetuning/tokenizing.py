"""Segments become codes of the base's codec."""

from typing import Any

from recipes.finetuning.base import write_codec
from recipes.finetuning.commands import show
from recipes.finetuning.stage import Stage, Work


def settings_of(work: Work) -> dict[str, Any]:
    return {"codec": work.base.codec.identity}


def run(work: Work) -> dict[str, Any]:
    import time

    from data_prep.tokenize import summary, tokenize
    from musicgen_train.formats import load_codec

    codec, output = work.run / "codec", work.run / "tokens"
    write_codec(work.base, codec)
    dataset, device = work.run / "dataset", work.device.kind
    paths = {"dataset": str(dataset), "output_dir": str(output), "codec_path": str(codec)}
    show("python -m data_prep.tokenize", {**paths, "device": device})
    began = time.monotonic()
    info = tokenize(dataset, output, load_codec(codec), device=device)
    print(summary(info, time.monotonic() - began, output))
    return {"fingerprint": info["fingerprint"]}


STAGE = Stage(
    "tokenize", "Turning them into codes", ("prepare",), ("tokens", "codec"), settings_of, run
)
