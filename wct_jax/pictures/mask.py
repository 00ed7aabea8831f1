"""Masks: grey pictures that give each pixel a weight."""

from collections.abc import Sequence
from typing import BinaryIO

import numpy as np
from PIL import Image

from wct_jax.pictures.images import PathLike, Picture, read_picture


def read_mask(path: PathLike | BinaryIO, *, max_pixels: int | None = None, budget: int | None = None) -> np.ndarray:
    """Read a picture as a mask: white is 1; black and transparent pixels are 0.

    Args:
        path: A picture file of any format that `read_image` reads, or an open binary file; colours count by luminance.
        max_pixels: The largest number of pixels allowed, or None for 178,956,970.
        budget: The largest number of bytes that reading may take, or None for no limit.

    Returns:
        Weights, float32 `[H, W]` in 0..1.

    Raises:
        ValueError: The file cannot be read, is not a picture, is damaged, or exceeds a limit.

    Example:
        >>> import io
        >>> file = io.BytesIO()
        >>> write_image(file, np.ones((2, 3, 3), np.float32))
        >>> read_mask(file).round(3).tolist()
        [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    """
    return mask_of(read_picture(path, max_pixels=max_pixels, budget=budget))


def mask_of(picture: Picture) -> np.ndarray:
    """Return a picture's luminance times its alpha, float32 `[H, W]` in 0..1."""
    grey: np.ndarray = picture.pixels @ np.asarray([0.299, 0.587, 0.114], np.float32)
    return (grey if picture.alpha is None else grey * picture.alpha).clip(0, 1)


def fit_mask(path: PathLike, mask: np.ndarray, sides: Sequence[int]) -> np.ndarray:
    """Resize a mask to the picture that it belongs to.

    Args:
        path: The mask's name in messages.
        mask: Weights, `[H, W]` in 0..1.
        sides: The picture's height and width.

    Returns:
        Weights of shape `sides` in 0..1.

    Raises:
        ValueError: The proportions differ by more than rounding to whole pixels explains.
    """
    (height, width), (rows, columns) = sides, mask.shape
    if (height, width) == mask.shape:
        return mask
    if 2 * abs(width * rows - columns * height) > max(height + width, rows + columns):
        raise ValueError(
            f"{path} must have the proportions of its picture, {width} x {height} pixels, got {columns} x {rows}"
        )
    resized = Image.fromarray(mask.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized).clip(0, 1)
