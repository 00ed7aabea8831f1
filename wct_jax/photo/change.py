"""A change of a photo's colours from place to place, applied at any size."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from wct_jax.kernels.canvas import as_array
from wct_jax.kernels.compilation import compiled
from wct_jax.photo.cells import TERMS, bend
from wct_jax.photo.protection import keep_hue, protected
from wct_jax.photo.tone import LUMA, Toning, into_gamut, tint
from wct_jax.transform.platforms import HIGHEST

# Side of the tiles, all of one shape, so that one program serves photos of every size.
_TILE = 512
# Knots of the grid that a tile may touch, in steps of this many, for the same reason.
_KNOTS = 8
_WORKERS = 2


@dataclass(frozen=True, eq=False)
class Grading:
    """What happens to the colours of a region, cell by cell.

    Attributes:
        maps: `[h, w, 3, TERMS]`: colours become `maps @ (red, green, blue, 1, t, t²)`, where t bends white luma.
        light: `[4]`: white luma is `light[:3] @ (red, green, blue) + light[3]`.
        share: Share of the change that is made.
        cast: `[3]`: the cast that the rest of the colours takes in middle tones, see `wct_jax.photo.tone.tint`.
    """

    maps: np.ndarray
    light: np.ndarray
    share: np.ndarray
    cast: np.ndarray

    @classmethod
    def of(cls, cells: np.ndarray, toning: Toning, share: ArrayLike = 1.0) -> "Grading":
        """The grading of coefficients, `[h, w, 3, TERMS]`."""
        mean, whiten, target, color = (
            np.asarray(each, np.float64) for each in (toning.mean, toning.whiten, toning.target, toning.color)
        )
        # Colours to u = (z, 1, t, t²), and from z + D u to colours.
        seen = np.eye(TERMS)
        seen[:3, :3], seen[:3, 3] = whiten, -whiten @ mean
        maps = color @ (cells + np.eye(3, TERMS)) @ seen
        maps[..., 3] += target
        cast = target - mean
        cast -= cast @ LUMA
        arrays = maps, seen[0, :4], np.asarray(share), cast
        return cls(*(np.asarray(each, np.float32) for each in arrays))


@dataclass(frozen=True, eq=False)
class Change:
    """A change for each region of a photo.

    Attributes:
        gradings: The grading of each region.
        cell: Side of a cell in the photo's pixels.
        shares: Share of each region in each pixel, `[H, W]`; empty for one region everywhere.
        strength: Share of the change that is made, `[H, W]` or a scalar.
        protect: Names in `wct_jax.photo.protection.PROTECTED`.
    """

    gradings: Sequence[Grading]
    cell: int
    shares: Sequence[np.ndarray] = ()
    strength: np.ndarray | float = 1.0
    protect: tuple[str, ...] = ()

    def apply(self, photo: np.ndarray) -> np.ndarray:
        """Change a photo, `[H, W, 3]` in 0..1, tile by tile; where no region is it stays."""
        out = np.empty(photo.shape, np.float32)
        with ThreadPoolExecutor(_WORKERS) as pool:
            for _ in pool.map(lambda window: self._paint(photo, out, window), _tiles(photo.shape)):
                pass
        return out

    def _paint(self, photo: np.ndarray, out: np.ndarray, window: tuple[slice, slice]) -> None:
        sides = [part.stop - part.start for part in window]

        def tile(values: np.ndarray) -> np.ndarray:
            padding = [(0, _TILE - side) for side in sides] + [(0, 0)] * (values.ndim - 2)
            return np.pad(values[window].astype(np.float32, copy=False), padding, "edge")

        shares = [tile(share) for share in self.shares]
        strength = tile(np.broadcast_to(np.asarray(self.strength, np.float32), photo.shape[:2]))
        knots = [self._knots(part, count) for part, count in zip(window, self.gradings[0].maps.shape, strict=False)]
        (rows, across), (columns, along) = knots
        patches = []
        for each in self.gradings:
            part = each.maps[rows, columns].reshape(rows.stop - rows.start, columns.stop - columns.start, 3 * TERMS)
            short = [(0, hats.shape[1] - count) for hats, count in zip((across, along), part.shape, strict=False)]
            patches.append((np.pad(part, [*short, (0, 0)]), each.light, each.share, each.cast))
        arrays = jax.tree.map(as_array, (tile(photo), patches, across, along, shares, strength))
        changed = _changed(*arrays, protect=self.protect)
        out[window] = np.asarray(changed)[: sides[0], : sides[1]]

    def _knots(self, part: slice, count: int) -> tuple[slice, np.ndarray]:
        """The knots, at the middle of cells, around some rows or columns, and the share of each in each pixel."""
        places = ((np.arange(part.start, part.start + _TILE) + 0.5) / self.cell - 0.5).clip(0, count - 1)
        first, last = int(places[0]), min(int(places[part.stop - part.start - 1]) + 2, count)
        wide = -(-(last - first) // _KNOTS) * _KNOTS
        hats = np.maximum(1 - np.abs(places[:, None] - np.arange(first, first + wide)), 0)
        return slice(first, last), hats.astype(np.float32)


def _tiles(shape: Sequence[int]) -> Iterator[tuple[slice, slice]]:
    height, width = shape[:2]
    for top in range(0, height, _TILE):
        for left in range(0, width, _TILE):
            yield slice(top, min(top + _TILE, height)), slice(left, min(left + _TILE, width))


@compiled(static=("protect",))
def _changed(
    photo: Array,
    patches: Sequence[tuple[Array, Array, Array, Array]],
    across: Array,
    along: Array,
    shares: Sequence[Array],
    strength: Array,
    *,
    protect: tuple[str, ...],
) -> Array:
    total = jnp.zeros_like(photo)
    for number, (patch, light, share, cast) in enumerate(patches):
        narrow = jnp.einsum("rh,hwk->rwk", across, patch, precision=HIGHEST)
        maps = jnp.einsum("rwk,cw->rkc", narrow, along, precision=HIGHEST)
        red, green, blue = (photo[..., i] for i in range(3))
        bent = bend(light[0] * red + light[1] * green + light[2] * blue + light[3])
        terms = (red, green, blue, jnp.ones_like(red), bent, jnp.square(bent))
        changed = into_gamut(
            jnp.stack([sum(maps[:, TERMS * i + j] * term for j, term in enumerate(terms)) for i in range(3)], -1)
        )
        tinted = tint(photo, cast)
        if protect:
            kept = protected(photo, protect)
            changed, tinted = (keep_hue(each, photo, kept) for each in (changed, tinted))
        difference = share * (changed - photo) + (1 - share) * (tinted - photo)
        total = total + (shares[number][..., None] * difference if shares else difference)
    return jnp.clip(photo + strength[..., None] * total, 0, 1)  # Rounding may leave the gamut.
