"""A breaking sea under a turning sky, in long bristled strokes that follow the flow."""

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter, map_coordinates

from noise import fbm, mix, smoothstep

Array = np.ndarray
SIZE = (512, 768)
_SCALE = 2

INK, PRUSSIAN, COBALT, SLATE = (0.035, 0.06, 0.16), (0.06, 0.14, 0.33), (0.12, 0.29, 0.55), (0.33, 0.50, 0.67)
MIST, CREAM, STRAW, AMBER = (0.66, 0.77, 0.82), (0.95, 0.92, 0.80), (0.92, 0.80, 0.47), (0.85, 0.58, 0.20)
# Whirls of the sky: place, radius, turning sense.
WHIRLS = (
    (0.42, 0.20, 0.15, 1),
    (1.16, 0.15, 0.11, -1),
    (0.80, 0.36, 0.07, -1),
    (0.12, 0.43, 0.07, 1),
    (1.42, 0.36, 0.06, 1),
)


def _ladder(colors: list[tuple[float, float, float]], t: Array) -> Array:
    """Colours [..., 3] along a ladder of equal steps, `t` in 0..1."""
    steps, at = np.array(colors), np.clip(t, 0, 1) * (len(colors) - 1)
    low = np.minimum(at.astype(int), len(colors) - 2)
    return mix(steps[low], steps[low + 1], (at - low)[..., None])


def _crest(x: Array, k: int) -> Array:
    """Height of the k-th wave's edge: round troughs, sharp peaks that lean over."""
    phase = x * (4.6 - 0.35 * k) + 1.9 * k
    lean = phase + 0.55 * np.sin(phase)
    return (
        0.57 + 0.115 * k - (0.13 - 0.018 * k) * (1 - np.abs(np.sin(lean / 2)) ** 0.8 * 1.6) + 0.012 * np.sin(9 * x + k)
    )


def _cartoon(y: Array, x: Array) -> tuple[Array, Array, Array]:
    """The picture to paint: colours [H, W, 3], direction of the strokes [H, W] in radians, their length [H, W]."""
    sway = 0.05 * fbm(x * 2.2, y * 2.2, 400, 3)
    flow_x, flow_y = np.ones_like(x), 0.45 * np.cos(3.2 * x + 4 * y + 20 * sway)
    tone = 0.5 + 0.42 * np.sin(26 * (y + 0.10 * np.sin(3.3 * x) + sway)) - 0.25 * smoothstep(0.5, 0.0, y)
    color = _ladder([INK, PRUSSIAN, COBALT, SLATE, MIST], tone * 0.75 + 0.15)
    for wx, wy, radius, sense in WHIRLS:
        dx, dy = x - wx, y - wy
        r, a = np.hypot(dx, dy) + 1e-6, np.arctan2(dy, dx)
        pull = np.exp(-((r / (1.5 * radius)) ** 2.5))
        inward = 0.22
        flow_x = mix(flow_x, sense * -dy / r - inward * dx / r, pull)
        flow_y = mix(flow_y, sense * dx / r - inward * dy / r, pull)
        spiral = np.sin(sense * a * 2 + np.log(r / radius) * 9 + 6 * sway)
        glow = _ladder([PRUSSIAN, COBALT, MIST, CREAM, STRAW, AMBER], 1.02 - r / (1.5 * radius) + 0.22 * spiral)
        color = mix(color, glow, smoothstep(1.45, 0.8, r / radius + 0.16 * spiral)[..., None])
    length = np.ones_like(x)
    for k in range(4):
        top = _crest(x + 0.06 * np.sin(7 * y), k) + 0.3 * sway
        slope = (_crest(x + 0.004, k) - _crest(x - 0.004, k)) / 0.008
        under = y - top
        curl = slope * np.exp(-np.maximum(under, 0) / 0.11) + 0.3 * np.sin(9 * x + 22 * under + k)
        band = 0.5 + 0.5 * np.sin(95 * (under + 0.01 * np.sin(11 * x + k)) + 2 * sway)
        depth = np.clip(under / 0.17, 0, 1)
        sea = _ladder([MIST, SLATE, COBALT, PRUSSIAN, INK], 0.12 + 0.70 * depth + 0.26 * band - 0.08)
        froth = 0.018 + 0.018 * fbm(x * 22, y * 22, 420 + k, 3) + 0.028 * smoothstep(0.42, 0.25, top - 0.115 * k)
        sea = mix(sea, CREAM, smoothstep(froth + 0.006, froth - 0.004, under)[..., None])
        here = smoothstep(-0.002, 0.002, under)
        color = mix(color, sea, here[..., None])
        flow_x, flow_y = mix(flow_x, 1.0, here), mix(flow_y, curl, here)
        length = mix(length, mix(0.35, 1.0, smoothstep(0.0, 0.05, under)), here)
    return color, np.arctan2(flow_y, flow_x), length


