"""Checks of arrays: images, features and values per pixel. Each returns an array of NumPy or JAX, or raises ValueError.

`name` is the argument's name as the caller knows it. Arrays may also come as nested sequences of numbers. Shapes and
dtypes are always checked, values only in NumPy: reading a JAX array would wait for the device.
"""

import os
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from wct_jax.checks.arguments import FLOATS, described, is_jax, is_traced, name_of_dtype

# Resizing and half precision leave values that far outside 0..1.
_SLACK = 1e-3
# Painted images may leave 0..1, but not this far.
_FAR = 16


def as_image(name: str, value: Any, *, single: bool = False) -> Any:
    """Check a float image `[..., H, W, 3]`, or `[H, W, 3]` if `single`, with values not far outside 0..1."""
    expected = f"an image [{'' if single else '..., '}H, W, 3]"
    array = _as_array(name, value, expected, "read_image reads one from a file")
    if array.ndim < 3 or (single and array.ndim > 3) or array.shape[-1] != 3 or 0 in array.shape[-3:]:
        raise ValueError(f"{name} must be {expected}, got shape {array.shape}")
    _check_floating(name, array, "floating point in 0..1")
    if isinstance(array, np.ndarray):
        low, high = float(array.min()), float(array.max())
        if not -_FAR <= low <= high <= _FAR:  # So that NaN does not pass.
            remedy = ": divide it by 255" if low >= 0 and _FAR < high <= 255 else ""
            raise ValueError(f"{name} must be in 0..1, got {low:g} to {high:g}{remedy}")
    return array


def as_feature(name: str, value: Any) -> Any:
    """Check a float feature `[..., H, W, C]`."""
    array = _as_array(name, value, "a feature [..., H, W, C]")
    if array.ndim < 3 or 0 in array.shape[-3:]:
        raise ValueError(f"{name} must be [..., H, W, C] with at least one pixel and channel, got shape {array.shape}")
    _check_floating(name, array, "floating point")
    return array


def as_map(name: str, value: Any, shape: Sequence[int]) -> Any:
    """Check floats or bools per pixel (weights, a mask, a strength) that broadcast to `shape`; any values pass."""
    array = _as_array(name, value, f"an array that broadcasts to {tuple(shape)}", "read_mask reads one from a file")
    # A single integer can be 0 or 1. An array of integers does not tell whether it goes up to 1 or to 255.
    single = array.ndim == 0 and name_of_dtype(array).startswith(("int", "uint"))
    if name_of_dtype(array) != "bool" and not single:
        _check_floating(name, array, "floating point in 0..1, or bool")
    try:
        fits = np.broadcast_shapes(array.shape, tuple(shape)) == tuple(shape)
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{name} must broadcast to {tuple(shape)}, got shape {array.shape}")
    return array


def as_weights(name: str, value: Any, shape: Sequence[int], dtype: Any) -> Any:
    """Check values per pixel in 0..1 and broadcast them to `shape`, in a float dtype; the result may be a view."""
    array, shape = as_map(name, value, shape), tuple(shape)
    if is_jax(array):
        if array.shape == shape and array.dtype == dtype:
            return array
        if is_traced(array) or len(array.devices()) > 1:
            return sys.modules["jax"].numpy.broadcast_to(array.astype(dtype), shape)
    else:
        low, high = float(array.min(initial=1)), float(array.max(initial=0))
        if not -_SLACK <= low <= high <= 1 + _SLACK:  # So that NaN does not pass.
            raise ValueError(f"{name} must be in 0..1, got {low:g} to {high:g}")
    # By NumPy, because JAX would compile it for each size.
    return np.broadcast_to(np.asarray(array).astype(dtype, copy=False), shape)


def as_masks(name: str, value: Any) -> list[Any]:
    """Check a list or tuple of masks, or None for none, and return a list."""
    if value is None:
        return []
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{name} must be a list of masks, one for each style, got {described(value)}")
    return list(value)


def on_host(name: str, array: Any) -> np.ndarray:
    """Check that an array is neither traced nor partly in another process, and return NumPy's, uncopied if possible."""
    if is_traced(array):
        raise ValueError(f"{name} must have values here, got an array that JAX is tracing")
    try:
        return np.asarray(array)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"{name} must be numbers that are in this process: {_first_line(error)}") from None


def is_floating(array: Any) -> bool:
    """Whether an array has a dtype that images, features and weights may have."""
    return name_of_dtype(array) in FLOATS


def _as_array(name: str, value: Any, expected: str, remedy: str = "") -> Any:
    if is_jax(value):
        return value
    if value is None or isinstance(value, (str, bytes, os.PathLike)):
        more = f": {remedy}" if remedy and value is not None else ""
        raise ValueError(f"{name} must be {expected}, got {described(value)}{more}")
    if np.ma.is_masked(value):
        raise ValueError(f"{name} must be {expected}, got one with values masked: fill them first")
    try:
        array = _converted(value)
    except Exception as error:  # An `__array__` of another library may raise anything.
        raise ValueError(f"{name} must be {expected}, got {described(value)}: {_first_line(error)}") from None
    if is_jax(array):
        return array
    if array.dtype.kind in "OSUmMV" and not is_floating(array):
        raise ValueError(f"{name} must be {expected}, got {described(value)} with values of dtype {array.dtype}")
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _converted(value: Any) -> Any:
    tree = getattr(sys.modules.get("jax"), "tree", None)
    if tree is not None and isinstance(value, (list, tuple)) and any(map(is_jax, tree.leaves(value))):
        return sys.modules["jax"].numpy.asarray(value)
    if hasattr(value, "__jax_array__"):
        return value.__jax_array__()
    return np.asarray(value)


def _check_floating(name: str, array: Any, expected: str) -> None:
    if is_floating(array):
        return
    dtype = name_of_dtype(array)
    remedy = {"uint8": ": divide it by 255", "uint16": ": divide it by 65535"}.get(dtype, "")
    if not remedy and "float" in dtype:
        remedy = f": {', '.join(FLOATS)} are taken"
    raise ValueError(f"{name} must be {expected}, got {dtype}{remedy}")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0]
