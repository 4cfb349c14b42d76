"""Text encoders: descriptions in, embeddings and their mask out.

Both encoders share one interface: `forward(descriptions) -> (embedding [B, L, E], mask [B, L])`,
where "" gives a row of zeros in the mask, and `dim` is E.
"""

import json
import re
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from musicgen_train.errors import UserError, reason_of

_ASSETS = Path(__file__).parents[1] / "assets"  # where the tiny base's encoder is
_MUSICGENS = ("musicgen", "musicgen_melody")  # model types of transformers with a T5 inside
_T5_BESIDE = ("config.json", "tokenizer*", "spiece.model", "special_tokens_map.json")
_T5_TENSORS = (*_T5_BESIDE, "model.safetensors.index.json", "model*.safetensors")
_T5_PICKLES = (*_T5_BESIDE, "pytorch_model.bin.index.json", "pytorch_model*.bin")
_REMEDY = (
    "give a folder that holds config.json, model.safetensors and tokenizer.json of a T5, or go "
    "online once"
)


class WordTextEncoder(nn.Module):
    """Hashed words -> embeddings, trained from scratch with the language model.

    It needs no vocabulary file: word w is row 1 + crc32(w) % (vocab_size - 1); row 0 is padding.
    """

    def __init__(
        self, dim: int = 128, vocab_size: int = 4096, max_words: int = 48, num_layers: int = 0
    ) -> None:
        super().__init__()
        self.config = {
            "dim": dim,
            "vocab_size": vocab_size,
            "max_words": max_words,
            "num_layers": num_layers,
        }
        self.dim = dim
        self.vocab_size = vocab_size
        self.max_words = max_words
        self.embedding = nn.Embedding(vocab_size, dim, padding_idx=0)
        # Word order only matters to layers that mix the words.
        self.positions = nn.Embedding(max_words, dim) if num_layers else None
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                dim, max(1, dim // 64), 4 * dim, 0.0, "gelu", batch_first=True, norm_first=True
            )
            for _ in range(num_layers)
        )

    def word_ids(self, description: str) -> list[int]:
        """Ids of the first `max_words` words; case and punctuation do not count."""
        words = re.findall(r"\w+#?", description.lower())[: self.max_words]
        return [1 + zlib.crc32(word.encode()) % (self.vocab_size - 1) for word in words]

    def forward(self, descriptions: list[str]) -> tuple[Tensor, Tensor]:
        """B texts -> embedding [B, L, dim], mask [B, L]; L is that of the longest, at least 1."""
        rows = [self.word_ids(text) for text in descriptions]
        longest = max(1, *map(len, rows))
        padded = [row + [0] * (longest - len(row)) for row in rows]
        ids = torch.tensor(padded, device=self.embedding.weight.device)
        mask = ids > 0
        x = self.embedding(ids)
        if self.positions is not None:
            x = x + self.positions.weight[:longest]
            padding = ~mask
            padding[:, 0] = False  # an empty text must leave softmax something to attend to
            for layer in self.layers:
                x = layer(x, src_key_padding_mask=padding)
        return x * mask[..., None], mask.long()


class T5TextEncoder(nn.Module):
    """A frozen T5 encoder from the hub or a local folder, loaded when first used.

    `name_or_path` may also be a MusicGen of transformers, for the T5 inside it.

    Its weights are neither parameters nor state of this module: they stay out of optimizers and
    checkpoints. Each distinct text is encoded once and kept (the last `cache_size` ones).
    """

    _device: Tensor

    def __init__(
        self, name_or_path: str = "google-t5/t5-base", dim: int = 768, cache_size: int = 4096
    ) -> None:
        super().__init__()
        self.config = {"name_or_path": name_or_path, "dim": dim, "cache_size": cache_size}
        self.name_or_path = name_or_path
        self.dim = dim
        self.cache_size = cache_size
        self._cache: OrderedDict[str, Tensor] = OrderedDict()
        self._loaded: tuple[Any, Any] | None = None  # in a tuple, so not a submodule
        # Follows `.to(device)`, which cannot reach the T5 itself.
        self.register_buffer("_device", torch.empty(0), persistent=False)

    def forward(self, descriptions: list[str]) -> tuple[Tensor, Tensor]:
        """B texts -> embedding [B, L, dim], mask [B, L]; L is that of the longest, at least 1."""
        missing = [t for t in dict.fromkeys(descriptions) if t and t not in self._cache]
        fresh = dict(zip(missing, self._encode(missing), strict=True)) if missing else {}
        self._cache.update(fresh)
        rows = []
        for text in descriptions:
            if text:
                self._cache.move_to_end(text)
            rows.append(self._cache[text] if text else torch.zeros(0, self.dim))
        while len(self._cache) > self.cache_size:
            self._cache.popitem(last=False)
        longest = max(1, *(len(row) for row in rows))
        embedding = torch.zeros(len(rows), longest, self.dim)
        mask = torch.zeros(len(rows), longest, dtype=torch.long)
        for b, row in enumerate(rows):
            embedding[b, : len(row)] = row
            mask[b, : len(row)] = 1
        device = self._device.device
        return embedding.to(device), mask.to(device)

    @torch.no_grad()
    def _encode(self, texts: list[str]) -> list[Tensor]:
        """Embeddings [L, dim] of each text, on the CPU."""
        if self._loaded is None:
            self._loaded = load_t5(self.name_or_path)
        tokenizer, t5 = self._loaded
        if t5.config.d_model != self.dim:
            raise UserError(
                f"text encoder {self.name_or_path!r} has width {t5.config.d_model}, the model "
                f"expects {self.dim}: set text_dim={t5.config.d_model} or use another encoder"
            )
        t5 = t5.to(self._device.device)
        tokens = tokenizer(texts, return_tensors="pt", padding=True).to(self._device.device)
        # In float32 even under autocast: T5 overflows in half precision.
        with torch.autocast(self._device.device.type, enabled=False):
            hidden = t5(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask)
        lengths = tokens.attention_mask.sum(dim=1).tolist()
        rows = hidden.last_hidden_state.float().cpu()
        # Copies, so that the cache does not hold whole padded batches.
        return [row[:n].clone() for row, n in zip(rows, lengths, strict=True)]