def _paths(rng: np.random.Generator, start: Array, field: Array, steps: Array, pace: float) -> Array:
    """Streamlines [n, steps, 2] (x, y in pixels) through the start points."""
    points = [start]
    wobble = rng.normal(0, 0.10, len(start))
    for _ in range(int(steps.max())):
        x, y = points[-1].T
        c = map_coordinates(np.cos(field), [y, x], order=1, mode="nearest")
        s = map_coordinates(np.sin(field), [y, x], order=1, mode="nearest")
        angle = np.arctan2(s, c) + wobble
        points.append(points[-1] + pace * np.stack([np.cos(angle), np.sin(angle)], -1))
    return np.stack(points, 1)


def waves() -> Array:
    """Render the painting.

    Returns:
        float64 [H, W, 3], sRGB in 0..1.
    """
    height, width = SIZE[0] * _SCALE, SIZE[1] * _SCALE
    rng = np.random.default_rng(31)
    row, column = np.mgrid[0:height, 0:width] / height
    color, field, length = _cartoon(row, column)
    paint = Image.fromarray(np.uint8(np.clip(np.array(PRUSSIAN) * np.ones_like(color), 0, 1) * 255))
    relief = Image.new("L", (width, height), 90)
    brush, ridge = ImageDraw.Draw(paint), ImageDraw.Draw(relief)
    for count, breadth, reach in ((2600, 26, 34), (5200, 15, 26), (9000, 8, 18)):
        start = (rng.random((count, 2)) * 1.12 - 0.06) * [width, height]
        at = tuple(np.clip(start[:, ::-1].astype(int), 0, [height - 1, width - 1]).T)
        steps = np.maximum(4, reach * length[at] * rng.uniform(0.6, 1.2, count)).astype(int)
        paths = _paths(rng, start, field, steps, 6.0)
        middle = paths[np.arange(count), steps // 2]
        inside = np.clip(middle[:, ::-1].astype(int), 0, [height - 1, width - 1]).T
        load = color[tuple(inside)] * np.exp(rng.normal(0, 0.10, (count, 1))) + rng.normal(0, 0.022, (count, 3))
        hairs = max(3, breadth // 2)
        for k in range(count):
            line = paths[k, : steps[k] + 1]
            across = np.gradient(line, axis=0)[:, ::-1] * [-1, 1]
            across /= np.linalg.norm(across, axis=1, keepdims=True) + 1e-9
            swell = np.sin(np.pi * np.linspace(0.12, 0.97, len(line))) ** 0.5
            for offset in rng.permutation(np.linspace(-0.5, 0.5, hairs)):
                first, last = rng.integers(0, 3), len(line) - rng.integers(0, max(2, len(line) // 3))
                hair = (line + across * (offset * breadth * swell)[:, None])[first:last]
                if len(hair) < 2:
                    continue
                tint = load[k] * np.exp(rng.normal(0, 0.13)) + rng.normal(0, 0.012, 3)
                flat = [tuple(p) for p in hair]
                brush.line(flat, tuple((np.clip(tint, 0, 1) * 255).astype(int)), 3)
                ridge.line(flat, int(np.clip(110 + 90 * abs(offset) + rng.normal(0, 32), 0, 255)), 3)
    thick = gaussian_filter(np.asarray(relief, float) / 255, 0.9)
    slope_y, slope_x = np.gradient(thick)
    light = 1 + np.clip(-2.0 * (slope_x + 1.3 * slope_y), -0.30, 0.38)
    picture = np.asarray(paint, float) / 255 * light[..., None]
    return np.clip(picture.reshape(SIZE[0], _SCALE, SIZE[1], _SCALE, 3).mean((1, 3)), 0, 1)
