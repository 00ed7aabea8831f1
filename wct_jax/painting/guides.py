"""The maps that guide the painting of an image, pixel by pixel."""

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from wct_jax.kernels.canvas import lay_out_map

_MAPS = ("weights", "shares", "alpha_map", "structure", "rest", "strength")


@functools.partial(jax.tree_util.register_dataclass, data_fields=(*_MAPS, "size"), meta_fields=())
@dataclass(frozen=True, eq=False)
class Guides:
    """The maps of an image and its size, one pytree of arrays of NumPy or JAX, in 0..1.

    Attributes:
        weights: Weight of each pixel in the content's statistics, `[..., H, W]`; None for 1.
        shares: Share of each style in each pixel, `[..., H, W]` each; empty for one style everywhere.
        alpha_map: Factor of alpha, `[..., H, W]`; None for 1.
        structure: Factor of the share that the photo's own features have in one pass, `[..., H, W]`; None for 1.
        rest: Share of each pixel that no style has, `[..., H, W]`; None for 0.
        strength: Share of the change that is made, a scalar or `[..., H, W]`; None for 1.
        size: Rows and columns of the image, int32 `[2]`, if it lies on a larger canvas.
    """

    weights: Any = None
    shares: tuple[Any, ...] = ()
    alpha_map: Any = None
    structure: Any = None
    rest: Any = None
    strength: Any = None
    size: Any = None

    def each(self, change: Callable[[Any], Any]) -> "Guides":
        """Apply `change` to every map, but not to scalars and the size."""
        maps = {name: getattr(self, name) for name in _MAPS}
        return dataclasses.replace(self, **jax.tree.map(lambda x: change(x) if np.ndim(x) else x, maps))

    def on_canvas(self, weights: Any, size: Any, image: Any) -> "Guides":
        """Lay the maps out on the canvas of their image, given the weights, size and image that `lay_out` returned."""
        rest = dataclasses.replace(self, weights=None).each(lambda values: lay_out_map(values, size, image))
        return dataclasses.replace(rest, weights=weights, size=size)
