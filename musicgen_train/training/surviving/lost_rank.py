"""A run of several ranks whose connection breaks ends in one line that says so."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import lightning as L
import torch

from musicgen_train.errors import UserError, reason_of

# How gloo and NCCL say it, within a RuntimeError.
_LOST = re.compile(
    r"connection (closed|reset|refused|timed out)|timed? ?out|broken pipe|socket closed"
    r"|remote process exited|no route to host|network is unreachable",
    re.IGNORECASE,
)
_BY_TORCH = re.compile(r"gloo|nccl|process ?group|store|socket|rendezvous", re.IGNORECASE)


@contextmanager
def lost_rank_is_told(trainer: L.Trainer) -> Iterator[None]:
    """Whatever meets the end of another rank first, in any collective, tells it in one line.

    NCCL's own thread may end the process before; it writes its reason to stderr itself.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_lost_rank(error):
            raise
        reason = re.sub(r"^\[[^]]*\] *", "", reason_of(error)).split(". ")[0]
        who = f"rank {trainer.global_rank}"
        if not torch.distributed.is_initialized():
            raise UserError(
                f"{who}: the ranks do not find each other ({reason}): check MASTER_ADDR and "
                "MASTER_PORT, and that all are started"
            ) from None
        raise UserError(
            f"{who}: another rank is gone ({reason}); resume=auto goes on from the last checkpoint"
        ) from None


def is_lost_rank(error: RuntimeError) -> bool:
    """Whether an error is that of a connection between ranks."""
    network = (torch.distributed.DistNetworkError, torch.distributed.DistStoreError)
    if isinstance(error, network):
        return True
    text = str(error)
    return bool(_LOST.search(text) and _BY_TORCH.search(text))
