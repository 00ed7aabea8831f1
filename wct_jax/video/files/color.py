"""The colours of decoded frames as sRGB: matrix and range, BT.2020 and P3, HDR tone-mapped."""

import functools
from typing import Any

import numpy as np

from wct_jax.video.files.pyav import av

# swscale's numbers by those of the matrix in ITU-T H.273, table 4, and red's and blue's share of brightness.
_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
_SHARES = {1: (0.2126, 0.0722), 4: (0.3, 0.11), 5: (0.299, 0.114), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}
# BT.2020 (9) and Display P3 (12) to BT.709, in linear light (ITU-R BT.2087; SMPTE EG 432-1).
_TO_709 = {
    9: np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32),
    12: np.array([[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0197, -0.0786, 1.0979]], np.float32),
}
_PQ, _HLG = 16, 18
# In cd/m^2: the brightest highlight that is kept, and paper's white, which SDR shows as 1 (ITU-R BT.2408).
_PEAK, _PAPER = 1000.0, 203.0
_FLAGS = (
    av.video.reformatter.Interpolation.BICUBIC
    | av.video.reformatter.Interpolation.FULL_CHR_H_INT
    | av.video.reformatter.Interpolation.ACCURATE_RND
)
_LIMITED, _FULL = 1, 2


class Color:
    """How to convert the frames of a stream to sRGB, by what the first of them says.

    Attributes:
        has_alpha: Whether the frames have an alpha.
        note: A sentence on the conversion, or "".
    """

    def __init__(self, first: Any, interpolation: Any = _FLAGS) -> None:
        """Look at a frame.

        Args:
            first: The first frame.
            interpolation: How swscale scales.
        """
        self._interpolation = interpolation
        components = first.format.components
        self.has_alpha = any(component.is_alpha for component in components)
        self._deep = max(component.bits for component in components) > 8
        self._rgb = first.format.is_rgb or first.format.has_palette
        self._matrix = _MATRICES.get(first.colorspace) or _guess(first)
        full = first.color_range == _FULL or first.format.name.startswith("yuvj")
        self._range = _FULL if full else _LIMITED
        self._primaries, self._transfer = first.color_primaries, first.color_trc
        self.note = ""
        if self._transfer in (_PQ, _HLG):
            kind = "PQ" if self._transfer == _PQ else "HLG"
            self.note = f"The film is HDR ({kind}); its colours were tone-mapped to SDR."
        self._scaler = av.video.reformatter.VideoReformatter()

    def convert(self, frame: Any, width: int, height: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Convert a frame, scaling it to a size if it has another.

        Returns:
            Colours, float32 `[height, width, 3]` in 0..1, and alpha, float32 `[height, width]`, or None.
        """
        if self._deep and not self._rgb:
            values = self._values(
                frame, width, height, "yuva444p16le" if self.has_alpha else "yuv444p16le", self._range
            )
            pixels = self._from_yuv(values)
        else:
            format = {
                (False, False): "rgb24",
                (False, True): "rgba",
                (True, False): "rgb48le",
                (True, True): "rgba64le",
            }[self._deep, self.has_alpha]
            values = self._values(frame, width, height, format, _FULL)
            pixels = values[..., :3]
        alpha = np.ascontiguousarray(values[..., 3]) if self.has_alpha else None
        return self._to_srgb(pixels), alpha

    def _values(self, frame: Any, width: int, height: int, format: str, full: int) -> np.ndarray:
        array: Any = self._scaler.reformat(
            frame,
            width,
            height,
            format=format,
            src_colorspace=self._matrix,
            dst_colorspace=self._matrix,
            src_color_range=_FULL if self._rgb else self._range,
            dst_color_range=full,
            interpolation=self._interpolation,
        ).to_ndarray(**({"channel_last": True} if format.startswith("yuv") else {}))
        scaled: np.ndarray = np.divide(array, np.float32(np.iinfo(array.dtype).max), dtype=np.float32)
        return scaled

    def _from_yuv(self, values: np.ndarray) -> np.ndarray:
        """Apply the inverse matrix in float; swscale's, for more than 8 bits, is off by up to an 8-bit level."""
        red, blue = _SHARES[self._matrix]
        # Values of n bits are those of 16 shifted, so that 2^16, not 2^16 - 1, is the unit of limited range.
        limited = self._range == _LIMITED
        unit = np.float32(65535 / 256 / 219 if limited else 1)
        chroma = np.float32(65535 / 256 / 224 if limited else 1)
        y = values[..., 0] * unit - np.float32(16 / 219 if limited else 0)
        u, v = ((values[..., i] - np.float32(32768 / 65535)) * chroma for i in (1, 2))
        r, b = y + np.float32(2 - 2 * red) * v, y + np.float32(2 - 2 * blue) * u
        g = (y - np.float32(red) * r - np.float32(blue) * b) / np.float32(1 - red - blue)
        return np.stack([r, g, b], axis=-1).clip(0, 1)

    def _to_srgb(self, pixels: np.ndarray) -> np.ndarray:
        if self._transfer in (_PQ, _HLG):
            curve = _pq_light() if self._transfer == _PQ else _hlg_light()
            light = curve[np.rint(pixels * 65535).astype(np.uint16)]
            if self._transfer == _HLG:
                # The display's gamma, on brightness (ITU-R BT.2100, table 5).
                light *= (light @ np.array([0.2627, 0.678, 0.0593], np.float32))[..., None] ** np.float32(0.2)
                light *= np.float32(_PEAK)
            light = _tone_mapped(light)
        elif self._primaries in _TO_709:
            light = np.where(pixels <= 0.04045, pixels / 12.92, ((pixels + np.float32(0.055)) / 1.055) ** 2.4)
        else:
            # Players show the values of BT.709 and BT.601 as sRGB's.
            return np.ascontiguousarray(pixels)
        if self._primaries in _TO_709:
            light = light @ _TO_709[self._primaries].T
        light = light.clip(0, 1)
        srgb = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** np.float32(1 / 2.4) - 0.055)
        return srgb.astype(np.float32, copy=False)


