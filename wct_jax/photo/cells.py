"""Cells of a photo, and the change of its colours that their coefficients describe.

Colours are seen from their mean, in luma and chroma, white: z = L⁻¹ Y (x - m), where Y takes RGB to luma and chroma and
L Lᵀ is the photo's covariance there. With the style's mean n and K Kᵀ, and the coefficients D of a cell, they become

    n + Y⁻¹ K (z + D u),    u = (z, 1, t, t²),    t = z₁ / √(1 + z₁²).

D = 0 matches means and covariances, with luma a function of luma alone; t and t² bend light and tint shadows and
highlights. Between the cells D is interpolated linearly.
"""

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array

from wct_jax.kernels.canvas import inside
from wct_jax.networks.pooling import pool_weights
from wct_jax.photo.tone import Toning
from wct_jax.transform.platforms import HIGHEST

# Side of a cell in pixels of the image to which a change is fitted.
CELL = 16
# Inputs of a cell's coefficients, u.
TERMS = 6


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Photo:
    """A photo to which a change is fitted.

    Attributes:
        pixels: `[H, W, 3]` in 0..1.
        toning: Means and factors of its colours and of its style's.
        weights: Weight of each pixel in the statistics, `[H, W]`; None for 1.
        size: Rows and columns, int32 `[2]`, if it lies on a larger canvas.
    """

    pixels: Array
    toning: Toning
    weights: Array | None = None
    size: Array | None = None

    @functools.cached_property
    def inside(self) -> Array:
        """1 where the photo is on its canvas, `[H, W]`."""
        sides = self.pixels.shape[:2]
        return jnp.ones(sides) if self.size is None else inside(sides, self.size).astype(jnp.float32)

    @functools.cached_property
    def inputs(self) -> tuple[Array, ...]:
        """The inputs u, `TERMS` arrays `[H, W]`."""
        x = [self.pixels[..., i] - self.toning.mean[i] for i in range(3)]
        white = [x[0] * row[0] + x[1] * row[1] + x[2] * row[2] for row in self.toning.whiten]
        light = bend(white[0])
        return (*white, jnp.ones_like(light), light, jnp.square(light))

    def mean(self, x: Array) -> Array:
        """The mean of `[H, W]` over the photo."""
        return (x * self.inside).sum() / self.inside.sum()

    def weights_at(self, layer: str) -> Array | None:
        """The weights at the resolution of a layer."""
        return None if self.weights is None else pool_weights(self.weights, layer, self.size)

    def graded(self, cells: Array) -> Array:
        """The photo after a change by the coefficients of cells `[h, w, 3, TERMS]`; not confined to 0..1."""
        across, along = (
            hats(side, count, None if self.size is None else self.size[axis])
            for axis, (side, count) in enumerate(zip(self.pixels.shape[:2], cells.shape[:2], strict=True))
        )
        maps = jnp.einsum("ij,hwjk->ikhw", self.toning.color, cells + jnp.eye(3, TERMS)[None, None], precision=HIGHEST)
        narrow = jnp.einsum("rh,ikhw->ikrw", across, maps)
        wide = jnp.einsum("ikrw,cw->ikrc", narrow, along)
        rows = [sum(wide[i, k] * x for k, x in enumerate(self.inputs)) + self.toning.target[i] for i in range(3)]
        return jnp.stack(rows, -1)


def no_change(photo: Array) -> Array:
    """The coefficients that match means and covariances, D = 0, of a photo `[H, W, 3]`."""
    rows, columns = (-(-side // CELL) for side in photo.shape[:2])
    return jnp.zeros((rows, columns, 3, TERMS))


def blocks(x: Array, side: int) -> Array:
    """The sums of `[H, W, C]` over squares; the last of a row or column may reach beyond."""
    height, width, channels = x.shape
    x = jnp.pad(x, [(0, -height % side), (0, -width % side), (0, 0)])
    return x.reshape(x.shape[0] // side, side, x.shape[1] // side, side, channels).sum((1, 3))


def bend(light: Array) -> Array:
    """The bent luma t = z₁ / √(1 + z₁²), between -1 and 1, of white luma z₁."""
    return light * jax.lax.rsqrt(1 + jnp.square(light))


def hats(count: int, cells: int, size: Array | None) -> Array:
    """The share of each cell in each of `count` rows or columns, by linear interpolation, up to the image's last."""
    last = jnp.asarray(cells - 1 if size is None else -(-size // CELL) - 1, jnp.float32)
    places = jnp.clip((jnp.arange(count, dtype=jnp.float32) + 0.5) / CELL - 0.5, 0, last)
    return jnp.maximum(1 - jnp.abs(places[:, None] - jnp.arange(cells, dtype=jnp.float32)[None]), 0)
