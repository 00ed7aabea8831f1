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
from wct_jax.networks.tone import Toning
from wct_jax.transform.whitening import apply

# Side of a cell in pixels of the image that the encoder sees.
CELL = 32
# Inputs of a cell's coefficients, u.
TERMS = 6


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Cells:
    """Features in cells of `CELL` pixels.

    Attributes:
        mean: `[..., h, w, C]`.
        deviation: Standard deviation in each cell, `[..., h, w, C]`.
    """

    mean: Array
    deviation: Array

    @classmethod
    def of(cls, x: Array, side: int, size: Array | None = None) -> "Cells":
        """The cells of `[..., H, W, C]`, whose squares of `side` are cells, and whose own `size` is int32 `[2]`."""
        mask = as_wide(mask_of(x, size), x)
        x = x.astype(jnp.float32) * mask
        count = jnp.maximum(sums(mask, side), 1e-6)
        mean = sums(x, side) / count
        square = sums(jnp.square(x), side) / count
        return cls(mean, jnp.sqrt(jnp.maximum(square - jnp.square(mean), 0) + 1e-8))


def mask_of(x: Array, size: Array | None) -> Array:
    """1 where an image `[..., H, W, C]` is on its canvas, `[H, W, 1]`."""
    sides = x.shape[-3:-1]
    return jnp.ones((*sides, 1)) if size is None else inside(sides, size).astype(jnp.float32)[..., None]


def sums(x: Array, side: int) -> Array:
    """The sums of `[..., H, W, C]` over squares; the last of a row or column may reach beyond."""
    for axis in (-3, -2):
        margin = [(0, 0)] * x.ndim
        margin[axis] = (0, -x.shape[axis] % side)
        x = jnp.pad(x, margin)
        place = x.ndim + axis
        x = x.reshape(*x.shape[:place], -1, side, *x.shape[place + 1 :]).sum(place + 1)
    return x


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Photos:
    """Photos as a grader takes them.

    Attributes:
        pixels: `[..., H, W, 3]` in 0..1.
        toning: Means and factors of their colours and of their styles'.
        weights: Weight of each pixel in the statistics, `[..., H, W]`; None for 1.
        size: Rows and columns, int32 `[2]`, if they lie on a larger canvas.
    """

    pixels: Array
    toning: Toning
    weights: Array | None = None
    size: Array | None = None

    @property
    def white(self) -> Array:
        """The white colours z, `[..., H, W, 3]`."""
        toning = self.toning
        return apply(self.pixels, toning.mean, toning.whiten, jnp.zeros_like(toning.mean))

    def weights_at(self, layer: str) -> Array | None:
        """The weights at the resolution of a layer."""
        return None if self.weights is None else pool_weights(self.weights, layer, self.size)

    def graded(self, cells: Array) -> Array:
        """The photos after a change by the coefficients of cells `[..., h, w, 3, TERMS]`; not confined to 0..1."""
        across, along = (
            _hats(side, count, None if self.size is None else self.size[axis])
            for axis, (side, count) in enumerate(zip(self.pixels.shape[-3:-1], cells.shape[-4:-2], strict=True))
        )
        flat = jnp.einsum("rh,...hwk->...rwk", across, cells.reshape(*cells.shape[:-2], 3 * TERMS))
        each = jnp.einsum("...rwk,cw->...rkc", flat, along)
        white = self.white
        light = bend(white[..., 0])
        u = [*(white[..., i] for i in range(3)), jnp.ones_like(light), light, jnp.square(light)]
        rows = [[each[..., TERMS * i + j, :] * x for j, x in enumerate(u)] for i in range(3)]
        change = jnp.stack([functools.reduce(jnp.add, row) for row in rows], -1)
        toning = self.toning
        return apply(white + change, jnp.zeros_like(toning.target), toning.color, toning.target)


def no_change(photos: Array) -> Array:
    """The coefficients that match means and covariances, D = 0, of photos `[..., H, W, 3]`."""
    rows, columns = (-(-side // CELL) for side in photos.shape[-3:-1])
    return jnp.zeros((*photos.shape[:-3], rows, columns, 3, TERMS))


def bend(light: Array) -> Array:
    """The bent luma t = z₁ / √(1 + z₁²), between -1 and 1, of white luma z₁."""
    return light * jax.lax.rsqrt(1 + jnp.square(light))


def _hats(count: int, cells: int, size: Array | None) -> Array:
    """The share of each cell in each of `count` rows or columns, by linear interpolation, up to the image's last."""
    last = jnp.asarray(cells - 1 if size is None else -(-size // CELL) - 1, jnp.float32)
    places = jnp.clip((jnp.arange(count, dtype=jnp.float32) + 0.5) / CELL - 0.5, 0, last)
    return jnp.maximum(1 - jnp.abs(places[:, None] - jnp.arange(cells, dtype=jnp.float32)[None]), 0)


def as_wide(values: Array, x: Array) -> Array:
    """Values with leading dimensions of 1, so that they have as many as x."""
    return values.reshape(*[1] * (x.ndim - values.ndim), *values.shape)
