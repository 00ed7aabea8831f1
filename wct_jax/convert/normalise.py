"""Scaling an encoder's channels to mean activation 1, as in the original release's VGG-19.

Since ReLU is positively homogeneous and pooling takes a maximum, this changes the features by the scales only (Gatys
et al., "Image Style Transfer Using Convolutional Neural Networks", CVPR 2016, section 2).
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from wct_jax.kernels.conv import conv3x3
from wct_jax.kernels.pooling import max_pool
from wct_jax.networks.model import Parameters
from wct_jax.networks.vgg import LAYERS, table_to
from wct_jax.pictures.images import read_image
from wct_jax.pictures.scan import scan

# Small enough for VGG-19 on a laptop; a single size is compiled once.
_SIDE = 256
_DEFAULT_PHOTOS = Path(__file__).parent / "photos"
# A channel below this share of its layer's mean activation is dead: scaled up it would be noise.
_DEAD = 1e-6


def read_photos(
    folder: str | os.PathLike[str] | None = None, tell: Callable[[str], None] | None = None
) -> list[np.ndarray]:
    """Read the centre squares of photos, resized to a short side of 256.

    Args:
        folder: A folder or pattern of photos; None for the small set in the package.
        tell: A function called with a sentence for each photo that cannot be read, and on what else is passed over.

    Returns:
        Arrays `[256, 256, 3]`, RGB in 0..1.

    Raises:
        ValueError: The folder does not exist, or no photo in it can be read.
    """
    folder = _DEFAULT_PHOTOS if folder is None else folder
    files, skipped = scan(folder)
    photos, unreadable = [], []
    for file in files:
        try:
            photos.append(_centre(read_image(file, _SIDE)))
        except ValueError as error:
            unreadable.append(str(error))
    if not photos:
        raise ValueError(f"no photo in {folder} can be read, {len(unreadable)} cannot: {unreadable[0]}")
    if tell:
        for sentence in unreadable + skipped:
            tell(sentence)
    return photos


def mean_activations(encoder: Parameters, widths: Sequence[int], photos: Iterable[np.ndarray]) -> dict[str, np.ndarray]:
    """Average each channel after its ReLU over all positions of all photos.

    Args:
        encoder: The encoder's parameters.
        widths: The widths of its blocks.
        photos: At least one array `[H, W, 3]`, RGB in 0..1, all of one size.

    Returns:
        Convolution name to mean activations, float64 `[C]`.
    """
    names = table_to(LAYERS[len(widths) - 1])

    @jax.jit
    def activations(parameters: Parameters, x: Array) -> dict[str, Array]:
        means = {}
        for name in names:
            if name == "pool":
                x = max_pool(x)
            else:
                x = conv3x3(x, parameters[name]["kernel"], parameters[name]["bias"], relu=True)
                means[name] = jnp.mean(x, (0, 1))
        return means

    of_each = [jax.device_get(activations(encoder, jnp.asarray(photo))) for photo in photos]
    return {name: np.stack([photo[name] for photo in of_each]).mean(0, np.float64) for name in encoder}


def normalise(encoder: Parameters, means: Mapping[str, np.ndarray]) -> Parameters:
    """Divide every channel by its mean activation, and multiply it back in the next convolution.

    Args:
        encoder: Parameters in the order the convolutions are applied.
        means: Convolution name to mean activations, `[C]`; dead channels keep scale 1.

    Returns:
        Parameters of the same names and shapes, float32.

    Raises:
        ValueError: A scaled value is beyond float32's range.
    """
    scaled, before = {}, np.ones(3)
    for name, parameters in encoder.items():
        mean = means[name]
        scale = np.where(mean > _DEAD * mean.mean(), mean, 1)
        with np.errstate(all="ignore"):
            kernel = (np.asarray(parameters["kernel"], np.float64) * before[:, None] / scale).astype(np.float32)
            bias = (np.asarray(parameters["bias"], np.float64) / scale).astype(np.float32)
        if not all(np.isfinite(array).all() for array in (mean, kernel, bias)):
            raise ValueError(f"scaled to mean activation 1, its {name} has values beyond float32's range")
        scaled[name] = {"kernel": jnp.asarray(kernel), "bias": jnp.asarray(bias)}
        before = scale
    return scaled


def _centre(photo: np.ndarray) -> np.ndarray:
    top, left = (side - _SIDE >> 1 for side in photo.shape[:2])
    return photo[top : top + _SIDE, left : left + _SIDE]
