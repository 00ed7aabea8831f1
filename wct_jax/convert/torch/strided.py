"""Views of a storage, in the form that PyTorch and Torch7 share."""

import math
from collections.abc import Sequence

import numpy as np

from wct_jax.convert.checkpoint import CheckpointError

# A kernel has four. The product of millions would take forever.
_MOST_DIMENSIONS = 32


def strided(storage: np.ndarray, offset: int, size: Sequence[int], stride: Sequence[int]) -> np.ndarray:
    """View a flat storage as a tensor, without copying.

    Args:
        storage: The elements, `[n]`.
        offset: The index of the tensor's first element.
        size: The tensor's shape.
        stride: The step along each dimension, in elements.

    Returns:
        A view of shape `size`.

    Raises:
        CheckpointError: The tensor reaches outside its storage, or repeats elements, with which a small file could
            fill the memory.
    """
    numbers = [offset, *size, *stride]
    if (
        len(numbers) > 1 + 2 * _MOST_DIMENSIONS
        or any(type(number) is not int or not 0 <= number < 2**63 for number in numbers)
        or len(size) != len(stride)
    ):
        raise CheckpointError("it is damaged: a tensor's size or stride makes no sense")
    elements = math.prod(size)
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if elements and (last >= len(storage) or elements > len(storage)):
        raise CheckpointError(
            f"it is damaged: a tensor of size {list(size)} does not lie within its storage of {len(storage)} elements"
        )
    if not elements:
        return np.zeros(tuple(size), storage.dtype)
    return np.lib.stride_tricks.as_strided(
        storage[offset:], tuple(size), [step * storage.itemsize for step in stride], writeable=False
    )
