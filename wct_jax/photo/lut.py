"""Look-up tables of colours: fitted to a change, and applied to photos of any size."""

import dataclasses
import itertools
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from wct_jax.checks.arguments import as_integer
from wct_jax.checks.arrays import as_image, as_map, on_host
from wct_jax.kernels.compilation import compiled

# Pixels that a table is applied to at a time, so that one program serves photos of every size.
_AT_ONCE = 2**19
# Pixels that a table is fitted to.
_SAMPLES = 2**17
# Weight of the smoothness at a lattice point, in pixels, and of the change that is affine everywhere.
_SMOOTH, _AFFINE = 4.0, 1e-3
_ROUNDS = 300


@dataclass(frozen=True, eq=False)
class Lut:
    """A look-up table of colours, which are interpolated linearly between its points.

    Attributes:
        table: `[R, G, B, 3]`, results on a lattice of red, green and blue, or `[N, 3]`, results of each channel alone.
        domain: Colours of the first and of the last point, two triples.
        title: A title, or "".
    """

    table: np.ndarray
    domain: tuple[tuple[float, ...], tuple[float, ...]] = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    title: str = ""

    def apply(self, photo: ArrayLike) -> np.ndarray:
        """Look up the colours of a photo.

        >>> lut = Lut(np.linspace(0, 0.5, 6, dtype=np.float32).reshape(2, 3))
        >>> lut.apply(np.ones((4, 5, 3), np.float32))[0, 0].tolist()  # The second row of the table.
        [0.30000001192092896, 0.4000000059604645, 0.5]

        Args:
            photo: `[H, W, 3]`, floating point; colours beyond the domain take the result at its border.

        Returns:
            `[H, W, 3]`, float32, in 0..1.
        """
        image = on_host("photo", as_image("photo", photo, single=True))
        low, high = (np.asarray(end, np.float32) for end in self.domain)
        out = np.empty(image.shape, np.float32)
        rows = max(1, _AT_ONCE // image.shape[1])
        table = self.table.astype(np.float32)
        if table.ndim == 4:  # One shape for the tables of all files that have as many points.
            table = table.reshape(-1, 3)
        sides = np.asarray(self.table.shape[:-1], np.int32)
        look_up = _alone if len(sides) == 1 else _together
        for start in range(0, len(image), rows):
            part = image[start : start + rows]
            flat = ((part.reshape(-1, 3) - low) / (high - low)).clip(0, 1).astype(np.float32)
            whole = -(-len(flat) // _AT_ONCE) * _AT_ONCE if len(image) > rows else len(flat)
            padded = np.pad(flat, [(0, whole - len(flat)), (0, 0)])
            found = look_up(*map(jnp.asarray, (padded, table, sides)))
            out[start : start + rows] = np.asarray(found)[: len(flat)].reshape(part.shape)
        return out.clip(0, 1, out=out)


@compiled()
def _alone(colors: Array, table: Array, sides: Array) -> Array:
    places = colors * (sides[0] - 1).astype(colors.dtype)
    first = jnp.clip(jnp.floor(places).astype(jnp.int32), 0, sides[0] - 2)
    share = places - first.astype(colors.dtype)
    pairs = (jnp.take_along_axis(table, first + step, 0) for step in (0, 1))
    return (1 - share) * next(pairs) + share * next(pairs)


@compiled()
def _together(colors: Array, table: Array, sides: Array) -> Array:
    places = colors * (sides - 1).astype(colors.dtype)[None]
    first = jnp.clip(jnp.floor(places).astype(jnp.int32), 0, (sides - 2)[None])
    share = places - first.astype(colors.dtype)
    steps = jnp.stack([sides[1] * sides[2], sides[2], jnp.ones_like(sides[0])])
    total = jnp.zeros_like(colors)
    for corner in itertools.product((0, 1), repeat=3):
        at = ((first + jnp.asarray([corner], jnp.int32)) * steps[None]).sum(-1)
        weight = jnp.ones_like(share[:, 0])
        for channel, far in enumerate(corner):
            weight = weight * (share[:, channel] if far else 1 - share[:, channel])
        total = total + weight[:, None] * table[at]
    return total


def identity_lut(size: int = 33) -> Lut:
    """The table `[size, size, size, 3]` that changes nothing."""
    steps = np.linspace(0, 1, as_integer("size", size, 2, 256), dtype=np.float32)
    return Lut(np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1))


def fit_lut(photo: ArrayLike, result: ArrayLike, size: int = 33, weights: ArrayLike | None = None) -> Lut:
    """Find the table that takes a photo's colours closest to those of its result.

    Regularised least squares on the lattice: the table is to be smooth where the photo has few colours, and where it
    has none to continue as the affine map that fits the whole photo best.

    >>> photo = np.random.default_rng(0).random((32, 48, 3), dtype=np.float32)
    >>> lut = fit_lut(photo, 0.1 + 0.8 * photo, 5)
    >>> bool(np.allclose(lut.apply(photo), 0.1 + 0.8 * photo, atol=1e-3))
    True

    Args:
        photo: `[H, W, 3]` in 0..1, floating point.
        result: What a change made of it, `[H, W, 3]`.
        size: Points along each side of the lattice, 2..256.
        weights: Weight of each pixel, `[H, W]`; None for 1.

    Returns:
        A table in 0..1.
    """
    before, after = (
        on_host(name, as_image(name, value, single=True)) for name, value in (("photo", photo), ("result", result))
    )
    if before.shape != after.shape:
        raise ValueError(f"photo and result must be [H, W, 3] of one size, got {before.shape} and {after.shape}")
    lattice = identity_lut(size)
    pick = slice(None, None, max(1, before[..., 0].size // _SAMPLES))
    x, y = (image.reshape(-1, 3)[pick].astype(np.float64).clip(0, 1) for image in (before, after))
    counts = np.ones(len(x))
    if weights is not None:
        known = np.broadcast_to(on_host("weights", as_map("weights", weights, before.shape[:2])), before.shape[:2])
        counts = known.reshape(-1)[pick].astype(np.float64)
    affine = _affine_fit(x, y, counts)
    points = lattice.table.reshape(-1, 3).astype(np.float64)
    rest = y - np.column_stack([x, np.ones(len(x))]) @ affine
    table = np.column_stack([points, np.ones(len(points))]) @ affine + _solve(x, rest, counts, size)
    return dataclasses.replace(lattice, table=table.reshape(lattice.table.shape).clip(0, 1).astype(np.float32))


def _affine_fit(x: np.ndarray, y: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """`[4, 3]`, with a ridge towards a common shift of all colours: a grey photo says nothing of hues."""
    known = np.column_stack([x, np.ones(len(x))])
    gram = known.T @ (known * counts[:, None]) + np.diag([1, 1, 1, 1e-9]) * 1e-4 * max(counts.sum(), 1e-9)
    shift = (counts[:, None] * (y - x)).sum(0) / max(counts.sum(), 1e-9)
    start = np.vstack([np.eye(3), shift])
    solved: np.ndarray = start + np.linalg.solve(gram, known.T @ (counts[:, None] * (y - known @ start)))
    return solved


def _solve(x: np.ndarray, y: np.ndarray, counts: np.ndarray, size: int) -> np.ndarray:
    """Values at the lattice points, `[size³, 3]`, that interpolate y at x and are smooth."""
    from scipy import sparse
    from scipy.sparse.linalg import cg

    places = x * (size - 1)
    first = np.floor(places).astype(np.int64).clip(0, size - 2)
    share = places - first
    steps = np.asarray([size * size, size, 1])
    columns, values = [], []
    for corner in itertools.product((0, 1), repeat=3):
        columns.append(((first + corner) * steps).sum(1))
        values.append(np.where(corner, share, 1 - share).prod(1))
    rows = np.tile(np.arange(len(x)), 8)
    hats = sparse.csr_matrix((np.concatenate(values), (rows, np.concatenate(columns))), (len(x), size**3))
    line = sparse.diags([1.0, -1.0], [0, 1], (size - 1, size))
    along, one = line.T @ line, sparse.identity(size)
    rough = sum(
        sparse.kron(sparse.kron(*parts[:2]), parts[2])
        for parts in ((along, one, one), (one, along, one), (one, one, along))
    )
    weighted = hats.T @ sparse.diags(counts)
    matrix = (weighted @ hats + _SMOOTH * rough + _AFFINE * sparse.identity(size**3)).tocsr()
    scale = sparse.diags(1 / matrix.diagonal())
    right = weighted @ y
    return np.column_stack([cg(matrix, right[:, i], rtol=1e-5, maxiter=_ROUNDS, M=scale)[0] for i in range(3)])
