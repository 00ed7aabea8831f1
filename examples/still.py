"""Heaps of shaded, textured things that hide each other: pictures with the statistics of photographs.

The dead leaves model: objects of every size (areas fall as a power law) laid over each other at random give the
edges, the spectrum and the occlusions that photographs have (Lee, Mumford and Huang, 2001).
"""

from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter

from noise import smoothstep, spectral_noise

Array = np.ndarray


class Heap(NamedTuple):
    """What lies about, and how it is seen. Colours are linear light; lengths are parts of the picture's side."""

    seed: int
    colors: tuple[tuple[float, float, float], ...]
    pieces: int = 900
    smallest: float = 0.02
    largest: float = 0.45
    slope: float = 3.0
    longish: float = 1.5
    corners: bool = False
    texture: float = 0.35
    focus: float = 0.7
    defocus: float = 0.004
    gloss: float = 0.15
    exposure: float = 1.0


def _outline(rng: np.random.Generator, dx: Array, dy: Array, radius: float, heap: Heap) -> tuple[Array, Array, Array]:
    """Relative distance from the middle (1 on the rim), and the two coordinates inside the shape, -1..1."""
    turn, ratio = rng.uniform(0, 2 * np.pi), np.sqrt(np.exp(abs(rng.normal(0, np.log(heap.longish)))))
    u = (dx * np.cos(turn) + dy * np.sin(turn)) / (radius * ratio)
    v = (dy * np.cos(turn) - dx * np.sin(turn)) / (radius / ratio)
    if heap.corners and rng.random() < 0.6:
        v = v + rng.uniform(-0.5, 0.5) * u
        power = rng.choice([8.0, 24.0])
        return (np.abs(u) ** power + np.abs(v) ** power) ** (1 / power), u, v
    angle = np.arctan2(v, u)
    wave = sum(rng.normal(0, 0.13 / k) * np.cos(k * angle + rng.uniform(0, 6.3)) for k in (1, 2, 3, 5, 7))
    return np.hypot(u, v) / (1 + wave), u, v


def heap_picture(heap: Heap, side: int) -> Array:
    """Render a heap.

    Returns:
        float64 [side, side, 3], linear light, about 0..1.
    """
    rng, n = np.random.default_rng([heap.seed, 4]), side * 2
    sheets = [spectral_noise((n, n), s, heap.seed + k) for k, s in enumerate((0.5, 0.9, 1.2, 1.6))]
    grain = [gaussian_filter(sheets[0], (0.5, 7), mode="wrap"), gaussian_filter(sheets[1], (9, 0.7), mode="wrap")]
    sheets += [g / g.std() for g in grain]
    row, column = np.mgrid[0:n, 0:n].astype(np.float32)
    palette = np.array(heap.colors)
    low, high = heap.smallest ** (1 - heap.slope), heap.largest ** (1 - heap.slope)
    sizes = (low + rng.random(heap.pieces) * (high - low)) ** (1 / (1 - heap.slope))
    lamp_x, lamp_y = np.cos(heap.seed * 2.4), -abs(np.sin(heap.seed * 2.4)) - 0.4
    canvas = palette[0] * (0.6 + 0.15 * sheets[2][..., None]) * 0.5
    sharp_at = heap.focus * heap.pieces
    blurred = 0.0
    for k, size in enumerate(sizes):
        blur = heap.defocus * n * max(0.0, 1 - (k + 1) / sharp_at)
        if k % 40 == 0 and blur > 0.5:
            extra = np.sqrt(max(blurred**2 - blur**2, 0)) if blurred else blur
            canvas = gaussian_filter(canvas, (extra, extra, 0), mode="nearest")
            blurred = blur
        x, y, radius = rng.uniform(-0.1, 1.1) * n, rng.uniform(-0.1, 1.1) * n, size * n / 2
        reach = radius * 2.6 * np.sqrt(heap.longish)
        box = (
            slice(int(max(y - reach, 0)), int(max(y + reach, 0)) + 1),
            slice(int(max(x - reach, 0)), int(max(x + reach, 0)) + 1),
        )
        dx, dy = column[box] - x, row[box] - y
        if dx.size == 0:
            continue
        rim, u, v = _outline(rng, dx, dy, radius, heap)
        cover = np.clip((1 - rim) * radius * 0.8 + 0.5, 0, 1)[..., None]
        shifted = np.hypot(dx + lamp_x * radius * 0.22, dy + lamp_y * radius * 0.22) / radius
        canvas[box] *= 1 - 0.5 * smoothstep(1.45, 0.85, shifted)[..., None]
        # A dome under one lamp, darker toward the rim away from it.
        slant = (dx * lamp_x + dy * lamp_y) / (radius * 1.5)
        dome = np.sqrt(np.clip(1 - 0.8 * rim**2, 0.05, 1))
        light = np.clip(0.45 + 0.35 * dome + rng.uniform(0.1, 0.5) * slant, 0.05, 2)
        sheet = np.roll(sheets[rng.integers(len(sheets))], tuple(rng.integers(0, n, 2)), (0, 1))[box]
        if rng.random() < 0.5:
            sheet = sheet[::-1, ::-1]
        light = light * np.exp(heap.texture * rng.uniform(0.1, 1.3) * sheet)
        if rng.random() < 0.18:
            stripes = np.sin((u if rng.random() < 0.5 else v) * rng.uniform(5, 16) + 0.5 * sheet)
            light = light * (1 + 0.45 * np.tanh(3 * stripes))
        tint = palette[rng.integers(len(palette))] * np.exp(rng.normal(0, 0.5)) * np.exp(rng.normal(0, 0.12, 3))
        spot = heap.gloss * np.exp(-((slant - 0.35) ** 2 + (rim - 0.4) ** 2) * 14)
        color = light[..., None] * tint + spot[..., None]
        canvas[box] = canvas[box] * (1 - cover) + color * cover
    broad = spectral_noise((n, n), 2.4, heap.seed + 50)
    canvas *= np.exp(0.6 * broad)[..., None]
    # Exposed for the middle tones, as a camera does.
    canvas *= heap.exposure * 0.11 / np.exp(np.log(np.maximum(canvas.mean(-1), 1e-3)).mean())
    return canvas.reshape(side, 2, side, 2, 3).mean((1, 3))
