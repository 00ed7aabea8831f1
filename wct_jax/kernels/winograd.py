"""3x3 convolutions by fewer than nine products per pixel, in plain array operations.

Winograd's minimal filtering as Lavin and Gray applied it to networks (arXiv:1509.09308): F(4x4, 3x3) makes the 16
results of a cell of 4x4 pixels from 36 products instead of 144. A convolution after nearest upsampling needs 9 products
for 4 results. Both are exact up to rounding, about 1e-6 of the largest value in float32.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from wct_jax.transform.platforms import HIGHEST

_CELL = 4


def transform_kernel(kernel: Array) -> Array:
    """Transform a kernel for `convolve`: G k Gᵀ, `[6, 6, in, out]` (columns first) from `[3, 3, in, out]`."""
    # A matrix product takes a fifth of the time of sums and differences.
    inputs, outputs = kernel.shape[2:]
    matrix = jnp.asarray(_KERNEL_TO_PRODUCTS, kernel.dtype)
    products = _product("pk,kc->pc", matrix, kernel.swapaxes(0, 1).reshape(9, inputs * outputs))
    return lax.optimization_barrier(products.reshape(6, 6, inputs, outputs))


def convolve(padded: Array, transformed: Array) -> Array:
    """Convolve: Aᵀ (Σ over inputs of (G k Gᵀ) ∘ (Bᵀ x B)) A for each cell of 4x4 pixels.

    Args:
        padded: `[N, H + 2, W + 2, in]`.
        transformed: `[6, 6, in, out]` from `transform_kernel`.

    Returns:
        `[N, H, W, out]`.
    """
    height, width = padded.shape[1] - 2, padded.shape[2] - 2
    # The barriers make each step a loop of its own over arrays in the cache. XLA would repeat the first steps for each
    # number of the last, which takes 1.5 times as long.
    products = lax.optimization_barrier(_product("bankwi,baio->bankwo", _transform_image(padded), transformed))
    columns = lax.optimization_barrier(jnp.stack(_products_to_cell(list(products)), axis=4))
    cells = jnp.stack(_products_to_cell(list(columns)), axis=2)
    count, down, _, across, _, outputs = cells.shape
    return cells.reshape(count, down * _CELL, across * _CELL, outputs)[:, :height, :width]


def transformed_gradient(padded: Array, gradient: Array) -> Array:
    """Compute the gradient of the transformed kernel.

    Args:
        padded: Padded images that were convolved, `[N, H + 2, W + 2, in]`.
        gradient: Gradient of the result, `[N, H, W, out]`.

    Returns:
        `[6, 6, in, out]`, for `kernel_gradient`.
    """
    gradient = _fill_cells(gradient, 0)
    rows = _stack(_cell_to_products(_every_fourth(gradient, 4, axis=1)))
    columns = _stack(_cell_to_products(_every_fourth(rows, 4, axis=3)))
    return _product("bankwi,bankwo->baio", _transform_image(padded), columns)


def kernel_gradient(transformed: Array) -> Array:
    """Turn the gradient of the transformed kernel, `[6, 6, in, out]`, into the kernel's, `[3, 3, in, out]`."""
    inputs, outputs = transformed.shape[2:]
    matrix = jnp.asarray(_KERNEL_TO_PRODUCTS, transformed.dtype)
    taps = _product("pk,pc->kc", matrix, transformed.reshape(36, inputs * outputs))
    return taps.reshape(3, 3, inputs, outputs).swapaxes(0, 1)


def split_kernel(kernel: Array) -> Array:
    """Split a kernel `[3, 3, in, out]` for `convolve_upsampled`.

    In one dimension, with taps w0, w1, w2 and each pixel of x repeated twice, the results at 2 i and 2 i + 1 are
    (w0 + w1 + w2) x[i] - w0 (x[i] - x[i - 1]) and (w0 + w1 + w2) x[i] + w2 (x[i + 1] - x[i]).

    Returns:
        `[in, 9 * out]`: the weights of the pixel, of its two differences along the row, of the two along the column,
        and of the four differences of differences.
    """

    def split(taps: Sequence[Array]) -> tuple[Array, Array, Array]:
        return taps[0] + taps[1] + taps[2], -taps[0], taps[2]

    whole, above, below = (split([row[i] for i in range(3)]) for row in split([kernel[i] for i in range(3)]))
    parts = [whole[0], *whole[1:], above[0], below[0], *above[1:], *below[1:]]
    return jnp.concatenate(parts, axis=1)


