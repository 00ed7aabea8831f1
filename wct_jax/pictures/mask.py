"""Masks: grey pictures that say how much of each pixel belongs to something."""

from collections.abc import Sequence
from typing import BinaryIO

import numpy as np
from PIL import Image

from wct_jax.pictures.images import PathLike, Picture, read_picture


def read_mask(path: PathLike | BinaryIO, *, max_pixels: int | None = None, budget: int | None = None) -> np.ndarray:
    """Read a picture as a mask: white is all, black is nothing, and so is what is transparent.

    Args:
        path: Any picture that `read_picture` reads; of colours the luminance counts.
        max_pixels: As for `read_picture`.
        budget: As for `read_picture`.

    Returns:
        `[H, W]` in 0..1, float32.

    Raises:
        ValueError: As `read_picture`.
    """
    return mask_of(read_picture(path, max_pixels=max_pixels, budget=budget))


def mask_of(picture: Picture) -> np.ndarray:
    """The mask that a picture shows: its luminance, and nothing where it is transparent.

    Args:
        picture: Any.

    Returns:
        `[H, W]` in 0..1, float32.
    """
    grey: np.ndarray = picture.pixels @ np.asarray([0.299, 0.587, 0.114], np.float32)
    return (grey if picture.alpha is None else grey * picture.alpha).clip(0, 1)


def fit_mask(path: PathLike, mask: np.ndarray, sides: Sequence[int]) -> np.ndarray:
    """Resize a mask to the picture that it is for.

    Args:
        path: What to call it in messages.
        mask: `[H, W]`.
        sides: Height and width of the picture.

    Returns:
        `[*sides]`.

    Raises:
        ValueError: It has other proportions than the picture, by more than rounding to whole pixels can explain.
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
