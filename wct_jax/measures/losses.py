"""Losses of training and distillation."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax import Array

from wct_jax.kernels.moments import moments_of
from wct_jax.transform.statistics import frobenius, moments


def mean_squared_error(x: Array, y: Array) -> Array:
    """The mean of (x - y)² over all elements.

    Args:
        x: Array of any shape and floating dtype.
        y: Array of the same shape.

    Returns:
        A float32 scalar, computed in float32.
    """
    return jnp.mean(jnp.square(x.astype(jnp.float32) - y.astype(jnp.float32)))


def relative_error(x: Array, y: Array) -> Array:
    """The mean of (x - y)² over the variance of y about its channels' means.

    Args:
        x: Feature, `[..., C]`.
        y: Target of the same shape.

    Returns:
        A float32 scalar, 1 if each channel of x is the mean of y's; not finite if y is flat.
    """
    y = y.astype(jnp.float32)
    return mean_squared_error(x, y) / jnp.var(y, axis=range(y.ndim - 1)).mean()


def perceptual_error(x: Mapping[str, Array], y: Mapping[str, Array]) -> Array:
    """The mean over layers of `relative_error`: Johnson et al., ECCV 2016, equation 2, each layer by its variance.

    Args:
        x: Layer to feature, `[..., C]`.
        y: Layer to target of the same shape.

    Returns:
        A float32 scalar.
    """
    return jnp.stack([relative_error(x[layer], y[layer]) for layer in y]).mean()


def covariance_error(x: Array, y: Array) -> Array:
    """The relative error of covariances in Frobenius norms: mean ‖cov x - cov y‖ / mean ‖cov y‖.

    The means are over the images, so that a flat image among them does no harm.

    Args:
        x: Features, `[..., H, W, C]`.
        y: Targets with the same channels and leading dimensions.

    Returns:
        A float32 scalar; not finite if all of y is flat.
    """
    got, wanted = moments(x).covariance, moments(y).covariance
    return frobenius(got - wanted).mean() / frobenius(wanted).mean()


def covariance_distance(x: Array, y: Array) -> Array:
    """How far the statistics of images are from those of others.

    `‖cov x - cov y‖ / ‖cov y‖ + 0.3 |mean x - mean y|² / tr cov y`, image by image.

    Args:
        x: Features, `[..., H, W, C]`.
        y: Targets with the same channels and leading dimensions.

    Returns:
        `[...]`, float32; finite for flat targets, too.
    """
    got, wanted = moments_of(x), moments_of(y)
    size = frobenius(wanted.covariance) + _FLAT
    means = jnp.square(got.mean - wanted.mean).sum(-1) / (jnp.trace(wanted.covariance, axis1=-2, axis2=-1) + _FLAT)
    return frobenius(got.covariance - wanted.covariance) / size + 0.3 * means


# Of features of mean activation 1: far less than that of any picture.
_FLAT = 1e-2


def instance_normalised(x: Array) -> Array:
    """A feature `[..., H, W, C]` with mean 0 and variance 1 in each channel of each image; a flat channel is 0."""
    mean, variance = x.mean((-3, -2), keepdims=True), x.var((-3, -2), keepdims=True)
    return (x - mean) * jax.lax.rsqrt(variance + 1e-3)


def total_variation(images: Array) -> Array:
    """The mean squared difference of neighbouring pixels, horizontally plus vertically.

    The squared form of Mahendran and Vedaldi, CVPR 2015, equation 4 with beta = 2, as a mean.

    Args:
        images: `[..., H, W, C]`.

    Returns:
        A float32 scalar; a side of one pixel adds nothing.
    """
    x = images.astype(jnp.float32)
    rows = jnp.square(x[..., 1:, :, :] - x[..., :-1, :, :])
    columns = jnp.square(x[..., :, 1:, :] - x[..., :, :-1, :])
    return jnp.asarray(sum(d.mean() for d in (rows, columns) if d.size), jnp.float32)