def convolve_upsampled(padded: Array, parts: Array) -> Array:
    """Upsample to twice the size by repeating pixels, and convolve.

    Args:
        padded: Images before upsampling, `[N, H + 2, W + 2, in]`.
        parts: `[in, 9 * out]` from `split_kernel`.

    Returns:
        `[N, 2 * H, 2 * W, out]`.
    """
    count, height, width, _ = padded.shape
    height, width, outputs = height - 2, width - 2, parts.shape[1] // 9
    down = padded[:, 1:] - padded[:, :-1]
    inner = padded[:, 1:-1]
    seen = (inner[:, :, 1:-1], inner[:, :, 1:] - inner[:, :, :-1], down[:, :, 1:-1], down[:, :, 1:] - down[:, :, :-1])
    matrices = lax.split(parts, [n * outputs for n in (1, 2, 2, 4)], axis=1)
    pixel, across, along, both = lax.optimization_barrier(
        tuple(_product("nhwi,io->nhwo", x, matrix) for x, matrix in zip(seen, matrices, strict=True))
    )

    def result(row: int, column: int) -> Array:
        rows, columns = slice(row, row + height), slice(column, column + width)
        return (
            pixel
            + across[:, :, columns, column * outputs :][..., :outputs]
            + along[:, rows, :, row * outputs :][..., :outputs]
            + both[:, rows, columns, (2 * row + column) * outputs :][..., :outputs]
        )

    rows = [jnp.stack([result(row, column) for column in range(2)], axis=3) for row in range(2)]
    return jnp.stack(rows, axis=2).reshape(count, 2 * height, 2 * width, outputs)


def _transform_image(padded: Array) -> Array:
    """Bᵀ x B of each cell: `[6, 6, N, rows of cells, cells in a row, in]`, columns first."""
    rows = _stack(_image_to_products(_every_fourth(_fill_cells(padded, 2), 6, axis=1)))
    return _stack(_image_to_products(_every_fourth(rows, 6, axis=3)))


def _fill_cells(x: Array, border: int) -> Array:
    padding = [(0, 0), *((0, -(n - border) % _CELL) for n in x.shape[1:3]), (0, 0)]
    return jnp.pad(x, padding) if any(after for _, after in padding) else x


def _every_fourth(x: Array, taps: int, axis: int) -> list[Array]:
    """The first `taps` lines of each cell, including those of the next cell."""
    end = x.shape[axis] - taps + 1
    return [lax.slice_in_dim(x, i, end + i, _CELL, axis) for i in range(taps)]


def _stack(parts: Sequence[Array]) -> Array:
    return lax.optimization_barrier(jnp.stack(parts))


def _product(subscripts: str, x: Array, y: Array) -> Array:
    return jnp.einsum(subscripts, x, y, precision=HIGHEST)


# The one-dimensional transforms of F(4, 3) at the points 0, 1, -1, 2, -2 and infinity, and their adjoints.


def _image_to_products(x: Sequence[Array]) -> list[Array]:
    """Bᵀ."""
    even, odd, far_even, far_odd = x[4] - 4 * x[2], x[3] - 4 * x[1], x[4] - x[2], 2 * (x[3] - x[1])
    return [
        4 * x[0] - 5 * x[2] + x[4],
        even + odd,
        even - odd,
        far_even + far_odd,
        far_even - far_odd,
        4 * x[1] - 5 * x[3] + x[5],
    ]


def _products_to_cell(m: Sequence[Array]) -> list[Array]:
    """Aᵀ."""
    even, odd, far_even, far_odd = m[1] + m[2], m[1] - m[2], m[3] + m[4], m[3] - m[4]
    return [m[0] + even + far_even, odd + 2 * far_odd, even + 4 * far_even, odd + 8 * far_odd + m[5]]


def _cell_to_products(y: Sequence[Array]) -> list[Array]:
    """A."""
    even, odd, far_even, far_odd = y[0] + y[2], y[1] + y[3], y[0] + 4 * y[2], 2 * y[1] + 8 * y[3]
    return [y[0], even + odd, even - odd, far_even + far_odd, far_even - far_odd, y[3]]


_G = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
# Along columns and rows.
_KERNEL_TO_PRODUCTS = np.kron(_G, _G)
