"""Fitting a change of a photo's colours to a style, by descent on how far its features are from the style's.

With C the covariance and m the mean of the encoder's features, at each of the first layers,

    ‖C - C_s‖ / ‖C_s‖ + 0.3 |m - m_s|² / tr C_s

is how far the photo is from the style. The coefficients of the cells (`wct_jax.photo.cells`) descend on the mean over
layers, through the exact gradient of the encoder, as the pixels do in Gatys et al., "Image Style Transfer Using
Convolutional Neural Networks", CVPR 2016, with terms that keep the drawing and leave flat parts flat.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jax import Array

from wct_jax.kernels.moments import moments_of
from wct_jax.networks.model import Model
from wct_jax.networks.vgg import LAYERS
from wct_jax.photo.cells import CELL, TERMS, Photo, blocks, no_change
from wct_jax.photo.tone import YCC, Toning, into_gamut
from wct_jax.transform.statistics import Moments, frobenius

# The deepest of the layers that are compared, counted from 1.
_DEPTH = 3
_STEPS = 40
_RATE = 0.1
# Of Nesterov's momentum and of the squares of gradients: there are few steps.
_MOMENTA = 0.8, 0.95
# Weights of the distance of means, of the change of edges, of colours beyond the gamut, of steps that show in flat
# parts, of faint detail, of bent light, and of differences between neighbouring cells.
_MEANS, _EDGES, _GAMUT, _FLAT, _FAINT, _BENT, _SMOOTH = 0.3, 0.3, 5.0, 12.0, 10.0, 0.3, 0.1
# Of features of mean activation 1: far less than the deviation of any picture's.
_LEAST = 1e-2
# Side of the squares in which edges are compared, and the constants of structural similarity.
_SQUARE = 8
_C1, _C2 = 0.01**2, 0.03**2
# Range of luma in the neighbourhood of a pixel from which it is not flat, and the side of this neighbourhood.
_TEXTURE, _NEAR = 0.02, 5
# Variance of colours in a square from which they are more than faint detail.
_DETAIL = 1e-4


def fitted_layers(depth: int) -> tuple[str, ...]:
    """The layers of an encoder, of so many layers, that are compared with the style's."""
    return LAYERS[: min(depth, _DEPTH)]


def fit_cells(model: Model, photo: Photo, style: Mapping[str, Moments]) -> Array:
    """The coefficients D of the change that brings a photo near a style.

    Args:
        model: Model with the encoder.
        photo: The photo.
        style: Layer to the moments of the style's features, of `fitted_layers`, `[C]` and `[C, C]`, float32.

    Returns:
        `[h, w, 3, TERMS]`, float32: a cell for each square of `CELL` pixels.
    """
    layers = [layer for layer in LAYERS if layer in style]
    flat = _flat_moments(photo)
    fine = _fine_moments(photo)
    edges = _edges(photo.pixels, photo)
    # Cells, some of them in part, on the photo, and how many they are.
    there = (blocks(photo.inside[..., None], CELL) > 0).astype(jnp.float32)[..., None]
    count = photo.inside.sum() / CELL**2

    def loss(cells: Array) -> Array:
        open_range = photo.graded(cells)
        result = into_gamut(open_range)
        features = model.encode(result, layers, photo.size)
        apart = []
        for layer in layers:
            own, wanted = moments_of(features[layer], photo.weights_at(layer)), style[layer]
            apart.append(
                frobenius(own.covariance - wanted.covariance) / (frobenius(wanted.covariance) + _LEAST)
                + _MEANS * jnp.square(own.mean - wanted.mean).sum() / (jnp.trace(wanted.covariance) + _LEAST)
            )
        beyond = jnp.sqrt(photo.mean(jnp.square(open_range - result).mean(-1)) + 1e-8)
        return (
            jnp.stack(apart).mean()
            + _EDGES * (1 - _similarity(_edges(result, photo), edges, photo.inside))
            + _GAMUT * beyond
            + _FLAT * _shown(cells, flat, photo.toning.color) / count
            + _FAINT * _kept_detail(cells, fine / count, photo.toning)
            + _BENT * jnp.square(there * cells[..., 4:]).sum() / (count * 3 * (TERMS - 4))
            + _SMOOTH * _rough(cells, there) / (count * 3 * TERMS)
        )

    return _descend(loss, no_change(photo.pixels))


