"""From a file's text encoder and chroma sections, neither of which is trusted, to modules."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from musicgen_train.conditioning.chroma import ChromaExtractor
from musicgen_train.conditioning.text import T5TextEncoder, WordTextEncoder
from musicgen_train.errors import UserError
from musicgen_train.formats.files import brief
from musicgen_train.formats.t5_identity import native_identity
from musicgen_train.formats.value_rules import TEXT, check_arguments, whole

TextEncoder = WordTextEncoder | T5TextEncoder

# The only classes that a file can ask for; nothing is ever imported by the name it gives.
TEXT_ENCODERS: dict[str, type[WordTextEncoder] | type[T5TextEncoder]] = {
    "words": WordTextEncoder,
    "t5": T5TextEncoder,
}
_ENCODER_RULES = {
    "words": {
        "dim": whole(1, 2**14),
        "vocab_size": whole(2, 2**20),
        "max_words": whole(1, 2**14),
        "num_layers": whole(0, 64),
    },
    "t5": {"name_or_path": TEXT, "dim": whole(1, 2**14), "cache_size": whole(1, 2**24)},
}
_CHROMA_RULES = {
    "sample_rate": whole(1, 2**20),
    "n_chroma": whole(1, 96),
    "window": whole(2, 2**18),
    "hop": whole(1, 2**18),
}


def describe_text_encoder(encoder: TextEncoder | None) -> dict[str, Any] | None:
    """The section that `build_text_encoder` reads."""
    if encoder is None:
        return None
    (kind,) = (kind for kind, known in TEXT_ENCODERS.items() if type(encoder) is known)
    section = {"type": kind, **encoder.config}
    if isinstance(encoder, T5TextEncoder):
        section["name_or_path"] = native_identity(encoder.name_or_path).name
    return section


def build_text_encoder(
    section: Any, state: dict[str, Tensor], source: Path, weights: Path
) -> TextEncoder | None:
    """The text encoder of a section {"type": "words" | "t5", ...}; None for null.

    `state` has the weights of a word encoder, from the file `weights`; a T5 is loaded when it is
    first used.
    """
    if section is None:
        if state:
            raise UserError(f"{source} describes no text encoder, but {weights} has weights of one")
        return None
    kind = section.get("type") if isinstance(section, dict) else None
    if not isinstance(kind, str) or kind not in TEXT_ENCODERS:
        raise UserError(
            f"{source}: the text encoder is {brief(section)}, but only the types "
            f"{' and '.join(TEXT_ENCODERS)} are known"
        )
    arguments = {name: value for name, value in section.items() if name != "type"}
    rules = _ENCODER_RULES[kind]
    check_arguments(TEXT_ENCODERS[kind], arguments, rules, "the text encoder", source)
    encoder = _empty(kind, arguments)
    try:
        encoder.load_state_dict({k: t.float() for k, t in state.items()}, assign=True)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise UserError(f"{weights}: the text encoder's weights do not fit: {first}") from None
    return encoder.eval()


def _empty(kind: str, arguments: dict[str, Any]) -> TextEncoder:
    """An encoder whose weights are still to come: nothing is allocated before shapes are known."""
    if kind == "t5":  # it has none of its own
        return T5TextEncoder(**arguments)
    with torch.device("meta"):
        return WordTextEncoder(**arguments)


def build_chroma(section: Any, source: Path) -> ChromaExtractor | None:
    """The chroma extractor of a section with its arguments; None for null."""
    if section is None:
        return None
    check_arguments(ChromaExtractor, section, _CHROMA_RULES, "chroma", source)
    return ChromaExtractor(**section)
