"""Data parallelism: one mesh axis, `data`, over the devices of all processes."""

from typing import Any

import jax
import numpy as np
from jax import Array
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec


def check_batch_size(batch_size: int) -> None:
    """Find out whether a batch can be split over the devices.

    Args:
        batch_size: Of all processes together.

    Raises:
        ValueError: It is not a multiple of the number of devices.
    """
    if batch_size % jax.device_count():
        raise ValueError(
            f"a batch of {batch_size} cannot be split over {jax.device_count()} devices: expected a multiple of that"
        )


def replicate(tree: Any) -> Any:
    """Place a copy of every array on every device.

    Args:
        tree: Arrays that are the same in all processes.
    """
    return jax.device_put(tree, NamedSharding(_mesh(), PartitionSpec()))


def split(batch: np.ndarray) -> Array:
    """Split a batch over the devices.

    Args:
        batch: This process's part, `[B / processes, ...]`.

    Returns:
        The whole batch, `[B, ...]`, sharded along its first axis.

    Raises:
        ValueError: The whole batch is not a multiple of the number of devices.
    """
    check_batch_size(batch.shape[0] * jax.process_count())
    return jax.make_array_from_process_local_data(NamedSharding(_mesh(), PartitionSpec("data")), batch)


def agree(urgency: int) -> int:
    """The highest number that any process gives, the same in all of them.

    Args:
        urgency: This process's.
    """
    if jax.process_count() == 1:
        return urgency
    return int(multihost_utils.process_allgather(np.int32(urgency)).max())


def _mesh() -> Mesh:
    return jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))
