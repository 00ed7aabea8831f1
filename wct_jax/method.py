"""How a feature takes its styles."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from wct_jax.arguments import as_names, check_choice
from wct_jax.canvas import inside
from wct_jax.compilation import part
from wct_jax.maps import TRANSFORMS
from wct_jax.model import pool_weights, size_at
from wct_jax.regions import relative
from wct_jax.style import Style
from wct_jax.swap import check_patch, style_swap
from wct_jax.transform import Moments, apply, inverse_root_of, root_of, transfer


class Method(NamedTuple):
    """How a feature takes a style.

    Attributes:
        transform: A name in `wct_jax.maps.TRANSFORMS`.
        swap_layers: Where instead the whitened feature is rebuilt of patches of the style's, see `style_swap`.
        patch: Side of a patch.
        stride: From patch to patch.
    """

    transform: str = "zca"
    swap_layers: tuple[str, ...] = ()
    patch: int = 3
    stride: int = 1


PLAIN = Method()


def method_of(transform: str, swap_layers: Sequence[str] = (), patch: int = 3, stride: int = 1) -> Method:
    """A method, checked.

    Raises:
        ValueError: A transform that there is not, no names of layers, or patches that leave pixels out.
    """
    check_choice("transform", transform, TRANSFORMS)
    return Method(transform, as_names("swap_layers", swap_layers), *check_patch(patch, stride))


def paint_feature(
    feature: Array,
    statistics: Sequence[Moments],
    styles: Sequence[Style],
    layer: str,
    alpha: Array,
    eps: Array,
    shares: Sequence[Array],
    alpha_map: Array | None,
    size: Array | None,
    method: Method,
) -> Array:
    """A feature in its styles, each where its region is.

    Args:
        feature: `[..., H', W', C]`.
        statistics: For each style the moments of its region, also of what of that is elsewhere.
        styles: With statistics for the layer.
        layer: The feature's.
        alpha: Scalar strength in 0..1.
        eps: Where the spectra are cut, see `wct`.
        shares: How much each style has of a pixel of the image, `[..., H, W]` each; none for one style.
        alpha_map: How much of `alpha` a pixel of the image takes, `[..., H, W]`, or None for all.
        size: Rows and columns of the image, if it lies on a larger canvas.
        method: How the styles are taken.
    """
    cells = size_at(layer, size)
    strengths = [alpha]
    if shares or alpha_map is not None:
        strengths = _strengths(alpha, tuple(shares), alpha_map, layer, size)
    result = feature
    for own, style, strength in zip(statistics, styles, strengths, strict=True):
        if layer in method.swap_layers:
            kept = style.features[layer]
            painted = repatch(
                feature, own, style.moments[layer], *kept, strength, eps, cells, method.patch, method.stride
            )
        else:
            painted = recolor(feature, own, style.moments[layer], strength, eps, cells, method.transform)
        result = _with_change(result, feature, painted) if shares else painted
    return result


@part(static=("layer",))
def _strengths(
    alpha: Array, shares: Sequence[Array], alpha_map: Array | None, layer: str, size: Array | None
) -> list[Array]:
    """For each region what it has of the feature's pixels, times the alpha there."""
    each = relative([pool_weights(share, layer, size) for share in shares]) if shares else [jnp.ones((), jnp.float32)]
    if alpha_map is not None:
        alpha = alpha * pool_weights(alpha_map, layer, size)
    return [one * alpha for one in each]


@part()
def _with_change(total: Array, before: Array, after: Array) -> Array:
    return total + (after - before)


@part(static=("transform",))
def recolor(
    feature: Array,
    statistics: Moments,
    style: Moments,
    alpha: Array,
    eps: Array,
    size: Array | None,
    transform: str = "zca",
) -> Array:
    """A feature whitened and colored, see `transfer`.

    Args:
        feature: `[..., H', W', C]`.
        statistics: Its moments, or those of the image that it is a part of.
        style: The style's moments.
        alpha: Strength in 0..1, a scalar or `[..., H', W']`.
        eps: Where the spectra are cut, see `wct`.
        size: Rows and columns of the feature, if it lies on a larger canvas; None for all.
        transform: A name in `wct_jax.maps.TRANSFORMS`.
    """
    # What is beyond the image must not grow from level to level: convolutions by Winograd add and subtract it.
    within = None if size is None else inside(feature.shape[-3:-1], size)
    how = TRANSFORMS[transform]
    return transfer(feature, style, alpha, eps=eps, statistics=statistics, transform=how, inside=within)


@part(static=("patch", "stride"))
def repatch(
    feature: Array,
    statistics: Moments,
    style: Moments,
    style_feature: Array,
    style_weights: Array,
    alpha: Array,
    eps: Array,
    size: Array | None,
    patch: int,
    stride: int,
) -> Array:
    """A feature whitened, rebuilt of patches of the style's whitened feature, and colored, see `style_swap`.

    Args:
        feature: `[..., H', W', C]`.
        statistics: Its moments.
        style: The style's moments.
        style_feature: `[..., Hs', Ws', C]`.
        style_weights: `[..., Hs', Ws']`.
        alpha: As for `recolor`.
        eps: As for `recolor`.
        size: As for `recolor`.
        patch: Side of a patch.
        stride: From patch to patch.
    """
    whitened, offered = (
        apply(x, own.mean, inverse_root_of(own, eps), jnp.zeros_like(own.mean))
        for x, own in ((feature, statistics), (style_feature, style))
    )
    swapped = style_swap(whitened, offered, patch=patch, stride=stride, style_weights=style_weights, size=size)
    painted = apply(swapped, jnp.zeros_like(style.mean), root_of(style, eps), style.mean)
    strength = alpha[..., None].astype(painted.dtype) if alpha.ndim else alpha.astype(painted.dtype)
    painted = (strength * painted + (1 - strength) * feature.astype(painted.dtype)).astype(feature.dtype)
    return painted if size is None else jnp.where(inside(feature.shape[-3:-1], size)[..., None], painted, 0)
