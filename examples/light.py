"""How the scene is lit: sun and sky on its surfaces, the air between, the mirror of the water, and the exposure."""

from typing import NamedTuple

import numpy as np
from scipy.ndimage import map_coordinates

from noise import fbm, mix, smoothstep
from raster import Camera, Lamp, shade, unit
from sky import Sky
from terrain import Terrain

Array = np.ndarray


class Light(NamedTuple):
    """The sun, the sky and their two shadow maps."""

    sun: Array
    sunlight: Array
    sky: Sky
    maps: tuple[tuple[Lamp, Array], ...]

    def on(
        self, land: Terrain, points: Array, normals: Array, colors: Array, soft: Array, rng: np.random.Generator
    ) -> Array:
        """Light [n, 3] that surfaces send to the eye."""
        (sun_map, sun_depth), (up_map, up_depth) = self.maps
        near = np.clip(smoothstep(330, 260, points[:, 2]), 0, 1)
        lit = mix(1.0, shade(sun_map, sun_depth, points, 0.16, 0.3, rng, 6), near)
        reach = np.geomspace(0.6, 1.0, 14) ** 6
        for k, step in enumerate(np.cumsum(reach / reach.sum())):
            away = step * np.clip(points[:, 2] * 1.2, 30, 1500) * (0.85 + 0.3 * rng.random(len(points)))
            over = points + self.sun * away[:, None]
            blocked = land.height(over[:, 0], over[:, 2], 3) - over[:, 1]
            lit = lit * (1 - smoothstep(0.0, 0.35 + 0.03 * away, blocked - 0.25 * (k == 0)))
        open_sky = mix(1.0, 0.35 + 0.65 * shade(up_map, up_depth, points, 1.6, 0.35, rng, 10), near)
        cosine = normals @ self.sun
        direct = np.maximum(cosine, 0) + soft * np.maximum(-cosine, 0) * 0.8 + soft * 0.25
        high = 0.5 + 0.5 * normals[:, 1]
        ambient = mix((0.22, 0.20, 0.15), (0.30, 0.38, 0.52), high[:, None]) * open_sky[:, None]
        back = 0.10 * self.sunlight * np.maximum(-normals @ (self.sun * [1, -0.2, 1]), 0)[:, None]
        return colors * (self.sunlight * (direct * lit)[:, None] + (ambient + back * 0.5) * 1.15)


def hazy(color: Array, rays: Array, along: Array, light: Light, haze: float) -> Array:
    """Aerial perspective: the air's own light, bluer for what is near, the horizon's colour far away."""
    direction = unit(rays)
    flat = unit(direction * [1, 0, 1] + [0, 0.035, 0])
    air = light.sky.look(flat)
    optical = (along * haze / np.array([[2600.0], [2100.0], [1500.0]])).T
    return color * np.exp(-optical) + mix(air * (0.62, 0.78, 1.0), air, smoothstep(100, 3500, along)[:, None]) * (
        1 - np.exp(-optical * 0.9)
    )


def water(
    picture: Array, distance: Array, mirrored: Array, view: Camera, rays: Array, light: Light, seed: int, haze: float
) -> Array:
    """Lay the bay into the picture: the mirrored scene stirred by ripples, over the water's own colour."""
    along = -view.eye[1] / np.minimum(rays[..., 1], -1e-5)
    wet = (rays[..., 1] < -1e-5) & (along < distance)
    row, column = np.nonzero(wet)
    along, ray = along[wet], rays[wet]
    x, z = view.eye[0] + ray[:, 0] * along, view.eye[2] + ray[:, 2] * along
    # Breezes roughen the water in long patches and leave mirrors between.
    breeze = smoothstep(-0.35, 0.75, fbm(x / 70, z / 26, seed + 200, 3)) * 0.85 + 0.15
    fine = np.clip(60 / along, 0, 1)
    slope_z = 0.013 * fbm(x / 2.2, z / 1.1, seed + 210, 3) + 0.022 * fine * fbm(x / 0.8, z / 0.45, seed + 220, 3)
    slope_x = 0.010 * fbm(x / 2.2, z / 1.1, seed + 230, 3) + 0.012 * fine * fbm(x / 0.8, z / 0.45, seed + 240, 3)
    slope_z, slope_x = slope_z * breeze, slope_x * breeze
    unseen = 0.016 * (1 - fine) * breeze
    color, rng = np.zeros((len(along), 3)), np.random.default_rng([seed, 3])
    for _ in range(4):
        dy = (slope_z + unseen * rng.normal(size=len(along))) * 2 * view.focal
        dx = (slope_x + 0.2 * unseen * rng.normal(size=len(along))) * 2 * view.focal * 0.3
        at = np.stack([row - np.abs(dy) * 0.3 + dy, column + dx])
        color += np.stack([map_coordinates(mirrored[..., c], at, order=1, mode="mirror") for c in range(3)], -1) / 4
    grazing = -ray[:, 1] / np.linalg.norm(ray, axis=1) + slope_z
    fresnel = 0.03 + 0.97 * np.clip(1 - grazing, 0, 1)[:, None] ** 5
    deep = np.array([0.018, 0.055, 0.060]) * light.sunlight.mean()
    glint = (0.06 * breeze * smoothstep(0.4, 1.0, fbm(x / 0.6, z / 0.3, seed + 250, 2)) * fine)[:, None]
    color = mix(deep, color, 0.12 + 0.88 * fresnel) + glint * light.sunlight * 0.35
    picture = picture.copy()
    picture[wet] = hazy(color, ray, along, light, haze)
    return picture


def develop(picture: Array, exposure: float) -> Array:
    """From light to a print: average the samples, expose, roll off the highlights, encode."""
    height, width = picture.shape[0] // 2, picture.shape[1] // 2
    light = picture.reshape(height, 2, width, 2, 3).mean((1, 3)) * exposure

    def curve(v: Array | float) -> Array:  # Hable's film curve
        v = np.asarray(v)
        return (v * (0.22 * v + 0.03) + 0.002) / (v * (0.22 * v + 0.30) + 0.06) - 0.0333

    return srgb(np.clip(curve(1.9 * light) / curve(5.0), 0, 1) ** 1.18)


def srgb(light: Array) -> Array:
    """Linear light in 0..1 to sRGB in 0..1."""
    return np.where(light < 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
