"""Data parallelism along one mesh axis, `data`, over the devices of all processes."""

from typing import Any

import jax
import numpy as np
from jax import Array
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec


def check_batch_size(batch_size: int) -> None:
    """Raise a ValueError if the devices cannot share a batch, whose size counts the crops of all processes."""
    if batch_size % jax.device_count():
        raise ValueError(
            f"a batch of {batch_size} cannot be split over {jax.device_count()} devices: expected a multiple of that"
        )


def replicate(tree: Any) -> Any:
    """Place a copy of every array of a tree, the same in all processes, on every device."""
    return jax.device_put(tree, NamedSharding(_mesh(), PartitionSpec()))


def split(batch: np.ndarray) -> Array:
    """Split a batch over the devices.

    Args:
        batch: Part of this process, `[B / processes, ...]`.

    Returns:
        The whole batch, `[B, ...]`, sharded along its first axis.

    Raises:
        ValueError: B is not a multiple of the number of devices.
    """
    check_batch_size(batch.shape[0] * jax.process_count())
    return jax.make_array_from_process_local_data(NamedSharding(_mesh(), PartitionSpec("data")), batch)


def agree(urgency: int) -> int:
    """The highest urgency that any process gives."""
    if jax.process_count() == 1:
        return urgency
    return int(multihost_utils.process_allgather(np.int32(urgency)).max())


def _mesh() -> Mesh:
    return jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))
