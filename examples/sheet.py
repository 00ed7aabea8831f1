"""Rough paper and what a brush leaves on it: washes with wet edges, dry strokes, dots."""

import numpy as np
from scipy.ndimage import gaussian_filter

from noise import fbm, smoothstep, spectral_noise

Array = np.ndarray


class Sheet:
    """A sheet of paper and the ink on it so far (an optical density), in units of the picture's width."""

    def __init__(self, height: int, width: int, seed: int) -> None:
        self.rng = np.random.default_rng([seed, 8])
        self.shape = (height, width)
        row, column = np.mgrid[0 : self.shape[0], 0 : self.shape[1]]
        self.x, self.y = column / self.shape[1], row / self.shape[1]
        rough = spectral_noise(self.shape, 0.35, seed)
        fibres = sum(
            gaussian_filter(spectral_noise(self.shape, 0.1, seed + k), s, mode="wrap") * 9
            for k, s in ((1, (0.6, 9)), (2, (9, 0.6)))
        )
        self.grain = 0.6 * gaussian_filter(rough, 1.0) * 2 + 0.4 * fibres
        self.grain /= self.grain.std()
        self.ink = np.zeros(self.shape)

    def wash(self, cover: Array, amount: Array | float, edge: float = 0.5) -> None:
        """Lay a wash where `cover` (a signed distance, positive inside) says; ink gathers at its wet edge."""
        ragged = cover + 0.004 * fbm(self.x * 60, self.y * 60, 510, 4, 0.65) + 0.0012 * self.grain
        inside = smoothstep(-0.0016, 0.0016, ragged)
        rim = np.exp(-np.maximum(ragged, 0) / 0.0035) * edge
        pools = 1 + 0.30 * fbm(self.x * 7, self.y * 7, 520, 5, 0.6) + 0.14 * self.grain
        self.ink += inside * amount * np.maximum(pools, 0) * (1 + rim)

    def stroke(
        self,
        points: list[tuple[float, float]],
        width: float,
        ink: float,
        dry: float = 0.4,
        taper: tuple[float, float] = (0.3, 1.0),
    ) -> None:
        """One brush stroke along a quadratic curve; `taper` is how blunt its ends are, `dry` how much paper shows."""
        a, b, c = np.array(points, float)
        reach = width * 1.2
        low, high = np.minimum(np.minimum(a, b), c) - reach, np.maximum(np.maximum(a, b), c) + reach
        n = self.shape[1]
        box = (
            slice(max(int(low[1] * n), 0), max(int(high[1] * n) + 1, 0)),
            slice(max(int(low[0] * n), 0), max(int(high[0] * n) + 1, 0)),
        )
        x, y = self.x[box], self.y[box]
        if x.size == 0:
            return
        t = np.linspace(0, 1, 40)[:, None]
        curve = (1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c
        length = np.linalg.norm(np.diff(curve, axis=0), axis=1).sum()
        best, along, across = np.full(x.shape, np.inf), np.zeros(x.shape), np.zeros(x.shape)
        for k in range(len(curve) - 1):
            step = curve[k + 1] - curve[k]
            size = np.hypot(*step) + 1e-9
            px, py = x - curve[k, 0], y - curve[k, 1]
            s = np.clip((px * step[0] + py * step[1]) / size**2, 0, 1)
            d = np.hypot(px - s * step[0], py - s * step[1])
            nearer = d < best
            best[nearer] = d[nearer]
            along[nearer] = (k + s[nearer]) / (len(curve) - 1)
            across[nearer] = ((px * step[1] - py * step[0]) / size)[nearer]
        press = taper[0] + (1 - taper[0]) * smoothstep(0, 0.35, along)
        press = press * (taper[1] + (1 - taper[1]) * smoothstep(1.0, 0.45, along))
        seed = int(self.rng.integers(1000, 9000))
        press = press * (1 + 0.16 * fbm(along * length * 60, 0 * along + seed, seed % 60, 3))
        rim = best / (width / 2 * press + 1e-6) + 0.10 * self.grain[box] * 0.5
        hairs = fbm(across / width * 26 + seed, along * length * 6, seed % 50, 3, 0.8) + 0.45 * self.grain[box]
        lack = smoothstep(0.15, 0.75, hairs + dry * 1.6 * (along - 0.35) + dry * 0.5)
        body = smoothstep(1.04, 0.90, rim) * (1 - np.clip(dry * 2, 0, 1) * lack)
        wet = 1 + 0.35 * np.exp(-(1 - np.minimum(rim, 1)) / 0.15)
        self.ink[box] += body * ink * wet * (0.85 + 0.2 * self.grain[box])

    def dots(self, at: Array, size: float, ink: float) -> None:
        """Small touches of a wet brush at `at` [n, 2]."""
        for x, y in at:
            dx, dy = self.rng.normal(0, size * 0.7, 2)
            self.stroke(
                [(x, y), (x + dx / 2, y + dy / 2), (x + dx, y + dy)],
                size * self.rng.uniform(0.5, 1.2),
                ink * self.rng.uniform(0.5, 1.3),
                0.25,
                (0.7, 0.7),
            )
