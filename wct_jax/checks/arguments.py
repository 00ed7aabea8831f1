"""Checks of arguments that are not arrays: each returns the value, or raises ValueError with one sentence.

`name` is the argument's name as the caller knows it, for that sentence. Types are always checked, values only in Python
and NumPy: reading those of a JAX array would wait for the device, and traced arrays have none. NumPy is imported late,
because `--help` does without it.
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

# The dtypes of images and features.
FLOATS = ("float16", "bfloat16", "float32", "float64")
# Sizes and positions are int32.
_LARGEST = 2**31 - 1


def as_number(name: str, value: Any, least: float = -math.inf, most: float = math.inf) -> Any:
    """Check a real number in `least`..`most`, or an array of no dimensions, and return a float or a JAX scalar."""
    import numpy as np

    # The dtype counts too, because bfloat16's scalars are not registered as real. Bools are no numbers here.
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
    """Check a number, or a list, tuple or array `[n]` of numbers, each by `as_number`."""
    import numpy as np

    several = isinstance(value, (list, tuple)) or getattr(value, "ndim", None) == 1
    if several and is_jax(value) and not is_traced(value):
        value = np.asarray(value)  # JAX would compile taking one out.
    if several and not isinstance(value, np.ma.MaskedArray):
        return [as_number(name, each, least, most) for each in value]
    return [as_number(name, value, least, most)]


def as_integer(name: str, value: Any, least: float, most: float = _LARGEST) -> int:
    """Check an integer in `least`..`most`, not a bool, 3.0 or traced, and return Python's."""
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
    """Check the side of a patch and the step to the next, which must not leave pixels without a patch."""
    patch, stride = as_integer("patch", patch, 1), as_integer("stride", stride, 1)
    if stride > patch:
        raise ValueError(f"`stride` must be from 1 to `patch`, {patch}, got {stride}")
    return patch, stride


def as_names(name: str, value: Any) -> tuple[str, ...]:
    """Check one name, such as a layer's, or several, and return a tuple of them."""
    names: list[Any] = [None]
    with contextlib.suppress(TypeError):
        names = [value] if isinstance(value, str) else list(value)
    if not all(isinstance(each, str) for each in names):
        raise ValueError(f"{name} must be names such as relu4_1, got {described(value)}")
    return tuple(map(str, names))


def check_choice(name: str, value: Any, options: Iterable[str]) -> None:
    """Check that a value is one of some names."""
    options = list(options)
    if not isinstance(value, str) or value not in options:
        raise ValueError(f"{name} must be one of {', '.join(options)}, got {value!r}")


def check_kind(name: str, value: Any, kind: type[_Kind], source: str) -> _Kind:
    """Check that a value is an instance of a class, which the function called `source` makes."""
    if not isinstance(value, kind):
        article = "" if kind.__name__.endswith("s") else "a "
        raise ValueError(f"{name} must be {article}{kind.__name__} that {source} made, got {described(value)}")
    return value


def check_progress(value: Any) -> None:
    """Check that a callback for progress is None or callable."""
    if value is not None and not callable(value):
        raise ValueError(f"progress must be a function, got {described(value)}")


def as_path(name: str, value: Any) -> str:
    """Check a string or `os.PathLike`, and return a string."""
    try:
        path = os.fspath(value)
    except TypeError:
        path = None
    if not isinstance(path, str):
        raise ValueError(f"{name} must be a path, got {described(value)}")
    return path


def is_jax(value: Any) -> bool:
    """Whether a value is a JAX array, traced or not. Does not import JAX."""
    # While another thread is importing JAX, it has no such name, and there are no such values.
    return isinstance(value, getattr(sys.modules.get("jax"), "Array", ()))


def is_traced(value: Any) -> bool:
    """Whether a value is an array that JAX is tracing."""
    return is_jax(value) and isinstance(value, sys.modules["jax"].core.Tracer)


def name_of_dtype(value: Any) -> str:
    """The name of an array's dtype; "" for a value without one."""
    dtype = getattr(value, "dtype", "")
    return str(getattr(dtype, "name", dtype))


def described(value: Any) -> str:
    """Describe a value for the end of an error, after "got"."""
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
