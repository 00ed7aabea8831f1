"""Style swap: a feature rebuilt of patches of another one."""

import functools

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from wct_jax.checks.arguments import check_patch
from wct_jax.checks.arrays import as_feature, as_map
from wct_jax.transform.mesh import on_any_mesh

_HIGHEST = lax.Precision.HIGHEST
# Patches that are compared with as many others at a time: enough for a product of matrices to be fast.
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
    """Replace each patch of a feature by the most similar one of another, and average where they overlap.

    Chen and Schmidt, "Fast Patch-based Style Transfer of Arbitrary Style", 2016, equations 2 and 3: of patches φ the
    one with the largest <φ_c, φ_s> / |φ_s|. For features that are whitened, as in Li et al., NIPS 2017, section 4.

    Memory grows with the pixels, not with the pairs of patches; time grows with these.

    Args:
        content: `[..., H, W, C]`, whitened.
        style: `[..., Hs, Ws, C]`, whitened; leading dimensions broadcast with those of `content`.
        patch: Side of a patch in pixels of the feature. Where a feature is smaller, as large as it is.
        stride: Patches begin at multiples of it, and at the end of each side; no more than `patch`.
        style_weights: How much each pixel of the style counts, 0..1, broadcasting to `[..., Hs, Ws]`: patches that
            count less than half as much as the one that counts most are not used.
        size: Rows and columns of the content that count, int32 `[2]`, if it lies on a larger canvas. They hold a
            patch, at least.

    Returns:
        `[..., H, W, C]` in the dtype of `content`.

    Raises:
        ValueError: A shape that does not fit, or a stride that leaves pixels without a patch.
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
    best = _most_similar(content, style, weights, rows[0], columns[0], sides, stride)
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
    """Where the patches of a side begin, and which of these are no repetitions of the last one."""
    multiples = jnp.arange(-(-(side - patch) // stride) + 1, dtype=jnp.int32) * stride
    last = jnp.maximum(extent - patch, 0)
    return jnp.minimum(multiples, last), multiples < last + stride


def _most_similar(
    content: Array,
    style: Array,
    weights: Array,
    rows: Array,
    columns: Array,
    sides: tuple[int, int],
    stride: int,
) -> tuple[Array, Array]:
    """For each of the content's patches where in the style the most similar one begins, rows and columns."""
    height, width, _ = style.shape
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
            scores = jnp.matmul(wanted, patches.T, precision=_HIGHEST) / jnp.where(norms > 0, norms, 1)[None]
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
    """Rows of patches in blocks of about `_AT_ONCE` patches, the last row repeated to fill the last block."""
    at_once = max(1, _AT_ONCE // columns)
    return jnp.pad(rows, (0, -len(rows) % at_once), mode="edge").reshape(-1, at_once)


def _windows(x: Array, rows: Array, columns: Array, sides: tuple[int, int]) -> Array:
    """Patches of `[H, W, C]` that begin at those rows and columns, `[rows * columns, pixels of a patch * C]`."""
    parts = [x[(rows + i)[:, None], (columns + j)[None]] for i in range(sides[0]) for j in range(sides[1])]
    return jnp.concatenate(parts, -1).reshape(len(rows) * len(columns), -1)
