"""The arrays that guide the painting of an image, pixel by pixel."""

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from wct_jax.kernels.canvas import lay_out_map

_MAPS = ("weights", "shares", "alpha_map", "rest", "strength")


@functools.partial(jax.tree_util.register_dataclass, data_fields=(*_MAPS, "size"), meta_fields=())
@dataclass(frozen=True, eq=False)
class Guides:
    """How each pixel of an image takes part: one pytree of arrays of NumPy or JAX.

    Attributes:
        weights: `[..., H, W]`, how much each pixel counts in the content's statistics; None for 1.
        shares: For each style `[..., H, W]`, how much it has of each pixel; none for one style everywhere.
        alpha_map: `[..., H, W]`, a factor of alpha; None for 1.
        rest: `[..., H, W]`, how much of each pixel no style has; None for nothing.
        strength: A scalar or `[..., H, W]`, the share of the change that is made; None for all.
        size: Rows and columns of the image, int32 `[2]`, if it lies on a larger canvas.
    """

    weights: Any = None
    shares: tuple[Any, ...] = ()
    alpha_map: Any = None
    rest: Any = None
    strength: Any = None
    size: Any = None

    def each(self, change: Callable[[Any], Any]) -> "Guides":
        """These guides with every map changed, scalars and the size excepted."""
        maps = {name: getattr(self, name) for name in _MAPS}
        return dataclasses.replace(self, **jax.tree.map(lambda x: change(x) if np.ndim(x) else x, maps))

    def on_canvas(self, weights: Any, size: Any, image: Any) -> "Guides":
        """These guides laid out as `lay_out` laid out their image.

        Args:
            weights: As `lay_out` returned them.
            size: As `lay_out` returned it.
            image: As `lay_out` returned it, `[..., H, W, C]`.
        """
        rest = dataclasses.replace(self, weights=None).each(lambda values: lay_out_map(values, size, image))
        return dataclasses.replace(rest, weights=weights, size=size)
