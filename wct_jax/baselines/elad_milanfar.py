"""Elad and Milanfar, "Style Transfer via Texture Synthesis", IEEE TIP 2017 (arXiv:1609.03057): patches of the style.

From coarse to fine scales, and at each from large to small patches, the image takes on patches of the style's picture,
mixes with the photo where that matters, and takes on the picture's colours. No network is used. The picture's patches
are not rotated, and the photo's segmentation is by edges unless a mask is given.
"""

from collections.abc import Callable

import numpy as np
from jax.typing import ArrayLike

from wct_jax.baselines.patches import Patches, aggregate, indices
from wct_jax.baselines.smoothing import enlarged, halved, mask_of_edges, smooth, with_colors_of
from wct_jax.checks.arguments import as_integer, as_number
from wct_jax.checks.arrays import as_image, as_weights, on_host

# Side of the patches, and the gap from one to the next: the paper's.
SIZES = ((33, 28), (21, 18), (13, 8), (9, 5))
SCALES = 3
# Rounds at each size, rounds of reweighting in each, and r of the robust distance.
_ROUNDS, _REWEIGHTINGS, _POWER = 3, 10, 0.8
# The share of the photo away from its edges, where without any the picture alone would be left.
_ELSEWHERE = 0.2
# The memory that a pixel of the photo takes, about.
BYTES_PER_PIXEL = 600
# Deviation of the noise that the coarsest scale begins with.
_NOISE = 50 / 255


def paint_elad_milanfar(
    content: ArrayLike,
    style: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    fidelity: float = 1.0,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Repaint a photo with patches of a picture, see `wct_jax.baselines.elad_milanfar`.

    >>> photo = np.linspace(0, 1, 32 * 48 * 3, dtype=np.float32).reshape(32, 48, 3)
    >>> paint_elad_milanfar(photo, photo[::-1] ** 2).shape
    (32, 48, 3)

    Args:
        content: Photo `[H, W, 3]`, RGB in 0..1, floating point.
        style: Picture `[H', W', 3]`, alike.
        mask: Where the photo is kept, 0..1 or bool, broadcasting to `[H, W]`; None to find it by the photo's edges.
        fidelity: Weight of the photo against the patches where the mask is 1.
        seed: Seed of the noise and of the patches that components are learned from, 0 to 2**32 - 1.
        progress: Called with the rounds done and the rounds in all; may raise to stop.

    Returns:
        `[H, W, 3]`, float32 in 0..1, the same for the same arguments.

    Raises:
        ValueError: An argument has a wrong shape, dtype or range.
    """
    photo, picture = (
        np.asarray(on_host(name, as_image(name, value, single=True)), np.float32).clip(0, 1)
        for name, value in (("content", content), ("style", style))
    )
    fidelity = float(as_number("fidelity", fidelity, 0))
    rng = np.random.default_rng(as_integer("seed", seed, 0, 2**32 - 1))
    if mask is None:
        kept = _ELSEWHERE + (1 - _ELSEWHERE) * mask_of_edges(photo)
    else:
        kept = as_weights("mask", mask, photo.shape[:2], np.float32)
    weights = fidelity * np.broadcast_to(np.asarray(kept, np.float32), photo.shape[:2])
    scales = [(with_colors_of(photo, picture), picture, weights[..., None])]
    least = 2 * SIZES[0][0]
    while len(scales) < SCALES and min(*scales[-1][0].shape[:2], *scales[-1][1].shape[:2]) >= least:
        photo, picture, weights = map(halved, scales[-1])
        scales.append((photo, picture, weights))
    image = scales[-1][0] + rng.normal(0, _NOISE, scales[-1][0].shape).astype(np.float32)
    done, total = 0, len(scales) * len(SIZES) * _ROUNDS
    for photo, picture, weights in reversed(scales):
        image = enlarged(image, *photo.shape[:2]) if image.shape != photo.shape else image
        for size, gap in SIZES:
            size = min(size, *photo.shape[:2], *picture.shape[:2])
            patches, of = Patches(picture, size, rng), indices(photo.shape[:2], size, min(gap, size))
            for _ in range(_ROUNDS):
                if progress:
                    progress(done, total)
                image = _round(image, patches, of, photo, weights, picture)
                done += 1
    return image


def synthesized(image: np.ndarray, patches: Patches, of: np.ndarray) -> np.ndarray:
    """An image of the picture's patches that are nearest to its own: steps 1 and 2 of the algorithm."""
    matched = patches.matched(image.reshape(-1, 3)[of].reshape(len(of), -1))
    return aggregate(image, matched, of, _POWER, _REWEIGHTINGS)


def _round(
    image: np.ndarray, patches: Patches, of: np.ndarray, photo: np.ndarray, weights: np.ndarray, picture: np.ndarray
) -> np.ndarray:
    image = synthesized(image, patches, of)
    image = (image + weights * photo) / (1 + weights)
    return smooth(with_colors_of(image, picture))
