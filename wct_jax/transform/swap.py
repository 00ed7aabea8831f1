"""Style swap: a feature rebuilt from patches of another one."""

import functools

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from wct_jax.checks.arguments import check_patch
from wct_jax.checks.arrays import as_feature, as_map
from wct_jax.transform.mesh import on_any_mesh
from wct_jax.transform.platforms import HIGHEST

# Patches of either feature that are compared at once: enough for a fast matrix product.
_AT_ONCE = 1024


def style_swap(
    content: ArrayLike,
    style: ArrayLike,
    *,
    patch: int = 3,
    stride: int = 1,
    style_weights: ArrayLike | None = None,
    size: Array | None = None,
) -> Array:
    """Replace each patch of a feature by the most similar patch of another, and average where patches overlap.

    A patch φ_c of the content becomes the style's patch φ_s with the largest `⟨φ_c, φ_s⟩ / |φ_s|`: equations 2 and 3 of
    Chen and Schmidt, "Fast Patch-based Style Transfer of Arbitrary Style", 2016. `whiten` both features first, as in
    section 4 of Li et al., NIPS 2017. Choose it over `wct` for styles whose shapes matter more than their statistics.
    Time grows with the number of pairs of patches, memory only with the number of pixels.

    Args:
        content: `[..., H, W, C]`, whitened.
        style: `[..., Hs, Ws, C]`, whitened; leading dimensions broadcast with those of `content`.
        patch: Side of a patch in pixels of the feature, clipped to the sides of both features.
        stride: Step from patch to patch in pixels, 1..`patch`. The last patch always ends at the end of its side.
        style_weights: Weight of each pixel of the style, 0..1, broadcasting to `[..., Hs, Ws]`; None for 1 everywhere.
            Patches with less than half the weight of the heaviest one are not used.
        size: Rows and columns of the image if `content` is a larger canvas, int32 `[2]`, each at least `patch`; None
            for all.

    Returns:
        `[..., H, W, C]` in the dtype of `content`.

    Raises:
        ValueError: A shape does not fit, or `stride` leaves pixels without a patch.

    Example:
        >>> content, style = map(whiten, jax.random.normal(jax.random.key(0), (2, 4, 5, 3)))
        >>> style_swap(content, style, patch=3).shape
        (4, 5, 3)
        >>> bool(jnp.allclose(style_swap(style, style), style, atol=1e-5))
        True
    """
    patch, stride = check_patch(patch, stride)
    content, style = jnp.asarray(as_feature("content", content)), jnp.asarray(as_feature("style", style))
    if content.shape[-1] != style.shape[-1]:
        raise ValueError(f"content and style must be [..., H, W, C] of one C, got {content.shape} and {style.shape}")
    style = style.astype(content.dtype)
    weights = jnp.ones(style.shape[:-1], style.dtype)
    if style_weights is not None:
        counted = jnp.asarray(as_map("style_weights", style_weights, style.shape[:-1]), style.dtype)
        weights = jnp.broadcast_to(counted, style.shape[:-1])
    size = jnp.asarray(content.shape[-3:-1], jnp.int32) if size is None else size
    try:
        lead = jnp.broadcast_shapes(content.shape[:-3], style.shape[:-3])
    except ValueError:
        raise ValueError(
            f"leading dimensions of content and style must broadcast, got {content.shape[:-3]} and {style.shape[:-3]}"
        ) from None
    swap = functools.partial(_swap_each, lead=lead, patch=patch, stride=stride)
    return on_any_mesh(swap, lambda lead, pixels: pixels, content, style, weights, size)


def _swap_each(
    content: Array, style: Array, weights: Array, size: Array, *, lead: tuple[int, ...], patch: int, stride: int
) -> Array:
    content, style, weights = (
        jnp.broadcast_to(x, (*lead, *x.shape[x.ndim - rank :])) for x, rank in ((content, 3), (style, 3), (weights, 2))
    )
    one = functools.partial(_swap, patch=patch, stride=stride, size=size)
    return jnp.vectorize(one, signature="(h,w,c),(i,j,c),(i,j)->(h,w,c)")(content, style, weights)


