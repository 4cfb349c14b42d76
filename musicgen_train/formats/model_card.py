"""README.md of an exported checkpoint: what it is, how it is loaded, how well it does."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml

from musicgen_train.codec.encodec import Encodec
from musicgen_train.codec.stereo import StereoCodec
from musicgen_train.conditioning.text import T5TextEncoder
from musicgen_train.formats.provenance import Provenance, read_metrics_rows
from musicgen_train.musicgen import MusicGen

Layout = Literal["native", "audiocraft", "transformers"]
UNKNOWN = "unknown"
LIBRARIES = {
    "native": "musicgen_train", "audiocraft": "audiocraft", "transformers": "transformers"
}  # fmt: skip

_OURS = """from musicgen_train import MusicGen
model = MusicGen.get_pretrained("{folder}")
wavs = model.generate(["{prompt}"])  # [1, {channels}, samples] at {sample_rate} Hz"""
_AUDIOCRAFT = """from audiocraft.models import MusicGen
model = MusicGen.get_pretrained("{folder}")
wavs = model.generate(["{prompt}"])"""
_TRANSFORMERS = """from transformers import AutoProcessor, {kind} as Model
model, processor = Model.from_pretrained("{folder}"), AutoProcessor.from_pretrained("{folder}")
inputs = processor(text=["{prompt}"], return_tensors="pt")
wavs = model.generate(**inputs, max_new_tokens={steps})"""
_CODEC_OURS = """from musicgen_train.formats import load_codec
codec = load_codec("{folder}")
codes = codec.encode(wavs)  # [B, {channels}, samples] at {sample_rate} Hz -> [B, {n_q}, frames]"""
_CODEC_TRANSFORMERS = """from transformers import AutoProcessor, EncodecModel as Model
model, processor = Model.from_pretrained("{folder}"), AutoProcessor.from_pretrained("{folder}")
inputs = processor(raw_audio=wav, sampling_rate={sample_rate}, return_tensors="pt")
codes = model.encode(**inputs).audio_codes"""


def musicgen_card(
    model: MusicGen, layout: Layout, folder: str, source: Provenance, notes: Sequence[str] = ()
) -> str:
    """The card of a MusicGen that lies in `folder`; `source` says what is known of its making.

    notes: what whoever loads it should know, a sentence each.
    """
    melody = model.chroma is not None
    tags = ["musicgen", "music-generation", *(["melody"] if melody else []),
            *(["stereo"] if model.audio_channels == 2 else [])]  # fmt: skip
    values = {
        "folder": folder,
        "prompt": "calm piano" if model.text_encoder is not None else "",
        "channels": model.audio_channels,
        "sample_rate": model.sample_rate,
        "kind": f"Musicgen{'Melody' if melody else ''}ForConditionalGeneration",
        "steps": round(min(5.0, model.max_duration) * model.frame_rate) + max(model.lm.delays),
    }
    snippets = {"native": "", "audiocraft": _AUDIOCRAFT, "transformers": _TRANSFORMERS}
    return _card(
        _front_matter(layout, source.licence, tags, "text-to-audio"),
        f"# {_plain(model.name)}\n\nA MusicGen: a language model that writes music as the codes of "
        "a neural codec.\n",
        _table(_musicgen_facts(model)),
        _listed(notes),
        _loading(_OURS, snippets[layout], LIBRARIES[layout], values),
        _training(source),
        _metrics(source),
    )


def codec_card(
    codec: Encodec | StereoCodec,
    layout: Layout,
    folder: str,
    source: Provenance,
    notes: Sequence[str] = (),
) -> str:
    """The card of a codec alone; `notes` are as in `musicgen_card`."""
    values = {
        "folder": folder, "channels": codec.channels, "sample_rate": codec.sample_rate,
        "n_q": codec.n_q,
    }  # fmt: skip
    snippets = {"native": "", "audiocraft": "", "transformers": _CODEC_TRANSFORMERS}
    facts = {"parameters": _millions(codec), **_codec_facts(codec)}
    return _card(
        _front_matter(layout, source.licence, ["encodec", "audio-codec"], None),
        "# EnCodec\n\nA neural audio codec: waveforms to discrete codes and back.\n",
        _table(facts),
        _listed(notes),
        _loading(_CODEC_OURS, snippets[layout], LIBRARIES[layout], values),
        _training(source),
        _metrics(source),
    )