def _descend(loss: Callable[[Array], Array], start: Array) -> Array:
    """Adam with Nesterov's momentum, Dozat, "Incorporating Nesterov Momentum into Adam", 2016, at a falling rate.

    Optax has it, but counts steps by integers, which a caller's strict promotion of dtypes refuses.
    """
    momentum, memory = _MOMENTA

    def step(number: Array, carried: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        x, mean, square = carried
        count = number.astype(jnp.float32)
        gradient = jax.grad(loss)(x)
        mean = momentum * mean + (1 - momentum) * gradient
        square = memory * square + (1 - memory) * jnp.square(gradient)
        ahead = momentum * mean / (1 - momentum ** (count + 2)) + (1 - momentum) * gradient / (
            1 - momentum ** (count + 1)
        )
        rate = _RATE * (0.5 + 0.5 * jnp.cos(jnp.pi * count / _STEPS))
        return x - rate * ahead / (jnp.sqrt(square / (1 - memory ** (count + 1))) + 1e-8), mean, square

    nothing = jnp.zeros_like(start)
    found: Array = jax.lax.fori_loop(0, _STEPS, step, (start, nothing, nothing))[0]
    return found


def _edges(image: Array, photo: Photo) -> Array:
    """Sobel magnitudes of luma, divided by their mean, `[H, W]`; none at the photo's end."""
    luma = jnp.pad(image @ YCC[0], 1, "edge")
    smooth, across = luma[:-2] + 2 * luma[1:-1] + luma[2:], luma[2:] - luma[:-2]
    smooth, across = smooth[:, 2:] - smooth[:, :-2], across[:, :-2] + 2 * across[:, 1:-1] + across[:, 2:]
    # The root of zero has no derivative.
    edges = jnp.sqrt(jnp.square(smooth) + jnp.square(across) + 1e-8) * jnp.pad(photo.inside, [(0, 1), (0, 1)])[1:, 1:]
    return edges / jnp.maximum(photo.mean(edges), 1e-6)


def _similarity(x: Array, y: Array, inside: Array) -> Array:
    """Mean structural similarity of edges, Wang et al. (IEEE TIP 2004), in squares side by side: blurs take long."""
    sums = blocks(jnp.stack([x, y, x * x, y * y, x * y], -1), _SQUARE) / _SQUARE**2
    mean_x, mean_y, xx, yy, xy = (sums[..., i] for i in range(5))
    var_x, var_y, covariance = xx - mean_x**2, yy - mean_y**2, xy - mean_x * mean_y
    alike = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    alike = alike * (2 * covariance + _C2) / (jnp.maximum(var_x, 0) + jnp.maximum(var_y, 0) + _C2)
    share = blocks(inside[..., None], _SQUARE)[..., 0]
    return (alike * share).sum() / share.sum()


def _flat_moments(photo: Photo) -> Array:
    """The second moments of the cells' inputs u where the photo is flat, `[h, w, TERMS, TERMS]`.

    ΔD M ΔDᵀ is then how much of a difference between neighbouring cells one would see.
    """
    luma = photo.pixels @ YCC[0]
    window = (_NEAR, _NEAR), (1, 1), "SAME"
    high = jax.lax.reduce_window(jnp.where(photo.inside > 0, luma, -jnp.inf), -jnp.inf, jax.lax.max, *window)
    low = jax.lax.reduce_window(jnp.where(photo.inside > 0, luma, jnp.inf), jnp.inf, jax.lax.min, *window)
    flat = _TEXTURE**2 / (_TEXTURE**2 + jnp.square(high - low)) * photo.inside
    u = photo.inputs
    products = [flat * u[i] * u[j] for i in range(TERMS) for j in range(TERMS)]
    found = blocks(jnp.stack(products, -1), CELL) / CELL**2
    return found.reshape(*found.shape[:2], TERMS, TERMS)


def _fine_moments(photo: Photo) -> Array:
    """The second moments of faint detail in each cell, `[h, w, 3, 3]`: of what a guided filter takes away.

    He, Sun and Tang, "Guided Image Filtering", TPAMI 2013, equations 5 and 6, with the photo as its own guide, and in
    squares side by side.
    """
    x = [photo.pixels[..., i] * photo.inside for i in range(3)]
    products = [x[i] * x[j] for i in range(3) for j in range(3)]
    sums = blocks(jnp.stack([photo.inside, *x, *products], -1), _SQUARE)
    count = jnp.maximum(sums[..., 0], 1)[..., None, None]
    mean, square = sums[..., 1:4, None] / count, sums[..., 4:].reshape(*sums.shape[:2], 3, 3) / count
    covariance = square - mean * jnp.swapaxes(mean, -1, -2)
    variance = jnp.maximum(jnp.trace(covariance, axis1=-2, axis2=-1) / 3, 0)[..., None, None]
    fine = covariance * (_DETAIL / (_DETAIL + variance)) ** 2 * count / _SQUARE**2
    found = blocks(fine.reshape(*sums.shape[:2], 9), CELL // _SQUARE) / (CELL // _SQUARE) ** 2
    return found.reshape(*found.shape[:2], 3, 3)


def _kept_detail(cells: Array, fine: Array, toning: Toning) -> Array:
    """The root mean square of faint detail after the change."""
    slopes = jnp.einsum("ij,hwjk,kl->hwil", toning.color, cells[..., :3] + jnp.eye(3)[None, None], toning.whiten)
    # Rounding may leave less than nothing, and the root of zero has no derivative.
    return jnp.sqrt(jnp.maximum(jnp.einsum("hwik,hwkl,hwil->", slopes, fine, slopes), 0) + 1e-10)


def _shown(cells: Array, flat: Array, color: Array) -> Array:
    """The sum of squares of the steps in colour between neighbouring cells where the photo is flat."""
    seen = jnp.einsum("ij,hwjk->hwik", color, cells)
    total = jnp.zeros(())
    for axis in (0, 1):
        step, both = jnp.diff(seen, axis=axis), _neighbours(flat, axis)
        total += jnp.einsum("hwik,hwkl,hwil->", step, (both[0] + both[1]) / 2, step)
    return total


def _rough(cells: Array, there: Array) -> Array:
    """The sum of squares of the differences between neighbouring cells of the photo."""
    total = jnp.zeros(())
    for axis in (0, 1):
        both = _neighbours(there, axis)
        total += jnp.square(both[0] * both[1] * jnp.diff(cells, axis=axis)).sum()
    return total


def _neighbours(x: Array, axis: int) -> tuple[Array, Array]:
    """All but the last, and all but the first, along an axis."""
    count = x.shape[axis]
    return jax.lax.slice_in_dim(x, 0, count - 1, axis=axis), jax.lax.slice_in_dim(x, 1, count, axis=axis)
