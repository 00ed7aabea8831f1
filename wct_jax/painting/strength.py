"""The strength of a result: from the photo itself to the whole of the style, evenly.

The cascade's `alpha` blends features: at 0 each level still decodes the photo, which takes detail from it, and at 0.2
five levels have already made half of the change. `strength` s blends images instead: the result is (1 - s) photo +
s painted, so the change grows evenly and is none at 0. Painted strokes do not lie exactly on the photo's contours, and
a blend of the two would show both. Each level before the last is therefore blended with the image it was given, by
`between(s)`, and the next level joins the contours that are still double.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from jax import Array

from wct_jax.checks.arguments import is_traced
from wct_jax.checks.arrays import as_map, as_weights
from wct_jax.kernels.compilation import compiled

_Number = TypeVar("_Number", bound="float | np.ndarray | Array")


def as_strength(strength: Any, shape: Sequence[int], dtype: Any) -> Any:
    """Check `strength`: None if it is 1 everywhere and nothing is to be blended.

    Args:
        strength: A number in 0..1, or an array of floats or bools; its values are not checked while JAX is tracing.
        shape: Shape of the image's pixels, `(..., H, W)`, to which it has to broadcast.
        dtype: Dtype of the image.

    Returns:
        None, a scalar, or `[*shape]`, of that dtype.

    Raises:
        ValueError: It is no such number or array, or a value is outside 0..1.
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
    """The share of a level before the last in the blend with the image it was given: 6s / (1 + 5s).

    A larger share would keep the change closer to even, a smaller one the contours closer to single. With this one the
    change is within 0.05 of even; see benchmarks/README.md.
    """
    return 6 * strength / (1 + 5 * strength)  # type: ignore[return-value]


@compiled()
def blend(before: Array, after: Array, strength: Array) -> Array:
    """Blend two images `[..., H, W, C]`: to the bit `before` where the strength is 0, and `after` where it is 1.

    Args:
        before: The first image.
        after: The second image, of the same shape and dtype.
        strength: Share of the second image in 0..1, a scalar or `[..., H, W]`.
    """
    share = strength[..., None] if strength.ndim else strength
    return (1 - share) * before + share * after
