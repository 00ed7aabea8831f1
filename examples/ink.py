"""Mountains, a pine and bamboo in ink on rough paper: washes, wet edges, dry brush, one red sun and a seal."""

from itertools import pairwise

import numpy as np
from scipy.ndimage import gaussian_filter

from noise import fbm, smoothstep
from sheet import Sheet

Array = np.ndarray
SIZE = (640, 512)
_SCALE = 2


def _mountains(sheet: Sheet) -> None:
    """Ridges one behind the other, each washed out into mist at its foot and textured with slanting strokes."""
    rng, x, y = sheet.rng, sheet.x, sheet.y
    for k, (base, rise, ink) in enumerate(
        ((0.50, 0.20, 0.16), (0.62, 0.26, 0.30), (0.76, 0.20, 0.46), (0.93, 0.15, 0.75))
    ):
        peaks = np.linspace(0, 1, 1200)
        form = np.abs(fbm(peaks * (2.3 + 0.7 * k) + 5 * k, peaks * 0 + 3.3 * k, 530 + 7 * k, 5, 0.5))
        bell = np.exp(-(((peaks - (0.68, 0.30, 0.84, 0.10)[k]) / 0.24) ** 2))
        line = base - rise * (0.40 * (1 - form) + 0.85 * bell) + 0.006 * fbm(peaks * 70, peaks * 0, 560 + k, 4, 0.6)
        top = np.interp(x, peaks, line)
        depth = y - top
        fade = np.exp(-np.maximum(depth, 0) / (0.10 + 0.03 * k)) * (1 + 0.6 * fbm(x * 6, y * 9, 570 + k, 4))
        mist = np.clip(fade, 0.03, 1.3)
        # Nearer hills hide what is behind them, through the mist they stand in.
        veil = smoothstep(-0.001, 0.002, depth) * np.clip(0.9 - 0.15 * k, 0, 1)
        sheet.ink *= 1 - veil * 0.9
        sheet.wash(depth, ink * mist, 0.8)
        for _ in range(150 + 40 * k):
            px = rng.uniform(0, 1)
            start = np.interp(px, peaks, line) + rng.exponential(0.035) + 0.004
            lean = np.interp(px + 0.02, peaks, line) - np.interp(px - 0.02, peaks, line)
            drop, side = rng.uniform(0.015, 0.06), np.sign(lean + 1e-6) * rng.uniform(0.0, 0.02) + rng.normal(0, 0.006)
            sheet.stroke(
                [(px, start), (px + side * 0.3, start + drop * 0.5), (px + side, start + drop)],
                rng.uniform(0.003, 0.010),
                ink * rng.uniform(0.25, 0.9),
                rng.uniform(0.5, 0.95),
            )
        for start, stop in zip(np.arange(0, 1, 0.045), np.arange(0.05, 1.05, 0.045), strict=False):
            if rng.random() < 0.75:
                mid = (start + stop) / 2
                ys = np.interp([start, mid, stop], peaks, line)
                sheet.stroke(
                    [(start, ys[0]), (mid, 2 * ys[1] - (ys[0] + ys[2]) / 2), (stop, ys[2])],
                    rng.uniform(0.004, 0.008),
                    ink * 1.1,
                    0.6,
                    (0.5, 0.4),
                )
        for _ in range(6 + 5 * k):
            px = rng.uniform(0, 1)
            cloud = np.array([px, np.interp(px, peaks, line) + rng.uniform(-0.002, 0.01)])
            sheet.dots(cloud + rng.normal(0, 0.010, (14, 2)) * [1, 0.6], 0.006 + 0.0015 * k, ink * 0.9)


def _pine(sheet: Sheet) -> None:
    """A leaning pine on the near rock: a dry trunk, and fans of needles."""
    rng = sheet.rng
    joints = [(0.90, 1.30), (0.80, 1.03), (0.84, 0.90), (0.76, 0.78), (0.77, 0.66), (0.68, 0.57)]
    for k, (start, stop) in enumerate(pairwise(joints)):
        middle = (start[0] + 0.03 * (-1) ** k, (start[1] + stop[1]) / 2)
        sheet.stroke([start, middle, stop], 0.044 - 0.0065 * k, 1.1, 0.62, (0.9, 0.85))
    limbs = [
        ((0.81, 1.00), (0.95, 0.93)),
        ((0.83, 0.90), (0.62, 0.90)),
        ((0.78, 0.80), (0.95, 0.73)),
        ((0.765, 0.75), (0.52, 0.70)),
        ((0.77, 0.66), (0.90, 0.58)),
        ((0.70, 0.60), (0.53, 0.56)),
        ((0.68, 0.57), (0.74, 0.47)),
    ]
    for start, stop in limbs:
        middle = ((start[0] + stop[0]) / 2, (start[1] + stop[1]) / 2 - 0.025)
        sheet.stroke([start, middle, stop], 0.015, 1.2, 0.5, (0.9, 0.25))
        for _ in range(9):
            t = rng.uniform(0.3, 1.08)
            root = np.array(start) * (1 - t) + np.array(stop) * t + rng.normal(0, 0.012, 2)
            for angle in np.linspace(np.pi * 1.02, np.pi * 1.98, 17) + rng.normal(0, 0.06, 17):
                tip = root + 0.040 * rng.uniform(0.7, 1.1) * np.array([np.cos(angle), np.sin(angle) * 0.8])
                sheet.stroke(
                    [tuple(root), tuple((root + tip) / 2 + [0, -0.002]), tuple(tip)],
                    0.0032,
                    rng.uniform(0.5, 1.4),
                    0.2,
                    (0.9, 0.2),
                )


