"""The conditional language model over codec tokens (plain PyTorch, no Lightning)."""

from musicgen_train.lm.model import LanguageModel

__all__ = ["LanguageModel"]
