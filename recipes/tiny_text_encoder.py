"""The text encoder of the tiny base: `python -m recipes.tiny_text_encoder [FOLDER]`, in seconds.

It is a T5 encoder without layers, of frozen random word-piece embeddings: as many directions as
the pieces of a small vocabulary need, of which the language model's projection learns the meaning.
So the tiny base reads text as the released models do, and needs no download for it. The tokenizer
is byte-level BPE, without case, trained on what the demo's composer says of its pieces.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch

from data_prep.demo.corpus import sidecar
from data_prep.demo.plan import plan_track
from musicgen_train.conditioning.merging import merge_metadata

SEED = 3000  # of the base's corpus
N_TRACKS = 4000
VOCAB_SIZE = 1024
DIM = 384


def texts() -> Iterator[str]:
    """Descriptions, and descriptions with metadata, as training draws them."""
    for index in range(N_TRACKS):
        plan = plan_track(SEED, index)
        metadata = sidecar(plan, 0.0, {})
        rng = torch.Generator().manual_seed(index)
        yield metadata["description"]
        yield merge_metadata(metadata, rng, merge_p=1.0, drop_description_p=1.0, keep_field_p=1.0)


def write_tokenizer(folder: Path) -> None:
    """Train and write the tokenizer; any text at all has pieces."""
    from tokenizers import (
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        processors,
        trainers,
    )
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=["<pad>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts(), trainer)
    # As T5's does, so that an empty text is one token.
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    whole = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>")
    whole.save_pretrained(folder)


def write_encoder(folder: Path) -> None:
    """Write the embeddings, in float16."""
    from transformers import T5Config, T5EncoderModel

    config = T5Config(
        vocab_size=VOCAB_SIZE, d_model=DIM, d_kv=64, d_ff=DIM, num_layers=0, num_heads=1
    )
    torch.manual_seed(0)
    encoder = T5EncoderModel(config)
    torch.nn.init.normal_(encoder.shared.weight)
    encoder.half().save_pretrained(folder)


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description="Make the tiny base's text encoder.")
    default = Path("musicgen_train/assets/tiny_text_encoder")
    parser.add_argument("folder", type=Path, nargs="?", default=default)
    folder = parser.parse_args().folder
    write_tokenizer(folder)
    write_encoder(folder)


if __name__ == "__main__":
    main()
