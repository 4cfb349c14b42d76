"""Tests that a GPU computes what the CPU does: `pytest -m gpu`, without a network.

With MUSICGEN_DEVICE=cpu those that need no more than a device run on the CPU: a check of the tests
themselves.
"""

import os

import pytest
import torch


@pytest.fixture
def device() -> torch.device:
    """Where the tested side of a comparison runs."""
    return torch.device(os.environ.get("MUSICGEN_DEVICE", "cuda"))


@pytest.fixture(autouse=True)
def exact_products():
    """float32 products in float32: cuDNN would round their factors to TF32."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before