def load_t5(name_or_path: str) -> tuple[Any, Any]:
    """Tokenizer and frozen encoder of a T5, from the hub or a folder, in float32.

    It may be a MusicGen of transformers, whose own text encoder is meant then.
    """
    try:
        return _load(_t5_folder(name_or_path), name_or_path)
    except UserError:
        raise
    except Exception as error:  # whatever transformers stumbles over in a stranger's files
        raise UserError(
            f"text encoder {name_or_path!r} cannot be loaded ({reason_of(error)[:300]}): {_REMEDY}"
        ) from error


def t5_origin(name_or_path: str) -> str:
    """Which T5 this is: the name itself, or what a MusicGen of transformers says its T5 was."""
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(
            name_or_path, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, AttributeError):
        return name_or_path
    if config.model_type not in _MUSICGENS:
        return name_or_path
    return getattr(config.text_encoder, "_name_or_path", "") or name_or_path


def _t5_folder(name_or_path: str) -> Path:
    """The folder itself, one that ships, or that of a name of the hub, if whole in its cache."""
    from huggingface_hub import snapshot_download

    for folder in (Path(name_or_path), _ASSETS / name_or_path):
        if not folder.is_dir():
            continue
        lacking = _lacking(folder)
        if lacking:
            raise UserError(f"text encoder {name_or_path!r} lacks {lacking}: {_REMEDY}")
        return folder
    reason = ""
    # The cache first, which answers at once; then safetensors before pickles, if there are any.
    for offline, files in ((True, _T5_PICKLES), (False, _T5_TENSORS), (False, _T5_PICKLES)):
        try:
            found = snapshot_download(
                name_or_path, allow_patterns=list(files), local_files_only=offline
            )
        except (OSError, ValueError) as error:  # what the hub raises derives from these
            if not offline:
                reason = str(error).strip().splitlines()[0]
            # A cache that lacks some file may still hold all that is needed.
            found = getattr(error, "snapshot_path", None)
        if found is not None:
            lacking = _lacking(Path(found))
            if not lacking:
                return Path(found)
            reason = reason or f"it lacks {lacking}"
    raise UserError(f"text encoder {name_or_path!r} cannot be loaded ({reason}): {_REMEDY}")


def _lacking(folder: Path) -> str:
    """Which of its parts a folder lacks; without its files a tokenizer would be an empty one."""
    if not (folder / "config.json").is_file():
        return "config.json"
    if not any((folder / name).is_file() for name in ("tokenizer.json", "spiece.model")):
        return "tokenizer.json and spiece.model"
    for weights in ("model.safetensors", "pytorch_model.bin"):
        index = folder / f"{weights}.index.json"
        if (folder / weights).is_file() or (index.is_file() and _has_shards(index)):
            return ""
    return "its weights, model.safetensors"


def _has_shards(index: Path) -> bool:
    try:
        shards = set(json.loads(index.read_text())["weight_map"].values())
        return all((index.parent / Path(shard).name).is_file() for shard in shards)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


@contextmanager
def _without_bars() -> Iterator[None]:
    """Without transformers' bar, which a file on disk is too quick for."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _load(folder: Path, name: str) -> tuple[Any, Any]:
    from transformers import AutoConfig, AutoTokenizer, T5EncoderModel

    class InsideMusicGen(T5EncoderModel):
        # What else a MusicGen's file holds is no reason for a warning.
        _keys_to_ignore_on_load_unexpected = (r"^(audio_|decoder\.|enc_to_dec)",)

    safely: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    config = AutoConfig.from_pretrained(folder, **safely)
    cls: Any = T5EncoderModel
    options: dict[str, Any] = {}
    if config.model_type in _MUSICGENS:
        cls, config = InsideMusicGen, config.text_encoder
        options = {"config": config, "key_mapping": {r"^text_encoder\.": ""}}
    if config.model_type != "t5":
        raise UserError(f"text encoder {name!r} is a {config.model_type}: only t5 is supported")
    tokenizer = AutoTokenizer.from_pretrained(folder, **safely)
    highest = max(tokenizer.get_vocab().values())
    if highest >= config.vocab_size:
        raise UserError(
            f"text encoder {name!r} has {config.vocab_size} tokens, but its tokenizer gives the "
            f"id {highest}: copy the tokenizer again"
        )
    with _without_bars():
        t5, info = cls.from_pretrained(
            folder, local_files_only=True, dtype=torch.float32, output_loading_info=True, **options
        )
    if info["missing_keys"]:
        raise UserError(
            f"text encoder {name!r} lacks the weight {min(info['missing_keys'])}: copy the "
            "folder again"
        )
    return tokenizer, t5.eval().requires_grad_(False)
