"""How strong a result is: from the photo itself to the whole of the style, evenly.

The cascade's `alpha` blends features: at 0 the photo is decoded once per level, which takes detail from it, and at 0.2
five levels have already made half of the change. `strength` s blends images instead. The result is (1 - s) photo +
s painted, so that the change grows evenly and is none at 0. Painted strokes do not lie exactly on the photo's contours,
and a blend of the two would show both; each level before the last is therefore blended with the image it was given, by
`between(s)`, and the next level joins what is left.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from jax import Array

from wct_jax.checks.arguments import is_traced
from wct_jax.checks.arrays import as_map, as_weights
from wct_jax.kernels.compilation import part

_Number = TypeVar("_Number", bound="float | np.ndarray | Array")


def as_strength(strength: Any, shape: Sequence[int], dtype: Any) -> Any:
    """`strength` checked, or None where it is 1 everywhere and nothing is to be blended.

    Args:
        strength: In 0..1, a number or an array of floats or bools; values are not looked at where JAX is tracing.
        shape: What it has to broadcast to, the pixels of the image.
        dtype: The image's.

    Returns:
        None, a scalar, or `[*shape]`, of that dtype.

    Raises:
        ValueError: It is something else, or a value is outside 0..1.
    """
    array = as_map("strength", strength, shape)
    if not is_traced(array):
        values = np.asarray(array)
        if not ((values >= 0) & (values <= 1)).all():
            least, most = values.min(), values.max()
            raise ValueError(f"strength must be from 0 to 1, got {least}{f' to {most}' if most > least else ''}")
        if (values == 1).all():
            return None
    return as_weights("strength", array, shape, dtype) if array.ndim else array.astype(dtype)


def between(strength: _Number) -> _Number:
    """The share that a level before the last has in its blend with the image it was given, `s` being `strength`.

    6s / (1 + 5s): a larger share keeps the change closer to even, a smaller one contours closer to single. With it the
    change is within 0.05 of even; see benchmarks/README.md.
    """
    return 6 * strength / (1 + 5 * strength)  # type: ignore[return-value]


@part()
def blend(before: Array, after: Array, strength: Array) -> Array:
    """Between two images: the first one to the bit where the strength is 0, and the second where it is 1.

    Args:
        before: `[..., H, W, C]`.
        after: `[..., H, W, C]`.
        strength: A scalar or `[..., H, W]`.
    """
    share = strength[..., None] if strength.ndim else strength
    return (1 - share) * before + share * after
