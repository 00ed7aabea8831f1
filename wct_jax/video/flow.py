"""Steadiness along the motion of the source: the last painting, moved, shows where the flow can be trusted."""

import functools
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np

# Pixels of the longer side at which motion is estimated.
_SIDE = 512
# Share of the moved painting where everything agrees: more is steadier, but stales and blurs.
_MOST = 0.75
# Differences in 0..1 at which the trust falls to 1/e: of the source's colours; of the paintings, blurred.
_SOURCE, _PAINTED = 0.06, 0.25
# Blur of the paintings for that, in pixels at which motion is estimated.
_BLUR = 15

# Pixels over which detail is finer, and the most that it is amplified.
_DETAIL, _GAIN = 9, 1.5


class Motion:
    """Makes painted frames steady by blending each with the last result, moved as the source moved.

    The flow is OpenCV's DIS (Kroeger et al., ECCV 2016), forth and back, and agrees as in Ruder et al., "Artistic Style
    Transfer for Videos" (GCPR 2016).
    """

    def __init__(self) -> None:
        """Load OpenCV.

        Raises:
            ValueError: OpenCV is not installed.
        """
        opencv()
        self.reset()

    def reset(self) -> None:
        """Forget the frames before: the next one starts a shot."""
        self._source: np.ndarray | None = None
        self._steady: np.ndarray | None = None

    def steady(self, source: np.ndarray, painted: np.ndarray) -> np.ndarray:
        """The painted frame, steadied by the frame before; the first one after a reset as it is.

        Args:
            source: The frame, `[H, W, 3]` float32 in 0..1.
            painted: Its painting, of the same shape.
        """
        cv2 = opencv()
        height, width = source.shape[:2]
        scale = min(1.0, _SIDE / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = cv2.resize(source, size, interpolation=cv2.INTER_AREA)
        if self._source is not None and self._steady is not None and min(size) >= 16:
            flow, trust = _back(self._source, small)
            moved = _moved(self._steady, cv2.resize(flow, (width, height)) / np.float32(scale), cv2.INTER_CUBIC)
            low = [
                cv2.blur(cv2.resize(each, size, interpolation=cv2.INTER_AREA), (_BLUR, _BLUR))
                for each in (moved, painted)
            ]
            trust *= _MOST * _alike(*low, _PAINTED)
            share = cv2.resize(trust, (width, height))
            painted = _as_sharp(cv2.blendLinear(moved, painted, share, 1 - share), painted, size)
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
        raise ValueError('following motion needs OpenCV: pip install "wct_jax[flow]"') from None
    return cv2


def _back(before: np.ndarray, small: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel was in the frame before, `[H, W, 2]`, and how far to trust that, `[H, W]` in 0..1."""
    cv2 = opencv()
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    grey = [
        np.rint(cv2.cvtColor(each, cv2.COLOR_RGB2GRAY).clip(0, 1) * 255).astype(np.uint8) for each in (before, small)
    ]
    back, forth = dis.calc(grey[1], grey[0], None), dis.calc(grey[0], grey[1], None)
    returned = _moved(forth, back, cv2.INTER_LINEAR)
    # Ruder et al., equations 5 and 6: places that were hidden, and edges of motion, where the flow is less precise.
    squares = (back**2).sum(-1)
    hidden = ((back + returned) ** 2).sum(-1) > 0.01 * (squares + (returned**2).sum(-1)) + 0.5
    right, down = np.gradient(back, axis=(1, 0))
    edge = (right**2 + down**2).sum(-1) > 0.01 * squares + 0.002
    trust = np.where(hidden | edge, np.float32(0), _alike(_moved(before, back, cv2.INTER_LINEAR), small, _SOURCE))
    return back, trust


def _as_sharp(blend: np.ndarray, painted: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A blend with as much detail as a painting has there: the mean of two textures has less than either."""
    cv2 = opencv()
    energies = []
    for image in (blend, painted):
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        detail = cv2.subtract(grey, cv2.blur(grey, (_DETAIL, _DETAIL)))
        energies.append(cv2.blur(cv2.resize(detail * detail, size, interpolation=cv2.INTER_AREA), (_BLUR, _BLUR)))
    gain = np.sqrt((energies[1] + 1e-6) / (energies[0] + 1e-6)).clip(1, _GAIN)
    gain = cv2.resize(gain, blend.shape[1::-1])
    return cv2.blendLinear(blend, cv2.blur(blend, (_DETAIL, _DETAIL)), gain + 1e-5, 1 - gain - 1e-5)


def _moved(image: np.ndarray, flow: np.ndarray, interpolation: int) -> np.ndarray:
    """An image, each pixel from where the flow points to."""
    cv2 = opencv()
    height, width = flow.shape[:2]
    flow = flow + np.stack(np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)), -1)
    return cv2.remap(image, flow, None, interpolation, borderMode=cv2.BORDER_REPLICATE)


def _alike(one: np.ndarray, other: np.ndarray, tolerance: float) -> np.ndarray:
    """1 where colours are the same, and less the more they differ."""
    return np.exp(-((one - other) ** 2).mean(-1) / np.float32(tolerance**2))
