"""The arguments of public functions that are no arrays: what a caller gives, checked, or one sentence.

Kinds are always checked, and values where they are at hand, in Python and NumPy: to look at those of JAX's arrays would
be to wait for the device, and what is traced has none. NumPy is imported late, since `--help` does without it.
"""

import contextlib
import math
import numbers
import operator
import os
import sys
from collections.abc import Iterable
from typing import Any, TypeVar

_Kind = TypeVar("_Kind")

# What can be computed with.
FLOATS = ("float16", "bfloat16", "float32", "float64")
# Sizes and positions are int32.
_LARGEST = 2**31 - 1


def as_number(name: str, value: Any, least: float = -math.inf, most: float = math.inf) -> Any:
    """One real number: a float, or a scalar of JAX.

    Args:
        name: What the caller knows it by.
        value: A number of Python, or an array of no dimensions.
        least: What it is not to be below, if its value is at hand.
        most: What it is not to be above.

    Raises:
        ValueError: It is something else, or out of range.
    """
    import numpy as np

    # Not bools; and bfloat16's scalars are not registered as real.
    real = isinstance(value, numbers.Real) or name_of_dtype(value).startswith(("int", "uint", *FLOATS))
    if not real or isinstance(value, (bool, np.ma.MaskedArray)) or getattr(value, "ndim", 0) != 0:
        raise ValueError(f"{name} must be a number, got {described(value)}")
    if is_jax(value):
        return value if name_of_dtype(value) in FLOATS else value.astype("float32")
    try:
        number = float(value)
    except OverflowError:
        raise ValueError(f"{name} must be a number, got one that is too large") from None
    bounded = least > -math.inf or most < math.inf
    if bounded and not least <= number <= most:
        bounds = f"in {least:g}..{most:g}" if most < math.inf else f"at least {least:g}"
        raise ValueError(f"{name} must be {bounds}, got {number:g}")
    return number


def as_numbers(name: str, value: Any, least: float = -math.inf, most: float = math.inf) -> list[Any]:
    """One real number or several, each as `as_number` returns it.

    Args:
        name: What the caller knows it by.
        value: A number, or a list, tuple or array `[n]` of them.
        least: As for `as_number`.
        most: As for `as_number`.

    Raises:
        ValueError: It is something else, or out of range.
    """
    import numpy as np

    several = isinstance(value, (list, tuple)) or getattr(value, "ndim", None) == 1
    if several and is_jax(value) and not is_traced(value):
        value = np.asarray(value)  # To take one out would be compiled.
    if several and not isinstance(value, np.ma.MaskedArray):
        return [as_number(name, each, least, most) for each in value]
    return [as_number(name, value, least, most)]


def as_integer(name: str, value: Any, least: float, most: float = _LARGEST) -> int:
    """An integer of Python.

    Args:
        name: What the caller knows it by.
        value: An integer of Python or NumPy.
        least: What it is not to be below.
        most: What it is not to be above.

    Raises:
        ValueError: It is something else (a bool and 3.0 are), traced, or out of range.
    """
    try:
        if isinstance(value, bool) or name_of_dtype(value) == "bool":
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise ValueError(f"{name} must be an integer, got {described(value)}") from None
    if not least <= number <= most:
        bounds = f"at least {least}" if number < least else f"at most {most}"
        text = str(number) if abs(number) < 10**20 else f"a number of {number.bit_length()} bits"
        raise ValueError(f"{name} must be {bounds}, got {text}")
    return number


def check_patch(patch: int, stride: int) -> tuple[int, int]:
    """Side of a patch and step from patch to patch, checked.

    Raises:
        ValueError: No integers, or a stride that leaves pixels without a patch.
    """
    patch, stride = as_integer("patch", patch, 1), as_integer("stride", stride, 1)
    if stride > patch:
        raise ValueError(f"`stride` must be from 1 to `patch`, {patch}, got {stride}")
    return patch, stride


def as_names(name: str, value: Any) -> tuple[str, ...]:
    """Names, such as those of layers; one alone is taken for itself, not for its letters.

    Raises:
        ValueError: It is neither a string nor several.
    """
    names: list[Any] = [None]
    with contextlib.suppress(TypeError):  # Not everything that has a length can be iterated over.
        names = [value] if isinstance(value, str) else list(value)
    if not all(isinstance(each, str) for each in names):
        raise ValueError(f"{name} must be names such as relu4_1, got {described(value)}")
    return tuple(map(str, names))


def check_choice(name: str, value: Any, options: Iterable[str]) -> None:
    """Refuse what is not one of some names.

    Raises:
        ValueError: Because it is not.
    """
    options = list(options)
    if not isinstance(value, str) or value not in options:
        raise ValueError(f"{name} must be one of {', '.join(options)}, got {value!r}")


def check_kind(name: str, value: Any, kind: type[_Kind], source: str) -> _Kind:
    """Refuse what is not an instance of a class.

    Args:
        name: What the caller knows it by.
        value: To be checked.
        kind: The class.
        source: What makes one: "load_model".

    Returns:
        The value.

    Raises:
        ValueError: Because it is not.
    """
    if not isinstance(value, kind):
        article = "" if kind.__name__.endswith("s") else "a "
        raise ValueError(f"{name} must be {article}{kind.__name__} that {source} made, got {described(value)}")
    return value


def check_progress(value: Any) -> None:
    """Refuse what cannot be told of progress.

    Raises:
        ValueError: It is neither None nor a function.
    """
    if value is not None and not callable(value):
        raise ValueError(f"progress must be a function, got {described(value)}")


def as_path(name: str, value: Any) -> str:
    """A path, as a string.

    Raises:
        ValueError: It is neither a string nor `os.PathLike`.
    """
    try:
        path = os.fspath(value)
    except TypeError:
        path = None
    if not isinstance(path, str):
        raise ValueError(f"{name} must be a path, got {described(value)}")
    return path


def is_jax(value: Any) -> bool:
    """Whether a value is an array of JAX, traced or not; without loading JAX."""
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(value, jax.Array)


def is_traced(value: Any) -> bool:
    """Whether a value is an array that JAX is tracing."""
    return is_jax(value) and isinstance(value, sys.modules["jax"].core.Tracer)


def name_of_dtype(value: Any) -> str:
    """The name of an array's dtype; nothing for what has none."""
    dtype = getattr(value, "dtype", "")
    return str(getattr(dtype, "name", dtype))


def described(value: Any) -> str:
    """What came, for the end of a sentence."""
    import numpy as np

    if is_jax(value) or isinstance(value, np.ndarray):
        if value.ndim:
            return f"an array of {name_of_dtype(value)} of shape {value.shape}"
        return f"{'a traced' if is_traced(value) else 'one'} {value.dtype}"
    if value is None or isinstance(value, (bool, int, float, complex, np.generic)):
        text = str(value)
        return text if len(text) < 40 else type(value).__name__
    if isinstance(value, (list, tuple)) and value:
        return f"{type(value).__name__} of {type(value[0]).__name__}"
    return type(value).__name__
