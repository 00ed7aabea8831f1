"""One image in several styles: which has how much of each pixel."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from wct_jax.painting.guides import Guides
from wct_jax.painting.style import Style

# Where the regions have less than this together there is no region.
_NONE = 1e-6
_ROWS = 64


def share_out(styles: Sequence[Style | None], masks: Sequence[Any]) -> tuple[tuple[Style, ...], Guides]:
    """Divide the pixels of an image between styles.

    Where masks add up to more than 1 they are scaled to 1. What no mask covers goes to the last style if there is one
    more than masks, and otherwise stays as it was, as do the pixels of masks without a style.

    Args:
        styles: One for each mask, None for those that have none; and perhaps one for what is left.
        masks: `[..., H, W]` in 0..1, soft, arrays of NumPy or JAX.

    Returns:
        The styles that are used, and guides with their shares, together at most 1, and the rest.

    Raises:
        ValueError: Another number of styles, or nothing but None.
    """
    if not masks or len(styles) - len(masks) not in (0, 1):
        raise ValueError(
            f"there must be a style for each mask, and perhaps one for what no mask covers: "
            f"got {len(styles)} for {len(masks)} masks"
        )
    total = sum(masks[1:], start=masks[0])
    scale = 1 / total.clip(1)
    shares = [mask * scale for mask in masks]
    left = (1 - total * scale).clip(0)
    if len(styles) > len(masks):
        shares.append(left)
    rests = [share for style, share in zip(styles, shares, strict=True) if style is None]
    if len(styles) == len(masks):
        rests.append(left)
    used = [(style, share) for style, share in zip(styles, shares, strict=True) if style is not None]
    if not used:
        raise ValueError("there must be a style for at least one of the masks, got none")
    rest = sum(rests[1:], start=rests[0]) if rests else None
    return tuple(style for style, _ in used), Guides(shares=tuple(share for _, share in used), rest=rest)


def relative(shares: Sequence[Any]) -> list[Any]:
    """Shares of what the regions have together: they add up to 1, or to 0 where no region is.

    A feature takes its region's style wholly, also where the region fades: the photo comes in later, in the image.

    Args:
        shares: `[..., H, W]` each.
    """
    total = sum(shares[1:], start=shares[0])
    scale = (total > _NONE).astype(total.dtype) / total.clip(_NONE)
    return [share * scale for share in shares]


def leave(image: np.ndarray, photo: np.ndarray, rest: np.ndarray | None, strength: np.ndarray | None = None) -> None:
    """Put back what is to stay, in place and some rows at a time, of an image that need not be in memory.

    Args:
        image: `[H, W, 3]`.
        photo: `[H, W, 3]`, what was there before.
        rest: `[H, W]`, how much of each pixel no style has; None for nothing.
        strength: `[H, W]`, how much of the rest of each pixel changes; None for all.
    """
    for start in range(0, len(image), _ROWS):
        rows = slice(start, start + _ROWS)
        if rest is not None:
            left = rest[rows, :, None]
            image[rows] = left * photo[rows] + (1 - left) * image[rows]
        if strength is not None:
            share = strength[rows, :, None]
            image[rows] = (1 - share) * photo[rows] + share * image[rows]
