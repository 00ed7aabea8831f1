"""Hard cuts between the shots of a film, found while its frames pass."""

import numpy as np

# Cells along the longer side of a frame's small copy, and samples along a cell's side.
_CELLS, _SAMPLES = 32, 4
# Ranks of brightness, and levels of a channel in a histogram.
_RANKS, _LEVELS = 16, 6
# Changes are in 0..1. A cut's is more than this one and this often the usual one, but need not be more than the last.
_CHANGE, _TIMES, _MOST = 0.43, 1.6, 0.65
# Share of the last change in the usual one.
_RECENT = 0.2
# Standard deviations: of a frame that shows something, unlike black or a white flash; of noise; of the difference at a
# cut, which the first frames of a fade from black do not have.
_FLAT, _NOISE, _DIFFERENCE = 0.015, 0.015, 0.03
# Frames of the shortest shot: a cut through a mixed frame is one cut.
_SHORTEST = 4


class Cuts:
    """Finds the first frame of each shot, from the frames before it alone.

    A frame starts a shot if neither its structure, moved and in any brightness, nor its colours are those of the last
    two frames: pans, noise, fades and flashes start none.

    >>> cuts = Cuts()
    >>> still, other = np.random.default_rng(0).random((2, 36, 64, 3), np.float32)
    >>> [cuts.is_cut(frame) for frame in (still, still, still, still, still, other, other)]
    [True, False, False, False, False, True, False]
    """

    def __init__(self) -> None:
        # Small copies of the last two frames that showed something.
        self._last: list[np.ndarray] = []
        self._usual = 0.0
        self._length = 0

    def is_cut(self, pixels: np.ndarray) -> bool:
        """Say whether the next frame starts a shot; the first one does.

        Args:
            pixels: The frame, `[H, W, 3]` in 0..1, of the same size as those before.
        """
        small = _small(pixels)
        first, self._length = not self._length, self._length + 1
        if not first and float(small.std((0, 1)).max()) < _FLAT:
            return False
        enough, change = min(max(_CHANGE, _TIMES * self._usual), _MOST), 1.0
        # The frame before the last too: after a flash, the shot goes on.
        for frame in reversed(self._last):
            if change > enough:
                change = min(change, _change(frame, small))
        cut = first or (change > enough and self._length > _SHORTEST)
        if cut:
            self._length = 1
        else:
            self._usual += _RECENT * (change - self._usual)
        self._last = [*self._last[-1:], small]
        return cut


def _small(pixels: np.ndarray) -> np.ndarray:
    """A small copy, each cell the mean of a few samples."""
    height, width = pixels.shape[:2]
    step = max(1, max(height, width) // (_CELLS * _SAMPLES))
    sampled = pixels[min(height - 1, step // 2) :: step, min(width - 1, step // 2) :: step]
    rows, columns = (max(1, side // _SAMPLES) for side in sampled.shape[:2])
    high, wide = (min(_SAMPLES, side) for side in sampled.shape[:2])
    cells = sampled[: rows * high, : columns * wide].reshape(rows, high, columns, wide, 3)
    return cells.mean((1, 3), dtype=np.float32)


def _change(before: np.ndarray, small: np.ndarray) -> float:
    """How much of a small copy is not in another, in 0..1: of its structure, wherever it moved, and of its colours."""
    if float((small - before).std((0, 1)).max()) < _DIFFERENCE:
        return 0.0
    rows, columns = small.shape[:2]
    spectra = np.fft.rfft2(np.stack([each.mean(-1) - each.mean() for each in (small, before)]))
    fit = np.fft.irfft2(spectra[0] * spectra[1].conj(), (rows, columns))
    down, right = (int(shift) for shift in np.unravel_index(fit.argmax(), fit.shape))
    # The transform is periodic: a shift of more than half a side is one the other way.
    moves = {(0, 0), (down - rows * (down > rows // 2), right - columns * (right > columns // 2))}
    structure = min(_unexplained(*_overlap(before, small, *move)) for move in moves)
    return float(np.cbrt(structure**2 * _recoloured(before, small)))


def _overlap(before: np.ndarray, small: np.ndarray, down: int, right: int) -> tuple[np.ndarray, np.ndarray]:
    """The cells that two small copies share if everything moved by some cells, `[cells, 3]` of each."""
    rows, columns = small.shape[:2]
    there = small[max(0, down) : rows + min(0, down), max(0, right) : columns + min(0, right)]
    here = before[max(0, -down) : rows + min(0, -down), max(0, -right) : columns + min(0, -right)]
    return here.reshape(-1, 3), there.reshape(-1, 3)


def _unexplained(before: np.ndarray, small: np.ndarray) -> float:
    """The share of the standard deviation that no function of the cell's earlier brightness explains, clipped or not.

    The correlation ratio, over ranks of brightness in each channel.
    """
    size = max(1, len(small) // _RANKS)
    ranks = min(_RANKS, len(small))
    order = np.argsort(before, 0, kind="stable")[: ranks * size]
    groups = np.take_along_axis(small, order, 0).reshape(ranks, size, 3)
    within = float(groups.var(1, dtype=np.float64).mean()) * size / max(1, size - 1)
    return min(1.0, (within / (float(small.var(0, dtype=np.float64).mean()) + _NOISE**2)) ** 0.5)


def _recoloured(before: np.ndarray, small: np.ndarray) -> float:
    """The share of cells whose colour is not in another small copy, between the darkest and lightest of both."""
    cells = np.stack([before.reshape(-1, 3), small.reshape(-1, 3)])
    low, high = cells.min((0, 1)), cells.max((0, 1))
    levels = np.minimum((cells - low) / np.maximum(high - low, 0.1) * _LEVELS, _LEVELS - 1).astype(np.int64)
    bins = levels @ (_LEVELS ** np.arange(3))
    counts = [np.bincount(each, minlength=_LEVELS**3) for each in bins]
    return float(np.abs(counts[0] - counts[1]).sum()) / (2 * bins.shape[1])