def _swap(content: Array, style: Array, weights: Array, *, patch: int, stride: int, size: Array) -> Array:
    sides = min(patch, content.shape[0], style.shape[0]), min(patch, content.shape[1], style.shape[1])
    rows, columns = (
        _starts(side, extent, part, stride) for side, extent, part in zip(content.shape, size, sides, strict=False)
    )
    best = _most_similar(content, style, weights, (rows[0], columns[0]), sides, stride)
    total, count = jnp.zeros_like(content), jnp.zeros(content.shape[:2], content.dtype)
    used = (rows[1][:, None] & columns[1][None]).astype(content.dtype)
    for i in range(sides[0]):
        for j in range(sides[1]):
            here = rows[0][:, None] + i, columns[0][None] + j
            taken = style[best[0] + i, best[1] + j]
            total = total.at[here].add(taken * used[..., None])
            count = count.at[here].add(used)
    return total / jnp.maximum(count, 1)[..., None]


def _starts(side: int, extent: Array, patch: int, stride: int) -> tuple[Array, Array]:
    """Starts of the patches along a side, and a mask that leaves out repetitions of the last one."""
    multiples = jnp.arange(-(-(side - patch) // stride) + 1, dtype=jnp.int32) * stride
    last = jnp.maximum(extent - patch, 0)
    return jnp.minimum(multiples, last), multiples < last + stride


def _most_similar(
    content: Array, style: Array, weights: Array, starts: tuple[Array, Array], sides: tuple[int, int], stride: int
) -> tuple[Array, Array]:
    """Rows and columns at which the most similar patch of the style begins, for each patch of the content."""
    (rows, columns), (height, width, _) = starts, style.shape
    style_rows, _ = _starts(height, jnp.int32(height), sides[0], stride)
    style_columns, _ = _starts(width, jnp.int32(width), sides[1], stride)
    counted = _windows(weights[..., None], style_rows, style_columns, sides).sum(-1)
    usable = (counted >= counted.max() / 2).reshape(len(style_rows), len(style_columns))
    offered = _in_blocks(style_rows, len(style_columns))
    usable = jnp.pad(usable, ((0, offered.size - len(style_rows)), (0, 0))).reshape(len(offered), -1)
    numbers = jnp.arange(usable.size, dtype=jnp.int32).reshape(usable.shape)

    def of_rows(wanted_rows: Array) -> Array:
        wanted = _windows(content, wanted_rows, columns, sides)

        def look(best: tuple[Array, Array], block: tuple[Array, Array, Array]) -> tuple[tuple[Array, Array], None]:
            rows, usable, numbers = block
            patches = _windows(style, rows, style_columns, sides)
            norms = jnp.sqrt(jnp.sum(patches**2, -1))
            scores = jnp.matmul(wanted, patches.T, precision=HIGHEST) / jnp.where(norms > 0, norms, 1)[None]
            scores = jnp.where(usable[None], scores, -jnp.inf)
            score = jnp.max(scores, -1)
            number = numbers[jnp.argmax(scores, -1)]
            better = score > best[0]
            return (jnp.where(better, score, best[0]), jnp.where(better, number, best[1])), None

        none = jnp.full(len(wanted), -jnp.inf, content.dtype), jnp.zeros(len(wanted), jnp.int32)
        (_, best), _ = lax.scan(look, none, (offered, usable, numbers))
        return best

    best = lax.map(of_rows, _in_blocks(rows, len(columns))).reshape(-1, len(columns))[: len(rows)]
    return style_rows[best // len(style_columns)], style_columns[best % len(style_columns)]


def _in_blocks(rows: Array, columns: int) -> Array:
    """Group rows of patches into blocks of about `_AT_ONCE` patches, repeating the last row to fill the last block."""
    at_once = max(1, _AT_ONCE // columns)
    return jnp.pad(rows, (0, -len(rows) % at_once), mode="edge").reshape(-1, at_once)


def _windows(x: Array, rows: Array, columns: Array, sides: tuple[int, int]) -> Array:
    """Patches of `[H, W, C]` that begin at some rows and columns, `[rows * columns, pixels of a patch * C]`."""
    parts = [x[(rows + i)[:, None], (columns + j)[None]] for i in range(sides[0]) for j in range(sides[1])]
    return jnp.concatenate(parts, -1).reshape(len(rows) * len(columns), -1)
