"""The sky: a clear gradient, haze around the sun, and clouds marched through a fractal volume."""

from typing import NamedTuple

import numpy as np
from scipy.ndimage import map_coordinates

from noise import mix, smoothstep, spectral_noise
from raster import unit

Array = np.ndarray
_BASE, _TOP = 700.0, 1350.0


class Sky(NamedTuple):
    """A picture [E, A, 3] of the sky over azimuth -75..75 degrees and elevation -2..73 degrees."""

    picture: Array

    def look(self, direction: Array) -> Array:
        """The sky's light [..., 3] in unit directions [..., 3]."""
        azimuth = np.degrees(np.arctan2(direction[..., 0], direction[..., 2]))
        elevation = np.degrees(np.arcsin(np.clip(direction[..., 1], -1, 1)))
        rows, columns = self.picture.shape[:2]
        at = np.stack([(elevation + 2) / 75 * (rows - 1), (azimuth + 75) / 150 * (columns - 1)])
        return np.stack([map_coordinates(self.picture[..., c], at, order=1, mode="nearest") for c in range(3)], -1)


def clear(direction: Array, sun: Array) -> Array:
    """The cloudless sky in unit directions [..., 3]."""
    up = np.clip(direction[..., 1:2], 0, 1)
    toward = np.clip(direction @ sun, 0, 1)[..., None]
    low = np.clip(1 - sun[1] * 1.6, 0, 1)
    zenith = mix((0.10, 0.25, 0.62), (0.08, 0.22, 0.58), low)
    horizon = mix((0.60, 0.74, 0.88), (1.00, 0.80, 0.60), low)
    color = mix(horizon, zenith, 1 - np.exp(-4.6 * up))
    glow = (0.30 * toward**6 + 0.5 * toward**60) * mix((1.0, 0.95, 0.85), (1.0, 0.72, 0.42), low)
    return color * (0.86 + 0.14 * toward) + glow


def make_sky(sun: Array, sunlight: Array, cover: float, seed: int, rows: int = 450) -> Sky:
    """Render the sky with clouds; `cover` is about 0 (none) to 1 (overcast)."""
    elevation, azimuth = np.meshgrid(
        np.radians(np.linspace(-2, 73, rows)), np.radians(np.linspace(-75, 75, 2 * rows)), indexing="ij"
    )
    direction = np.stack(
        [np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)], -1
    ).astype(np.float32)
    background = clear(direction, sun)
    picture = background.copy()
    high = elevation > np.radians(2.2)
    rays = direction[high]
    volume = spectral_noise((96, 96, 96), 2.05, seed)
    wisps = spectral_noise((96, 96, 96), 1.3, seed + 1)

    def density(p: Array) -> Array:
        at = np.stack([p[:, 1] / 60, p[:, 0] / 75, p[:, 2] / 75])
        body = map_coordinates(volume, at, order=1, mode="grid-wrap")
        detail = map_coordinates(wisps, at * 3.1, order=1, mode="grid-wrap")
        rise = (p[:, 1] - _BASE) / (_TOP - _BASE)
        # Flat bottoms, round tops: the threshold grows with height, sharply at the base.
        threshold = 1.5 - 1.6 * cover + 1.1 * rise + 1.5 * np.exp(-rise * 9)
        return np.clip(body + 0.25 * detail - threshold, 0, 0.8)

    start = _BASE / rays[:, 1]
    stop = _TOP / rays[:, 1]
    steps = 36
    clear_way, light = np.ones(len(rays), np.float32), np.zeros((len(rays), 3), np.float32)
    ambient = mix((0.50, 0.58, 0.70), sunlight / sunlight.max() * 0.6, 0.25)
    toward = np.clip(rays @ sun, 0, 1)
    jitter = np.random.default_rng([seed, 1]).random(len(rays)).astype(np.float32)
    for step in range(steps):
        along = start + (stop - start) * (step + jitter) / steps
        thick = np.zeros(len(rays), np.float32)
        live = clear_way > 0.02
        p = rays[live] * along[live, None]
        thick[live] = density(p)
        hit = thick > 0
        if not hit.any():
            continue
        p = rays[hit] * along[hit, None]
        shadow = sum(density(p + sun * reach) * w for reach, w in ((60.0, 60.0), (170.0, 130.0)))
        lit = np.exp(-shadow * 0.022)[:, None] * (0.62 + 0.5 * toward[hit, None] ** 3)
        height = np.clip((p[:, 1:2] - _BASE) / (_TOP - _BASE), 0, 1)
        color = sunlight * 0.44 * lit + ambient * (0.55 + 0.5 * height)
        block = 1 - np.exp(-thick[hit] * (_TOP - _BASE) / steps * np.minimum(1 / rays[hit, 1], 4) * 0.05)
        light[hit] += (clear_way[hit] * block)[:, None] * color
        clear_way[hit] *= 1 - block
    far = np.exp(-start / 9000)[:, None] * smoothstep(2.2, 6, np.degrees(elevation[high]))[:, None]
    picture[high] = mix(background[high], background[high] * clear_way[:, None] + light, far)
    return Sky(picture.astype(np.float32))


def sun_at(azimuth: float, elevation: float) -> tuple[Array, Array]:
    """Direction to the sun [3] and its light [3], warm when low; degrees, azimuth from straight ahead to the right."""
    a, e = np.radians(azimuth), np.radians(elevation)
    direction = unit(np.array([np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)])).astype(np.float32)
    path = 1 / (direction[1] + 0.06)
    return direction, (3.6 * np.exp(-np.array([0.045, 0.11, 0.22]) * path)).astype(np.float32)