def _card(*parts: str) -> str:
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def _listed(notes: Sequence[str]) -> str:
    return "\n".join(f"- Note: {_plain(note)}." for note in notes)


def _front_matter(layout: Layout, licence: str | None, tags: list[str], task: str | None) -> str:
    """What the hub reads; a licence that it does not know by a short name is `other`."""
    licence = licence or UNKNOWN
    known = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+-]*", licence)
    content: dict[str, Any] = {"license": licence.lower() if known else "other"}
    if not known:
        content["license_name"] = licence
    content["library_name"] = LIBRARIES[layout]
    if task is not None:
        content["pipeline_tag"] = task
    content["tags"] = tags
    return (
        f"---\n{yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=math.inf)}---\n"
    )


def _musicgen_facts(model: MusicGen) -> dict[str, str]:
    lm, config = model.lm, model.lm.config
    how = {"cross": "by cross-attention", "prepend": "prepended", "sum": "added to the music"}
    conditions = []
    if config["text_dim"] and model.text_encoder is not None:
        encoder = model.text_encoder
        name = "own word embeddings"
        if isinstance(encoder, T5TextEncoder):
            name = Path(encoder.name_or_path).name
        conditions.append(f"text ({name}, {how[config['fuse_text']]})")
    if config["chroma_dim"] and model.chroma is not None:
        conditions.append(f"melody (chroma, {how[config['fuse_chroma']]})")
    return {
        "language model": f"{config['num_layers']} layers, width {lm.dim}, "
        f"{config['num_heads']} heads, {_millions(lm)} parameters",
        "codec": f"{_millions(model.codec)} parameters",
        **_codec_facts(model.codec),
        "conditioned on": ", ".join(conditions) or "nothing",
        "window": f"{model.max_duration:g} s",
    }


def _codec_facts(codec: Encodec | StereoCodec) -> dict[str, str]:
    rate = codec.n_q * codec.frame_rate * math.log2(codec.card) / 1000
    return {
        "codes": f"{codec.n_q} codebooks of {codec.card} at {codec.frame_rate:g} frames/s "
        f"({rate:.3g} kbit/s)",
        "audio": f"{codec.sample_rate} Hz, {'stereo' if codec.channels == 2 else 'mono'}",
    }


def _loading(ours: str, theirs: str, library: str, values: dict[str, Any]) -> str:
    text = f"\n## Loading it\n\n```python\n{ours.format(**values)}\n```\n"
    if theirs:
        text += f"\nWith {library}:\n\n```python\n{theirs.format(**values)}\n```\n"
    return text


def _training(source: Provenance) -> str:
    if not source.training:
        return ""
    facts = {name.replace("_", " "): value for name, value in source.training.items()}
    return f"\n## Training\n\n{_table(facts)}"


def _metrics(source: Provenance) -> str:
    if source.metrics is None:
        return ""
    lines = [_row("metric", "value", "good end", "bad end"), "|---|---|---|---|"]
    for row in read_metrics_rows(source.metrics):
        unit = f" {row['unit']}" if row.get("unit") else ""
        ends = [
            f"{_short(row.get(end))} ({row.get(f'{end}_is')})" if row.get(end) is not None
            else "–" for end in ("good_end", "bad_end")
        ]  # fmt: skip
        lines.append(_row(row["title"], _short(row.get("value")) + unit, *ends))
    return "\n## Metrics\n\nHow each was measured is in metrics.json.\n\n" + "\n".join(lines) + "\n"


def _table(facts: Mapping[str, Any]) -> str:
    rows = "\n".join(_row(name, _short(value)) for name, value in facts.items())
    return f"| | |\n|---|---|\n{rows}\n"


def _row(*cells: str) -> str:
    return f"| {' | '.join(map(_plain, cells))} |"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _plain(text: str) -> str:
    """A stranger's text as one line that shows as it is: no cell, tag, link or line of its own."""
    for mark, shown in (("&", "&amp;"), ("<", "&lt;"), ("[", "&#91;"), ("`", "&#96;"), ("|", "/")):
        text = text.replace(mark, shown)
    return " ".join(text.split())


def _millions(module: Any) -> str:
    count = sum(tensor.numel() for tensor in module.state_dict().values())
    return f"{count / 1e6:.3g} M" if count >= 1e6 else f"{count / 1e3:.3g} k"
