"""Patches of a picture: those nearest to others, and the image that agrees with them best."""

from collections.abc import Sequence

import numpy as np

# The style's patches that are searched, and those from which the principal components are learned.
_MOST_PATCHES, _LEARNED_FROM = 2**16, 1500
# Share of the variance that the principal components keep, as in public programs of the method.
_ENERGY = 0.95
# Distances computed at a time.
_AT_ONCE = 2**24


def places(side: int, patch: int, gap: int) -> np.ndarray:
    """Where patches begin along a side, every `gap` pixels, and the last at the end so that they cover it."""
    return np.unique([*range(0, side - patch + 1, gap), side - patch])


def indices(sides: Sequence[int], patch: int, gap: int) -> np.ndarray:
    """The flat indices of the pixels of each patch of an image, `[patches, patch²]`."""
    rows, columns = (places(side, patch, gap) for side in sides)
    within = np.arange(patch)
    first = (rows[:, None] * sides[1] + columns).reshape(-1, 1)
    return first + (within[:, None] * sides[1] + within).reshape(1, -1)


class Patches:
    """All patches of one size of a picture, in the space of their principal components."""

    def __init__(self, picture: np.ndarray, patch: int, rng: np.random.Generator) -> None:
        """Find the components and project every patch, or of a large picture every second or third.

        Args:
            picture: `[H, W, 3]`, float32, both sides at least `patch`.
            patch: Side of the patches in pixels.
            rng: Draws the patches that the components are learned from.
        """
        sides = picture.shape[:2]
        count = np.prod([side - patch + 1 for side in sides])
        self._pixels = picture.reshape(-1, 3)
        self._of = indices(sides, patch, int(np.ceil(np.sqrt(count / _MOST_PATCHES))))
        drawn = rng.permutation(len(self._of))[:_LEARNED_FROM]
        sample = self._values(drawn)
        self._mean = sample.mean(0)
        self._basis = _components(sample - self._mean)
        block = max(1, _AT_ONCE // sample.shape[1])
        blocks = [slice(start, start + block) for start in range(0, len(self._of), block)]
        self._known = np.concatenate([self._projected(self._values(each)) for each in blocks])
        self._squares = np.square(self._known).sum(1)

    def _values(self, which: "slice | np.ndarray") -> np.ndarray:
        indices = self._of[which]
        return self._pixels[indices].reshape(len(indices), -1)

    def _projected(self, values: np.ndarray) -> np.ndarray:
        return (values - self._mean) @ self._basis

    def nearest(self, values: np.ndarray) -> np.ndarray:
        """The number of the patch nearest to each of these, exactly, among the components.

        Args:
            values: `[N, patch² * 3]`, float32.

        Returns:
            `[N]`, the first of equals.
        """
        wanted, found = self._projected(values), np.empty(len(values), np.intp)
        block = max(1, _AT_ONCE // len(self._known))
        for start in range(0, len(values), block):
            each = slice(start, start + block)
            found[each] = np.argmin(self._squares - 2 * wanted[each] @ self._known.T, 1)
        return found

    def matched(self, values: np.ndarray) -> np.ndarray:
        """The patch nearest to each of these, `[N, patch² * 3]`."""
        return self._values(self.nearest(values))


def _components(sample: np.ndarray) -> np.ndarray:
    """The principal components of centred rows that hold `_ENERGY` of their variance, in columns, one at least."""
    tall = len(sample) >= sample.shape[1]
    values, vectors = np.linalg.eigh(sample.T @ sample if tall else sample @ sample.T)
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    kept = 1 + int((np.cumsum(values) < _ENERGY * values.sum()).sum())
    basis = vectors[:, :kept] if tall else sample.T @ vectors[:, :kept]
    basis = basis / np.maximum(np.linalg.norm(basis, axis=0), 1e-12)
    return np.asarray(basis, np.float32)


def aggregate(image: np.ndarray, matched: np.ndarray, of: np.ndarray, power: float, rounds: int) -> np.ndarray:
    """The image x with the least Σ ‖R x - z‖^r over patches R x and their matches z, by reweighted least squares.

    Elad and Milanfar, after Kwatra et al., "Texture Optimization for Example-based Synthesis", SIGGRAPH
    2005, section 3.2: in each round the weight of a match is ‖R x - z‖^(r-2), and x is the weighted mean of all matches
    at each pixel.

    Args:
        image: The image to begin with, `[H, W, 3]`, float32.
        matched: The matches, `[N, patch² * 3]`.
        of: Flat indices of the pixels of each patch, `[N, patch²]`, which cover the image.
        power: r, more than 0 and at most 2.
        rounds: Rounds of reweighting.

    Returns:
        `[H, W, 3]`, float32.
    """
    pixels, flat, width = image.reshape(-1, 3), of.ravel(), of.shape[1]
    wanted = matched.reshape(len(of), width, 3)
    for _ in range(rounds):
        squares = np.square(pixels[of] - wanted).sum((1, 2)) + 1e-6
        weights = (squares / squares.min()) ** ((power - 2) / 2)
        total = np.bincount(flat, np.repeat(weights, width), len(pixels))
        sums = [
            np.bincount(flat, (weights[:, None] * wanted[..., channel]).ravel(), len(pixels)) for channel in range(3)
        ]
        pixels = (np.stack(sums, 1) / total[:, None]).astype(np.float32)
    return pixels.reshape(image.shape)
