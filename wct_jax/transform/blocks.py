"""Loops over blocks of a batch of images: some rows of one image, or several small images.

On the CPU, what is done to a block while it is in the cache takes a third of the time that it takes on whole images.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax.numpy as jnp
from jax import Array, lax

Border = Literal["reflect", "edge", "zero"]


def map_blocks(
    convolve: Callable[[Array], Array],
    x: Array,
    channels: int,
    pixels: int,
    border: Border,
    *,
    times: int = 1,
    size: Array | None = None,
) -> Array:
    """Apply to each block what makes of it one of the same number of images and a multiple of its sides.

    Args:
        convolve: From `[n, rows + 2, W + 2, C]` to `[n, times * rows, times * W, channels]`.
        x: `[N, H, W, C]` with sides of two pixels at least.
        channels: Of the result.
        pixels: How many a block has, about.
        border: What surrounds the images by one pixel: their reflection, their edge again, or zeros.
        times: How many times the sides of `x` the result has.
        size: Rows and columns that count, int32 `[2]`: the border is around these. None for all.

    Returns:
        `[N, times * H, times * W, channels]`.
    """
    grid = _Grid.of(x, pixels)
    if grid.steps == 1:
        return convolve(grid.padded(x, 0, border, size))

    def step(i: Array, result: Array) -> Array:
        image, row = grid.start(i)
        return lax.dynamic_update_slice(result, convolve(grid.padded(x, i, border, size)), (image, times * row, 0, 0))

    count, height, width, _ = x.shape
    return lax.fori_loop(0, grid.steps, step, lax.empty((count, times * height, times * width, channels), x.dtype))


def sum_blocks(reduce: Callable[[Array, Array], Array], x: Array, y: Array, pixels: int) -> Array:
    """Sum over all blocks what is made of a block of `x`, with a pixel of reflection around it, and that of `y`.

    Args:
        reduce: Of `[n, rows + 2, W + 2, C]` and `[n, rows, W, C']`, linear in the latter.
        x: `[N, H, W, C]` with sides of two pixels at least.
        y: `[N, H, W, C']`.
        pixels: How many a block has, about.
    """
    grid = _Grid.of(x, pixels)

    def part(i: Array | int) -> Array:
        return reduce(grid.padded(x, i, "reflect"), grid.new(y, i))

    first = part(0)
    return first if grid.steps == 1 else lax.fori_loop(1, grid.steps, lambda i, total: total + part(i), first)


def pad(x: Array, size: Array | None = None) -> Array:
    """Surround whole images by a pixel of reflection; a side of one pixel, which has nothing to reflect, repeats it.

    Args:
        x: `[N, H, W, C]`.
        size: Rows and columns that count, int32 `[2]`, two of each at least. None for all.

    Returns:
        `[N, H + 2, W + 2, C]`.
    """
    for axis in (1, 2):
        padding = [(1, 1) if axis == a else (0, 0) for a in range(4)]
        x = jnp.pad(x, padding, mode="reflect" if x.shape[axis] > 1 else "edge")
        if size is not None:
            x = _repeat_line(x, axis, size[axis - 1] - 1, size[axis - 1] + 1)
    return x


class _Grid(NamedTuple):
    number: int
    height: int
    images: int
    rows: int

    @classmethod
    def of(cls, x: Array, pixels: int) -> "_Grid":
        count, height, width, _ = x.shape
        images = max(1, min(count, pixels // (height * width)))
        # Whole cells of four rows, and strips of the same height, for the last ones overlap.
        strips = -(-height // max(4, pixels // width // 4 * 4))
        return cls(count, height, images, min(height, -(-height // strips // 4) * 4))

    @property
    def steps(self) -> int:
        return -(-self.number // self.images) * -(-self.height // self.rows)

    def _nominal(self, i: Array | int) -> tuple[Array | int, Array | int]:
        down = -(-self.height // self.rows)
        return i // down * self.images, i % down * self.rows

    def start(self, i: Array | int) -> tuple[Array, Array]:
        """The first image and the first row of a block, the last ones as far back as they need to be whole."""
        image, row = self._nominal(i)
        return jnp.minimum(image, self.number - self.images), jnp.minimum(row, self.height - self.rows)

    def padded(self, x: Array, i: Array | int, border: Border, size: Array | None = None) -> Array:
        """A block with what surrounds it."""
        image, row = self.start(i)
        width, channels = x.shape[2:]

        def rows(start: Array, size: int) -> Array:
            return lax.dynamic_slice(x, (image, start, 0, 0), (self.images, size, width, channels))

        top, bottom = row == 0, row + self.rows == self.height
        inwards = 1 if border == "reflect" else 0
        above = rows(jnp.where(top, inwards, row - 1), 1)
        below = rows(jnp.where(bottom, self.height - 1 - inwards, row + self.rows), 1)
        if border == "zero":
            above, below = jnp.where(top, 0, above), jnp.where(bottom, 0, below)
        block = jnp.concatenate([above, rows(row, self.rows), below], axis=1)
        if border == "zero":
            block = jnp.pad(block, ((0, 0), (0, 0), (1, 1), (0, 0)))
        else:
            left, right = block[:, :, inwards : inwards + 1], block[:, :, width - 1 - inwards : width - inwards]
            block = jnp.concatenate([left, block, right], axis=2)
        if size is not None:
            # The row below the last one that counts, if the block has both.
            last = size[0] - row
            ends = (last > 0) & (last <= self.rows)
            block = _repeat_line(block, 1, jnp.where(ends, last - inwards, 0), jnp.where(ends, last + 1, 0))
            block = _repeat_line(block, 2, size[1] - inwards, size[1] + 1)
        return lax.optimization_barrier(block)

    def new(self, x: Array, i: Array | int) -> Array:
        """A block, with zeros for what belongs to an earlier one."""
        (first_image, first_row), (image, row) = self._nominal(i), self.start(i)
        block = lax.dynamic_slice(x, (image, row, 0, 0), (self.images, self.rows, *x.shape[2:]))
        images, rows = image + jnp.arange(self.images), row + jnp.arange(self.rows)
        belongs = (images >= first_image)[:, None] & (rows >= first_row)[None]
        return jnp.where(belongs[..., None, None], block, 0)


def _repeat_line(x: Array, axis: int, source: Array, target: Array) -> Array:
    line = lax.dynamic_slice_in_dim(x, source, 1, axis)
    return lax.dynamic_update_slice_in_dim(x, line, target, axis)


def rows_at_once(x: Array, numbers: int = 2**18) -> int:
    """How many rows of an image the CPU should take at a time for what is done to each pixel in several steps.

    Args:
        x: `[..., H, W, C]`.
        numbers: How many stay in the cache.

    Returns:
        A divisor of the height.
    """
    height, width, channels = x.shape[-3:]
    most = min(height, max(1, numbers // (width * channels)))
    return next(rows for rows in range(most, 0, -1) if height % rows == 0)


def cut(x: Array, rows: int, axis: int) -> Array:
    """Parts of so many rows along `axis`, a negative one: `[H / rows, ..., rows, ...]` of `[..., H, ...]`."""
    parts = x.reshape(*x.shape[:axis], -1, rows, *x.shape[axis:][1:])
    return jnp.moveaxis(parts, axis - 1, 0)


def join(parts: Array, axis: int) -> Array:
    """What was cut along `axis`."""
    x = jnp.moveaxis(parts, 0, axis - 1)
    return x.reshape(*x.shape[: axis - 1], -1, *x.shape[axis:][1:])
