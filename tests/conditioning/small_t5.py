"""A tiny random T5 with a word tokenizer, saved as the hub would."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

TEXTS = ["a happy rock song with loud drums", "sad jazz", "", "piano"]


def small_tokenizer() -> PreTrainedTokenizerFast:
    """One token per word of `TEXTS`, and the end."""
    words = ["<pad>", "</s>", "<unk>", *sorted({w for text in TEXTS for w in text.split()})]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )


def t5_config(width: int = 16) -> T5Config:
    """Two layers."""
    size = len(small_tokenizer())
    return T5Config(vocab_size=size, d_model=width, d_kv=8, d_ff=32, num_layers=2, num_heads=2)


def save_t5(folder: Path, width: int = 16) -> Path:
    """A T5 encoder and its tokenizer."""
    small_tokenizer().save_pretrained(folder)
    torch.manual_seed(0)
    T5EncoderModel(t5_config(width)).save_pretrained(folder)
    return folder
