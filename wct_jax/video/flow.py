"""Steadiness along the motion of the source: what was painted before moves with what it was painted on."""

import functools
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np

# Pixels of the longer side at which motion is estimated.
_SIDE = 512
# Share of the moved painting where everything agrees. The rest keeps it from growing stale.
_MOST = 0.95
# Root mean square differences in 0..1 at which the trust falls to 1/e: of the source's colours, and of the paintings',
# blurred over so many pixels.
_SOURCE, _PAINTED, _AREA = 0.1, 0.5, 21
# How far from its start a pixel may return: a share of the squares of both ways, and so many pixels² more. Ruder et al.
# have 0.01 and 0.5; the way forth is only a rough check here.
_RETURN, _SLACK = 0.15, 2.0
# Pixels over which detail is finer, and how far it may be damped and amplified.
_DETAIL, _GAIN = 7, (0.8, 2.0)
# Sides of the smallest frame whose motion DIS estimates.
_SMALLEST = 16


class Motion:
    """Makes painted frames steady by blending each with the last result, moved as the source moved.

    The flow is OpenCV's DIS (Kroeger et al., ECCV 2016), back and forth, checked as in Ruder et al., "Artistic Style
    Transfer for Videos" (GCPR 2016).
    """

    def __init__(self) -> None:
        """Load OpenCV.

        Raises:
            ValueError: OpenCV is not installed.
        """
        opencv()
        self._scratch = _Scratch()
        self.reset()

    def reset(self) -> None:
        """Forget the frames before: the next one starts a shot."""
        self._source: np.ndarray | None = None
        self._steady: np.ndarray | None = None

    def steady(self, source: np.ndarray, painted: np.ndarray) -> np.ndarray:
        """The painted frame, steadied by the frame before; the first one after a reset as it is.

        Args:
            source: The frame, `[H, W, 3]` float32 in 0..1.
            painted: Its painting, of the same shape. Kept until the next frame, so it must not be changed.

        Returns:
            An image of the same shape, in 0..1.
        """
        cv2, scratch = opencv(), self._scratch
        height, width = source.shape[:2]
        scale = min(1.0, _SIDE / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = cv2.resize(source, size, interpolation=cv2.INTER_AREA)
        if self._source is not None and self._steady is not None and min(size) >= _SMALLEST:
            flow, trust = _back(self._source, small)
            # Bilinear interpolation, frame after frame, would blur.
            way = cv2.resize(flow / np.float32(scale), (width, height), scratch("way", height, width, 2))
            places = cv2.add(way, _grid(height, width), way)
            moved = scratch("moved", height, width, 3)
            cv2.remap(self._steady, places, None, cv2.INTER_CUBIC, moved, cv2.BORDER_REPLICATE)
            was, now = (cv2.blur(cv2.resize(each, size), (_AREA, _AREA)) for each in (moved, painted))
            share = _MOST * _decided(trust * _alike(was, now, _PAINTED))
            shares = [
                cv2.resize(each, (width, height), scratch(name, height, width))
                for name, each in (("before", share), ("now", 1 - share))
            ]
            # What is kept is not sharpened: the same peaks would grow from frame to frame.
            blend = cv2.blendLinear(moved, painted, *shares, scratch("blend", height, width, 3))
            self._source, self._steady = small, blend
            return _as_sharp(blend, painted, size, scratch)
        self._source, self._steady = small, painted
        return painted

    def state(self) -> dict[str, Any]:
        """What `from_state` needs: the last source, small, and the last result; empty after a reset."""
        if self._source is None:
            return {}
        return {"source": self._source, "steady": self._steady}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "Motion":
        """What continues exactly where another had this state."""
        motion = cls()
        motion._source, motion._steady = state.get("source"), state.get("steady")
        return motion


@functools.cache
def opencv() -> ModuleType:
    """OpenCV.

    Raises:
        ValueError: It is not installed.
    """
    try:
        import cv2
    except ImportError:
        raise ValueError('following motion needs OpenCV: pip install "wct_jax[video]"') from None
    return cv2


def _back(before: np.ndarray, small: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel was in the frame before, `[H, W, 2]`, and how far to trust that, `[H, W]` in 0..1."""
    cv2 = opencv()
    grey = [cv2.convertScaleAbs(cv2.cvtColor(each, cv2.COLOR_RGB2GRAY), alpha=255) for each in (before, small)]
    rough = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    # Only the way back moves pixels; it pays to have it finer, although a finer scale costs three times as much.
    fine = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    fine.setFinestScale(1)
    fine.setGradientDescentIterations(8)
    fine.setVariationalRefinementIterations(1)
    back, forth = fine.calc(grey[1], grey[0], None), rough.calc(grey[0], grey[1], None)
    returned = _moved(forth, back)
    # Ruder et al., equation 5: what was hidden in the frame before. Their test for edges of motion is left out, because
    # with this flow it distrusts many places that are right.
    lengths = cv2.add(_sum_of_squares(back), _sum_of_squares(returned))
    hidden = _sum_of_squares(cv2.add(back, returned)) > _RETURN * lengths + _SLACK
    trust = _alike(_moved(before, back), small, _SOURCE)
    trust[hidden | _outside(back)] = 0
    return back, trust


def _decided(trust: np.ndarray) -> np.ndarray:
    """A trust in 0..1 nearer to one of its ends: half of each painting would be a blur."""
    yes, no = trust * trust, (1 - trust) * (1 - trust)
    return yes / (yes + no)


def _outside(flow: np.ndarray) -> np.ndarray:
    """Where a flow points out of the frame, `[H, W]`: what comes in there was not seen before."""
    height, width = flow.shape[:2]
    x, y = np.moveaxis(flow + _grid(height, width), -1, 0)
    return (x < 0) | (x > width - 1) | (y < 0) | (y > height - 1)


def _as_sharp(blend: np.ndarray, painted: np.ndarray, size: tuple[int, int], scratch: "_Scratch") -> np.ndarray:
    """A blend with the painting's detail in brightness there: the mean of two textures has less than either."""
    cv2, sides = opencv(), blend.shape[:2]
    powers = []
    # The blend last, since its detail is used.
    for image in (painted, blend):
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY, scratch("grey", *sides))
        detail = cv2.blur(grey, (_DETAIL, _DETAIL), scratch("detail", *sides))
        cv2.subtract(grey, detail, detail)
        powers.append(cv2.blur(cv2.resize(cv2.multiply(detail, detail, grey), size), (_AREA, _AREA)))
    wanted, had = (power + np.float32(1e-6) for power in powers)
    gain = cv2.sqrt(cv2.divide(wanted, had)).clip(*_GAIN) - np.float32(1)
    more = cv2.multiply(detail, cv2.resize(gain, sides[::-1], grey), detail)
    sharp = cv2.add(blend, cv2.cvtColor(more, cv2.COLOR_GRAY2RGB, scratch("more", *sides, 3)))
    return np.clip(sharp, 0, 1, out=sharp)


def _moved(image: np.ndarray, flow: np.ndarray, interpolation: int = 1) -> np.ndarray:
    """An image, each pixel from where the flow points to; interpolated linearly unless told otherwise."""
    cv2 = opencv()
    return cv2.remap(image, cv2.add(flow, _grid(*flow.shape[:2])), None, interpolation, borderMode=cv2.BORDER_REPLICATE)


class _Scratch:
    """Arrays that serve again and again: to get a new one from the system takes longer than most steps take."""

    def __init__(self) -> None:
        self._kept: dict[str, np.ndarray] = {}

    def __call__(self, name: str, *shape: int) -> np.ndarray:
        """The float32 array of a name and a shape, with anything in it."""
        kept = self._kept.get(name)
        if kept is None or kept.shape != shape:
            kept = self._kept[name] = np.empty(shape, np.float32)
        return kept


@functools.lru_cache(4)
def _grid(height: int, width: int) -> np.ndarray:
    return np.stack(np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)), -1)


def _alike(one: np.ndarray, other: np.ndarray, tolerance: float) -> np.ndarray:
    """1 where colours are the same, and less the more they differ."""
    cv2 = opencv()
    return cv2.exp(_sum_of_squares(cv2.subtract(one, other)) * np.float32(-1 / (3 * tolerance**2)))


def _sum_of_squares(image: np.ndarray) -> np.ndarray:
    cv2 = opencv()
    return cv2.transform(cv2.multiply(image, image), np.ones((1, image.shape[-1]), np.float32))
