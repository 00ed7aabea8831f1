"""Calm: whether what a result adds to flat parts of a photo, such as skies, is drawn as the style is, or woven."""

import numpy as np

_WINDOW, _STEP = 32, 16
# Deviation of the grey values in a window of the photo from which on it is not flat, as in `weave`.
_FLAT = 0.03
# A grey level of 8 bits, spread over all frequencies: what lies below is not seen.
_FLOOR = (1 / 255) ** 2 / _WINDOW**2
# Fewer windows say nothing: the photo has no flat part.
_LEAST = 4


def _bands() -> np.ndarray:
    """The frequencies near each axis and each diagonal, bool `[4, WINDOW, WINDOW]`."""
    rows, columns = np.meshgrid(*[np.fft.fftfreq(_WINDOW)] * 2, indexing="ij")
    radius, angle = np.hypot(rows, columns), np.arctan2(rows, columns)
    # Below three periods a window a sky's own gradient shows, beyond one half there are only diagonals.
    seen = (radius >= 3 / _WINDOW) & (radius <= 0.5)
    off = [np.abs(np.angle(np.exp(2j * (angle - np.pi * turn)))) / 2 for turn in (0, 1 / 2, 1 / 4, -1 / 4)]
    return np.stack([seen & (each < np.pi / 16) for each in off])


_HANN = np.outer(*[np.hanning(_WINDOW + 1)[:-1]] * 2)
_BANDS = _bands()


def calm(result: np.ndarray, photo: np.ndarray, style: np.ndarray) -> float:
    """How free the flat parts of a photo are of weave, the grid of its own pixels that a network draws there.

    Half overlapping windows of 32 x 32 grey pixels count by how flat the photo is in them, exp(-variance / 0.03²).
    The power of the result's windows is read in four bands of frequencies, near the two axes and the two diagonals, and
    its logarithm averaged over the windows, in which strokes that turn from window to window come out even and a grid
    that is the same everywhere does not. The grid along the axes is the weaker axis less the mean of the diagonals,
    and the diagonal grid the reverse: strokes in one direction are no grid. What the whole style, or the photo in
    the same windows, has of it is taken off, and the calm is exp(-the larger of what is left, at least 0).

    Args:
        result: `[H, W, 3]` in 0..1.
        photo: Of the same shape.
        style: `[H', W', 3]` in 0..1.

    Returns:
        From near 0, a grid that is all there is, to 1, nothing woven; NaN if the photo has no flat part or a side is
        shorter than 32.
    """
    if min(*photo.shape[:2], *style.shape[:2]) < _WINDOW:
        return float("nan")
    before = _windows(photo)
    flat = np.exp(-before.var((-2, -1)) / _FLAT**2)
    if flat.sum() < _LEAST:
        return float("nan")
    own = _grids(_windows(result), flat)
    of_style = _windows(style)
    allowed = np.maximum(_grids(before, flat), _grids(of_style, np.ones(len(of_style))))
    return float(np.exp(-np.maximum(own - np.maximum(allowed, 0), 0).max()))


def _grids(windows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The grid along the axes and the one along the diagonals, in logarithms of power, `[2]`."""
    # Those without weight are not transformed, as most of a photo may be.
    windows, weights = windows[weights > 1e-3], weights[weights > 1e-3]
    windows = (windows - windows.mean((-2, -1), keepdims=True)) * _HANN
    power = np.abs(np.fft.fft2(windows)) ** 2 / (_HANN**2).sum() / _WINDOW**2
    bands = np.stack([np.log(power[:, band].mean(1) + _FLOOR) for band in _BANDS])
    across, down, rising, falling = bands @ weights / weights.sum()
    return np.array([min(across, down) - (rising + falling) / 2, min(rising, falling) - (across + down) / 2])


def _windows(image: np.ndarray) -> np.ndarray:
    """The grey windows of an image, `[n, WINDOW, WINDOW]`."""
    grey = np.asarray(image, np.float64).mean(-1)
    windows = np.lib.stride_tricks.sliding_window_view(grey, (_WINDOW, _WINDOW))[::_STEP, ::_STEP]
    return windows.reshape(-1, _WINDOW, _WINDOW)
