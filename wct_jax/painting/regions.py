"""One image in several styles: the share that each style has of each pixel."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from wct_jax.checks.arguments import check_kind
from wct_jax.checks.arrays import as_masks, as_weights
from wct_jax.painting.guides import Guides
from wct_jax.painting.strength import as_strength
from wct_jax.painting.style import Style

# Where the regions together have less than this there is no region.
_NONE = 1e-6
_ROWS = 64


def guide(
    style: Style | Sequence[Style | None], mask: Sequence[ArrayLike], given: Guides, shape: Sequence[int], dtype: Any
) -> tuple[tuple[Style, ...], Guides]:
    """Check the styles and maps that `stylize` was given, and divide the image between the styles.

    Args:
        style: A style, or a sequence with a style or None for each mask and optionally one for the rest.
        mask: Masks, each broadcasting to `[..., H, W]`.
        given: Weights, alpha map, structure map and strength as the caller gave them.
        shape: Shape of the image, `[..., H, W, 3]`.
        dtype: Dtype of the image.

    Returns:
        The styles that are used, and the guides of the image.

    Raises:
        ValueError: A map has another shape, dtype or range, a style is none, or several styles have no masks.
    """
    pixels, counted = shape[:-1], np.promote_types(dtype, np.float32)
    named = (
        ("content_weights", given.weights),
        ("alpha_map", given.alpha_map),
        ("structure_map", given.structure),
    )
    weights, alpha_map, structure = (
        None if value is None else as_weights(name, value, pixels, counted) for name, value in named
    )
    maps: dict[str, Any] = {"weights": weights, "alpha_map": alpha_map, "structure": structure}
    maps["strength"] = None if given.strength is None else as_strength(given.strength, pixels, dtype)
    masks = [as_weights("mask", one, pixels, counted) for one in as_masks("mask", mask)]
    styles: list[Any] = list(style) if isinstance(style, (list, tuple)) and style else [style]
    for one in styles:
        if one is not None or not masks:
            check_kind("style", one, Style, "extract_style or load_style")
    if masks:
        used, guides = share_out(styles, masks)
        return used, dataclasses.replace(guides, **maps)
    if len(styles) > 1:
        raise ValueError("several styles need masks that say where each is: mix_styles makes one of them")
    return (styles[0],), Guides(**maps)


def share_out(styles: Sequence[Style | None], masks: Sequence[Any]) -> tuple[tuple[Style, ...], Guides]:
    """Divide the pixels of an image between styles.

    Where masks add up to more than 1 they are scaled to 1. If there is one more style than masks, it takes the pixels
    that no mask covers; otherwise these stay as they were, as do the pixels of masks without a style.

    Args:
        styles: A style or None for each mask, and optionally one for the remaining pixels.
        masks: Soft masks `[..., H, W]` in 0..1, arrays of NumPy or JAX.

    Returns:
        The styles that are used, and guides with their shares, together at most 1, and the rest.

    Raises:
        ValueError: The number of styles does not fit, or all are None.
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
    """Scale shares `[..., H, W]` so that they add up to 1, or to 0 where no region is.

    A feature takes its region's style wholly, also where the region fades: the photo is blended in later, in the image.
    """
    total = sum(shares[1:], start=shares[0])
    scale = (total > _NONE).astype(total.dtype) / total.clip(_NONE)
    return [share * scale for share in shares]


def leave(image: np.ndarray, photo: np.ndarray, rest: np.ndarray | None, strength: np.ndarray | None = None) -> None:
    """Put the photo back where it is to stay, in place, some rows at a time: the image may be mapped from a file.

    Args:
        image: The painted image, `[H, W, 3]`.
        photo: The image before, `[H, W, 3]`.
        rest: Share of each pixel that no style has, `[H, W]`; None for nothing.
        strength: Share of the change that is made, `[H, W]`; None for all.
    """
    for start in range(0, len(image), _ROWS):
        rows = slice(start, start + _ROWS)
        if rest is not None:
            left = rest[rows, :, None]
            image[rows] = left * photo[rows] + (1 - left) * image[rows]
        if strength is not None:
            share = strength[rows, :, None]
            image[rows] = (1 - share) * photo[rows] + share * image[rows]
