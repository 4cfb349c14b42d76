"""Genre, moods and instruments of a piece, chosen from a vocabulary by a CLAP model.

Zero-shot classification of Wu et al., "Large-scale Contrastive Language-Audio Pretraining with
Feature Fusion and Keyword-to-Caption Augmentation" (ICASSP 2023): each word becomes a sentence, and
those whose embeddings are nearest to the sound's are chosen.
"""

import functools
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from torch import Tensor

from musicgen_train.data.audio_blocks import even_blocks, resample_blocks
from musicgen_train.errors import UserError

_SENTENCES = {
    "genre": "This is {} music.",
    "moods": "This music is {}.",
    "instrument": "Music played on {}.",
}
_LISTENED, _EVERY = 10.0, 30.0  # seconds: how much of each stretch the model hears
_BATCH = 8
_CLEAR = 0.2  # probability among the words of a field; so five of them at most
_LARGEST_FILE = 2**20  # bytes of a vocabulary


class Clap(NamedTuple):
    """A model with the embeddings of a vocabulary."""

    model: Any
    listen: Any  # feature extractor
    words: dict[str, list[str]]
    embeddings: dict[str, Tensor]  # [n, D], of unit length, for each field


def clap_tags(
    blocks: Iterable[Tensor], sample_rate: int, model: str, vocabulary: str, device: str
) -> dict[str, list[str]]:
    """The words of each field of the vocabulary that fit blocks [C, n], the best first.

    10 s of every 30 s are heard. Fields without a word that stands out are left out.
    """
    clap = load_clap(model, vocabulary, device)
    heard = _sound(clap, blocks, sample_rate, device)
    if heard is None:
        return {}
    scale = clap.model.logit_scale_a.exp().item()
    found = {}
    for field, embeddings in clap.embeddings.items():
        chances = (scale * embeddings @ heard).softmax(0).tolist()
        ranked = sorted(zip(chances, clap.words[field], strict=True), reverse=True)
        if words := [word for chance, word in ranked if chance >= _CLEAR]:
            found[field] = words
    return found


@functools.lru_cache(maxsize=1)
def load_clap(model: str, vocabulary: str, device: str) -> Clap:
    """A CLAP model of transformers, from a folder or by its name; UserError if it is not one."""
    from transformers import AutoFeatureExtractor, AutoTokenizer, ClapModel

    words = read_vocabulary(Path(vocabulary))
    try:
        listen = AutoFeatureExtractor.from_pretrained(model)
        tokenizer = AutoTokenizer.from_pretrained(model)
        clap: Any = ClapModel.from_pretrained(model)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"clap_model={model}: cannot be loaded ({reason}); check it") from None
    clap, embeddings = clap.eval().to(device), {}
    with torch.inference_mode():
        for field, tags in words.items():
            sentences = [_SENTENCES[field].format(tag) for tag in tags]
            tokens = tokenizer(sentences, padding=True, return_tensors="pt").to(device)
            embeddings[field] = clap.get_text_features(**tokens).pooler_output
    return Clap(clap, listen, words, embeddings)


def read_vocabulary(path: Path) -> dict[str, list[str]]:
    """Lists of words for genre, moods and instrument, from a YAML file."""
    remedy = f"give lists of words for {', '.join(_SENTENCES)}"
    try:
        with path.open(encoding="utf-8") as file:
            content = yaml.safe_load(file.read(_LARGEST_FILE))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; check clap_vocabulary") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise UserError(f"{path}: is not YAML; {remedy}") from None
    if not isinstance(content, dict) or not content:
        raise UserError(f"{path}: holds no fields; {remedy}")
    for field, words in content.items():
        if field not in _SENTENCES:
            raise UserError(f"{path}: {field} is not known; {remedy}")
        if not isinstance(words, list) or len(words) < 2 or not all(map(_is_word, words)):
            raise UserError(f"{path}: {field} is not a list of two words or more; {remedy}")
    return content


def _is_word(word: object) -> bool:
    return isinstance(word, str) and bool(word.strip())


def _sound(clap: Clap, blocks: Iterable[Tensor], sample_rate: int, device: str) -> Tensor | None:
    """The embedding [D], of unit length, of the parts that are heard; None if there are none."""
    rate = clap.listen.sampling_rate
    total = None
    for batch in _batches(_parts(blocks, sample_rate, rate)):
        inputs = clap.listen(batch, sampling_rate=rate, return_tensors="pt").to(device)
        with torch.inference_mode():
            found = clap.model.get_audio_features(**inputs).pooler_output.sum(0)
        total = found if total is None else total + found
    return None if total is None else torch.nn.functional.normalize(total, dim=0)


def _parts(blocks: Iterable[Tensor], sample_rate: int, rate: int) -> Iterator[np.ndarray]:
    """Mono samples, 10 s from the middle of every 30 s, or what there is."""
    mono = (block.float().mean(0, keepdim=True) for block in blocks)
    length = round(_LISTENED * rate)
    resampled = resample_blocks(mono, sample_rate, rate)
    for number, stretch in enumerate(even_blocks(resampled, round(_EVERY * rate))):
        if number and stretch.shape[1] < length:
            return  # a short rest says little
        start = max(0, (stretch.shape[1] - length) // 2)
        yield stretch[0, start : start + length].numpy()


def _batches(parts: Iterator[np.ndarray]) -> Iterator[list[np.ndarray]]:
    while batch := list(itertools.islice(parts, _BATCH)):
        yield batch