def _bamboo(sheet: Sheet) -> None:
    """Stalks in single pulls of a flat brush, joint by joint, with pressed leaves."""
    rng = sheet.rng
    for x0, lean, width, ink in ((0.10, 0.05, 0.030, 0.85), (0.215, -0.03, 0.022, 0.55), (0.035, 0.02, 0.018, 0.38)):
        y = 1.27
        while y > -0.1:
            step = rng.uniform(0.13, 0.19)
            x = x0 + lean * (1.25 - y)
            end = x0 + lean * (1.25 - y + step)
            sheet.stroke(
                [(x, y), ((x + end) / 2 + 0.002, y - step / 2), (end, y - step + 0.008)],
                width,
                ink * rng.uniform(0.7, 1),
                0.62,
                (1.0, 0.95),
            )
            sheet.stroke(
                [(end - width * 0.6, y - step + 0.005), (end, y - step + 0.002), (end + width * 0.6, y - step + 0.006)],
                0.006,
                ink * 1.5,
                0.2,
                (0.7, 0.6),
            )
            if rng.random() < 0.8 and y < 1.1:
                twig = (
                    np.array([end, y - step])
                    + rng.choice([-1, 1]) * np.array([rng.uniform(0.03, 0.10), 0])
                    + [0, -0.05]
                )
                sheet.stroke([(end, y - step), (end, y - step - 0.04), tuple(twig)], 0.004, ink, 0.2, (0.9, 0.5))
                for _ in range(rng.integers(4, 8)):
                    angle, reach = rng.normal(np.pi * 0.42, 0.55), rng.uniform(0.08, 0.16)
                    tip = twig + reach * np.array([np.cos(angle), np.sin(angle)])
                    bow = (twig + tip) / 2 + [0.012, -0.012]
                    sheet.stroke(
                        [tuple(twig), tuple(bow), tuple(tip)],
                        rng.uniform(0.014, 0.024),
                        ink * rng.uniform(0.8, 1.6),
                        0.32,
                        (0.15, 0.02),
                    )
            y -= step


def ink() -> Array:
    """Render the ink painting.

    Returns:
        float64 [H, W, 3], sRGB in 0..1.
    """
    sheet = Sheet(SIZE[0] * _SCALE, SIZE[1] * _SCALE, 41)
    x, y = sheet.x, sheet.y
    # The sky is one wet wash, left pale around the sun.
    sun = np.hypot(x - 0.60, y - 0.205)
    clouds = fbm(x * 2.3, y * 4.6, 540, 6, 0.58)
    sheet.ink += (
        np.clip(0.16 + 0.20 * clouds + 0.18 * (0.35 - y), 0.02, 1)
        * smoothstep(0.08, 0.35, sun)
        * (1 + 0.3 * sheet.grain)
    )
    bloom = smoothstep(-0.02, 0.0, clouds - 0.25) * np.exp(-np.abs(clouds - 0.25) * 26)
    sheet.ink += 0.10 * bloom * smoothstep(0.55, 0.25, y)
    _mountains(sheet)
    _pine(sheet)
    _bamboo(sheet)
    splash = sheet.rng.random((70, 2)) * [1, 1.25]
    sheet.dots(splash, 0.0022, 0.5)
    paper = np.array([0.955, 0.92, 0.84]) * (1 + 0.030 * sheet.grain + 0.03 * fbm(x * 3, y * 3, 550, 4))[..., None]
    slope = np.gradient(gaussian_filter(sheet.grain, 1.0))
    paper = paper * (1 - 0.030 * (slope[0] + slope[1]))[..., None]
    bled = gaussian_filter(sheet.ink, 1.0)
    soaked = 0.85 * bled + 0.15 * gaussian_filter(sheet.ink, 5)
    picture = paper * np.exp(-np.maximum(soaked, 0)[..., None] * np.array([1.55, 1.50, 1.42]))
    disc = smoothstep(0.0815, 0.078, sun + 0.003 * fbm(x * 30, y * 30, 555, 4) + 0.0008 * sheet.grain)
    red = disc * (
        0.9 + 0.25 * fbm(x * 12, y * 12, 556, 4) + 0.12 * sheet.grain + 0.5 * np.exp(-np.abs(0.079 - sun) / 0.004)
    )
    seal = np.maximum(np.abs(x - 0.925), np.abs(y - 0.10))
    sign = (np.mod((x - 0.895) * 50, 1) < 0.62) & (np.mod((y - 0.07) * 33 + np.floor((x - 0.895) * 50) * 0.5, 1) < 0.75)
    worn = fbm(x * 60, y * 60, 557, 3) + 0.5 * sheet.grain
    red = red + 1.1 * (seal < 0.032) * (~sign | (seal > 0.028)) * smoothstep(0.9, 0.3, worn)
    picture = picture * np.exp(-np.maximum(red, 0)[..., None] * np.array([0.22, 1.75, 1.95]))
    height, width = SIZE
    return np.clip(picture.reshape(height, _SCALE, width, _SCALE, 3).mean((1, 3)), 0, 1)
