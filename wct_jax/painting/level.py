"""One level: a layer's feature painted in its styles."""

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from wct_jax.kernels.canvas import inside
from wct_jax.kernels.mapping import map_pixels
from wct_jax.networks.pooling import pool_weights, size_at
from wct_jax.painting.guides import Guides
from wct_jax.painting.memory import Memory
from wct_jax.painting.regions import relative
from wct_jax.painting.style import Style, feature_moments
from wct_jax.transform.maps import TRANSFORMS
from wct_jax.transform.roots import inverse_root_of, root_of
from wct_jax.transform.statistics import Moments, shrink
from wct_jax.transform.swap import style_swap
from wct_jax.transform.whitening import apply, transfer


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=("alpha", "eps", "structure", "shrinkage"),
    meta_fields=("layer", "transform", "swap"),
)
@dataclass(frozen=True, eq=False)
class Level:
    """A level as a pytree: numbers that are traced, and names that are static.

    Attributes:
        layer: Name of the layer.
        alpha: Blend of features in 0..1, a scalar or `[..., H', W']`.
        eps: Relative cut of the spectra, see `wct`.
        transform: A name in `wct_jax.transform.maps.TRANSFORMS`.
        swap: Side and stride of the patches that the whitened feature is rebuilt from, see `style_swap`; or None.
        structure: Share of the photo's own feature in one pass, a scalar in 0..1; None for none.
        shrinkage: Shrinkage of both covariances in 0..1, see `shrink`; None for none.
    """

    layer: str
    alpha: Any = 1.0
    eps: Any = 1e-6
    transform: str = "zca"
    swap: tuple[int, int] | None = None
    structure: Any = None
    shrinkage: Any = None


def paint_feature(
    feature: Array, statistics: Sequence[Moments], styles: Sequence[Style], level: Level, guides: Guides
) -> Array:
    """Paint a feature in its styles, each where its region is.

    Args:
        feature: `[..., H', W', C]`.
        statistics: Moments of each style's region in the whole image, also if the feature is only a tile.
        styles: Styles with statistics for the layer.
        level: The level of the feature.
        guides: Guides of the image.
    """
    level = dataclasses.replace(level, alpha=jnp.asarray(level.alpha), eps=jnp.asarray(level.eps))
    cells, alphas = size_at(level.layer, guides.size), [level.alpha]
    if guides.shares or guides.alpha_map is not None:
        alphas = _alphas(level, dataclasses.replace(guides, weights=None))
    result = feature
    for own, style, alpha in zip(statistics, styles, alphas, strict=True):
        here, target = dataclasses.replace(level, alpha=alpha), style.moments[level.layer]
        if level.shrinkage is not None:
            own, target = shrink(own, level.shrinkage), shrink(target, level.shrinkage)
        if level.swap:
            painted = repatch(feature, own, target, style.features[level.layer], here, cells)
        else:
            painted = recolor(feature, own, target, here, cells)
        result = _with_change(result, feature, painted) if guides.shares else painted
    return result


def statistics_of(feature: Array, layer: str, guides: Guides) -> list[Moments]:
    """The moments of a feature in the region of each style, or in the whole image.

    Args:
        feature: `[..., H', W', C]`.
        layer: Name of the layer.
        guides: Guides of the image.
    """
    counted: list[Array | None] = [_both(guides.weights, share) for share in guides.shares]
    return [feature_moments(feature, weights, guides.size, layer) for weights in counted or [guides.weights]]


def statistics_for(feature: Array, layer: str, guides: Guides, memory: Memory | None) -> list[Moments]:
    """The moments by which a feature is whitened: `statistics_of`, or what the memory of a film makes of them."""
    measure = functools.partial(statistics_of, feature, layer, guides)
    return measure() if memory is None else memory.recall(measure)


def _both(weights: Array | None, share: Array) -> Array:
    return share if weights is None else jnp.broadcast_to(weights, share.shape) * share


def _alphas(level: Level, guides: Guides) -> list[Array]:
    """For each region its share of each pixel of the feature, times the alpha there."""
    layer, size, alpha = level.layer, guides.size, level.alpha
    each = [jnp.ones((), jnp.float32)]
    if guides.shares:
        each = relative([pool_weights(share, layer, size) for share in guides.shares])
    if guides.alpha_map is not None:
        alpha = alpha * pool_weights(guides.alpha_map, layer, size)
    return [one * alpha for one in each]


def _with_change(total: Array, before: Array, after: Array) -> Array:
    return total + (after - before)


def recolor(feature: Array, statistics: Moments, style: Moments, level: Level, size: Array | None) -> Array:
    """Whiten and color a feature, see `transfer`.

    Args:
        feature: `[..., H', W', C]`.
        statistics: Moments of the feature, or of the whole image's if it is a tile.
        style: Moments of the style.
        level: The level of the feature.
        size: Rows and columns of the feature, int32 `[2]`, if it lies on a larger canvas; None for all.
    """
    # Values beyond the image must not grow from level to level: Winograd's convolutions add and subtract them.
    within = None if size is None else inside(feature.shape[-3:-1], size)
    how = TRANSFORMS[level.transform]
    return transfer(
        feature,
        style,
        level.alpha,
        eps=level.eps,
        statistics=statistics,
        transform=how,
        inside=within,
        blend=map_pixels,
    )


def repatch(
    feature: Array, statistics: Moments, style: Moments, kept: tuple[Array, Array], level: Level, size: Array | None
) -> Array:
    """Whiten a feature, rebuild it from patches of the style's whitened feature, and color it, see `style_swap`.

    Args:
        feature: `[..., H', W', C]`.
        statistics: Moments of the feature.
        style: Moments of the style.
        kept: Feature of the style, `[..., Hs', Ws', C]`, and the weight of each of its pixels, `[..., Hs', Ws']`.
        level: The level of the feature.
        size: Rows and columns of the feature, int32 `[2]`, if it lies on a larger canvas; None for all.
    """
    assert level.swap
    whitened, offered = (
        apply(x, own.mean, inverse_root_of(own, level.eps), jnp.zeros_like(own.mean))
        for x, own in ((feature, statistics), (kept[0], style))
    )
    patch, stride = level.swap
    swapped = style_swap(whitened, offered, patch=patch, stride=stride, style_weights=kept[1], size=size)
    painted = apply(swapped, jnp.zeros_like(style.mean), root_of(style, level.eps), style.mean)
    alpha = (level.alpha[..., None] if level.alpha.ndim else level.alpha).astype(painted.dtype)
    painted = (alpha * painted + (1 - alpha) * feature.astype(painted.dtype)).astype(feature.dtype)
    return painted if size is None else jnp.where(inside(feature.shape[-3:-1], size)[..., None], painted, 0)