def _guess(frame: Any) -> int:
    """The matrix of a frame that names none, as players guess it: by primaries, then by size."""
    if frame.color_primaries in (1, 9):
        return int(frame.color_primaries)
    return 1 if frame.width >= 1280 or frame.height > 576 else 5


@functools.cache
def _pq_light() -> np.ndarray:
    """cd/m^2 by 16-bit PQ value (SMPTE ST 2084)."""
    root = np.linspace(0, 1, 65536) ** (32 / 2523)
    light = (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (8192 / 1305)
    return (light * 10000).astype(np.float32)


def _to_pq(light: np.ndarray | float) -> Any:
    root = (np.maximum(light, 0) / 10000) ** (1305 / 8192)
    return ((0.8359375 + 18.8515625 * root) / (1 + 18.6875 * root)) ** (2523 / 32)


@functools.cache
def _hlg_light() -> np.ndarray:
    """Light in the scene, 0..1, by 16-bit HLG value (ITU-R BT.2100, table 5)."""
    value = np.linspace(0, 1, 65536)
    bright = (np.exp((value - 0.55991073) / 0.17883277) + 0.28466892) / 12
    return np.where(value <= 0.5, value**2 / 3, bright).astype(np.float32)


@functools.cache
def _gains() -> tuple[np.ndarray, np.ndarray]:
    """PQ values, and by how much to dim a pixel whose brightest channel has that value (ITU-R BT.2390, 5.4.1)."""
    value = np.linspace(0, 1, 4096)
    most, least = _to_pq(_PAPER) / _to_pq(_PEAK), 0.0
    x = np.minimum(value / _to_pq(_PEAK), 1)
    knee = 1.5 * most - 0.5
    t = np.maximum(x - knee, 0) / (1 - knee)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * most
    light = np.interp(value, np.linspace(0, 1, 65536), _pq_light())
    out = np.interp(np.where(x < knee, x, spline) * _to_pq(_PEAK), np.linspace(0, 1, 65536), _pq_light())
    return value, out / np.maximum(light, 1e-9) + (light == least)


def _tone_mapped(light: np.ndarray) -> np.ndarray:
    """cd/m^2 in linear light with paper's white at 1 and highlights up to `_PEAK` kept apart, hue unchanged."""
    gain = np.interp(_to_pq(light.max(axis=-1)), *_gains()).astype(np.float32)
    return light * gain[..., None] / np.float32(_PAPER)
