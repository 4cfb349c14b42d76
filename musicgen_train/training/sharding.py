"""Fully sharded data parallel training (FSDP2): every rank holds its part of all weights.

A layer is gathered when it is computed, and freed; gradients are averaged and scattered; optimizer
and averages see parts only. Which numbers come out is not changed.
"""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import (
    FSDPModule,
    fully_shard,
    register_fsdp_forward_method,
)

from musicgen_train.lm.model import LanguageModel
from musicgen_train.training.surviving.checkpoint_files import (
    check_metadata,
    disk_error,
    remove,
    seal,
)


class FullySharded(ModelParallelStrategy):
    """Lightning's strategy over all ranks of all nodes, with checkpoint folders that are whole.

    A checkpoint is a folder with a file from each rank, which any number of ranks can resume.
    """

    def __init__(self, timeout: timedelta = timedelta(minutes=30)) -> None:
        super().__init__(tensor_parallel_size=1, save_distributed_checkpoint=True, timeout=timeout)

    def setup_environment(self) -> None:
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()

    def save_checkpoint(
        self, checkpoint: dict[str, Any], filepath: str | Path, storage_options: Any = None
    ) -> None:
        """Write the folder beside its name, and rename it when all ranks are done.

        A failure is raised on rank 0, whose callbacks tell the others.
        """
        final = Path(self.broadcast(str(filepath)))
        partial = final.with_name(final.name + ".part")
        failure: BaseException | None = None
        if self.is_global_zero:
            remove(partial)  # of a run that was killed
        self.barrier()
        try:
            super().save_checkpoint(checkpoint, partial, storage_options)
        except CheckpointException as error:  # all ranks have it
            failure = next(iter(error.failures.values()))[0]
        except OSError as error:  # of what rank 0 writes beside the shards
            failure = error
        self.barrier()
        if self.is_global_zero:
            if failure is not None:
                remove(partial)
                raise disk_error(failure, final) or failure
            seal(partial, final)

    def load_checkpoint(
        self, checkpoint_path: str | Path, weights_only: bool | None = None
    ) -> dict[str, Any]:
        if Path(checkpoint_path).is_dir():
            check_metadata(Path(checkpoint_path))
        return super().load_checkpoint(checkpoint_path, weights_only=weights_only)


def shard(module: nn.Module, mesh: DeviceMesh) -> None:
    """Shard a language model layer by layer, any other module as a whole, where they are.

    Weights are gathered in float32, and autocast rounds what it would round of whole ones: gathered
    in half precision, the residual stream and the norms would be rounded, too.
    """
    # Of the outermost module it is not the default: validation would leave its weights gathered,
    # which averages cannot be updated with.
    options: dict[str, Any] = {"mesh": mesh, "reshard_after_forward": True}
    if isinstance(module, LanguageModel):
        for layer in module.layers:
            fully_shard(layer, **options)
        fully_shard(module, **options)
        register_fsdp_forward_method(module, "loss")
    else:
        fully_shard(module, **options)


def is_sharded(module: nn.Module) -> bool:
    return isinstance(module, FSDPModule)


def whole_state(module: nn.Module) -> Mapping[str, Tensor]:
    """The weights of a sharded module, put together on rank 0's CPU; all ranks have to ask.

    The other ranks get nothing.
    """
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    return get_model_state_dict(module, options=options)  # type: ignore[return-value]
