"""Arrays that a caller gives: images, features and what there is for each pixel, checked, or one sentence.

Shapes and dtypes are always checked; of values, as in `arguments`, those in NumPy.
"""

import os
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from wct_jax.checks.arguments import FLOATS, described, is_jax, is_traced, name_of_dtype

# How far from 0..1 resizing and half precision may leave what is meant to be in it.
_SLACK = 1e-3
# What was painted may leave 0..1, but not by far.
_FAR = 16


def as_image(name: str, value: Any, *, single: bool = False) -> Any:
    """An image, as an array of NumPy or JAX.

    Args:
        name: What the caller knows it by.
        value: An array, or nested sequences of numbers.
        single: Whether it can have no leading dimensions.

    Returns:
        Float `[..., H, W, 3]`, or `[H, W, 3]`.

    Raises:
        ValueError: It is something else, or has values far outside 0..1, as far as they are at hand.
    """
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
    """A feature, as an array of NumPy or JAX.

    Args:
        name: What the caller knows it by.
        value: An array, or nested sequences of numbers.

    Returns:
        Float `[..., H, W, C]`.

    Raises:
        ValueError: It is something else.
    """
    array = _as_array(name, value, "a feature [..., H, W, C]")
    if array.ndim < 3 or 0 in array.shape[-3:]:
        raise ValueError(f"{name} must be [..., H, W, C] with at least one pixel and channel, got shape {array.shape}")
    _check_floating(name, array, "floating point")
    return array


def as_map(name: str, value: Any, shape: Sequence[int]) -> Any:
    """What there is for each pixel (weights, a mask, a strength), as an array of NumPy or JAX, values unchecked.

    Args:
        name: What the caller knows it by.
        value: A number, or an array of floats or bools, or nested sequences of these.
        shape: What it has to broadcast to.

    Returns:
        Float or bool, of its own shape.

    Raises:
        ValueError: It is something else.
    """
    array = _as_array(name, value, f"an array that broadcasts to {tuple(shape)}", "read_mask reads one from a file")
    # A single number can be 0 or 1; whether many of them go up to 1 or to 255 cannot be known.
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
    """What `as_map` takes, in 0..1 and broadcast, as an array of NumPy or JAX.

    Args:
        name: What the caller knows it by.
        value: As for `as_map`.
        shape: What it is broadcast to.
        dtype: A float dtype.

    Returns:
        `[*shape]` of that dtype. Of an array in NumPy it may be a view.

    Raises:
        ValueError: It is something else, or has values outside 0..1, as far as they are at hand.
    """
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
    # By NumPy, for JAX would compile it for each size.
    return np.broadcast_to(np.asarray(array).astype(dtype, copy=False), shape)


def as_masks(name: str, value: Any) -> list[Any]:
    """A sequence of masks, None for none, as a list.

    Raises:
        ValueError: It is a single array.
    """
    if value is None:
        return []
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{name} must be a list of masks, one for each style, got {described(value)}")
    return list(value)


def on_host(name: str, array: Any) -> np.ndarray:
    """An array of NumPy or JAX in NumPy, without a copy where that can be.

    Raises:
        ValueError: It is traced, or lies partly in another process.
    """
    if is_traced(array):
        raise ValueError(f"{name} must have values here, got an array that JAX is tracing")
    try:
        return np.asarray(array)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"{name} must be numbers that are in this process: {_first_line(error)}") from None


def is_floating(array: Any) -> bool:
    """Whether an array can be an image, a feature or weights, by its dtype."""
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
    except Exception as error:  # What is not NumPy's own may raise anything on its way there.
        raise ValueError(f"{name} must be {expected}, got {described(value)}: {_first_line(error)}") from None
    if is_jax(array):
        return array
    if array.dtype.kind in "OSUmMV" and not is_floating(array):
        raise ValueError(f"{name} must be {expected}, got {described(value)} with values of dtype {array.dtype}")
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _converted(value: Any) -> Any:
    jax = sys.modules.get("jax")
    if jax is not None and isinstance(value, (list, tuple)) and any(map(is_jax, jax.tree.leaves(value))):
        return jax.numpy.asarray(value)
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
