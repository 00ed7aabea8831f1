"""A bay between a grassy bank, a rocky headland and hills: its height, its ground and its mesh."""

import numpy as np

from noise import fbm, mix, smoothstep
from raster import Mesh, mesh, unit

Array = np.ndarray


class Terrain:
    """The land of one seed; metres, the water lies at height 0."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    @staticmethod
    def path(z: Array | float) -> Array:
        """Where the path to the water runs: x at z."""
        return np.asarray(-1.5 + 3.2 * np.sin(z * 0.16 + 1.1) - 0.05 * z)

    def height(self, x: Array | float, z: Array | float, octaves: int = 5) -> Array:
        """Height of the ground [...] at x, z [...]."""
        x, z = np.asarray(x), np.asarray(z)
        seed = self.seed
        rough = fbm(x / 9, z / 9, seed, octaves)
        broad = fbm(x / 60, z / 60, seed + 10, 3)
        edge = 27 + np.where(x < 0, -0.75 * x, -0.2 * x)
        bank = -3 + 10.2 * smoothstep(-5, 21, edge - z + 3 * rough + 4 * broad) + 0.35 * rough
        out = np.hypot((x - 77) / 49, (z - 128) / 30) + 0.10 * rough + 0.08 * broad
        headland = -3 + 9 * smoothstep(1.08, 0.92, out) + 9 * smoothstep(0.9, 0.2, out) + 0.9 * rough
        inland = z - (200 + 1.5 * np.maximum(x + 5, 0) + 26 * broad + 5 * rough)
        up = np.maximum(inland, 0)
        hills = (
            -3
            + 5 * smoothstep(-6, 10, inland)
            + (1 - np.exp(-up / 320)) * 62 * (0.8 + 0.75 * fbm(x / 210, z / 210, seed + 20, octaves))
        )
        aside = smoothstep(0.42, -0.12, x / np.maximum(z, 1))
        ridge = 1 - np.abs(fbm(x / 1500, z / 1500, seed + 30, octaves + 1, 0.48))
        mountains = smoothstep(700, 3000, z) * (560 * ridge**2 - 90) * aside
        hills = hills * (0.25 + 0.75 * aside) + mountains
        return np.maximum(np.maximum(bank, headland), hills)

    def normal(self, x: Array, z: Array, step: Array) -> Array:
        """Unit normals [..., 3], over a baseline of `step` metres."""
        dx = self.height(x + step, z) - self.height(x - step, z)
        dz = self.height(x, z + step) - self.height(x, z - step)
        return unit(np.stack([-dx, 2 * step, -dz], -1))

    def ground(self, points: Array, normals: Array) -> Array:
        """The colour [n, 3] of the ground at points [n, 3]: sand, grass, path, rock, woods."""
        x, y, z = points.T[..., None]
        seed, steep = self.seed + 40, 1 - normals[:, 1:2]
        fine, patch = fbm(x * 2.1, z * 2.1, seed, 4, 0.7), fbm(x / 13, z / 13, seed + 5, 4)
        grass = mix((0.115, 0.165, 0.035), (0.27, 0.25, 0.075), smoothstep(-0.7, 0.8, patch + 0.5 * fine))
        woods = mix(
            (0.028, 0.062, 0.028), (0.085, 0.115, 0.035), smoothstep(-0.9, 0.9, fbm(x / 7, z / 7, seed + 9, 4, 0.8))
        )
        meadow = smoothstep(0.25, 0.5, fbm(x / 120, z / 120, seed + 13, 4))
        distant = smoothstep(205, 260, z)
        color = mix(grass, mix(woods, grass * (1.15, 1.05, 1.0), meadow), distant)
        strata = fbm(x / 5, y * 1.1 + x / 15, seed + 17, 4, 0.65)
        rock = mix((0.16, 0.135, 0.115), (0.36, 0.31, 0.26), smoothstep(-0.8, 0.8, strata))
        color = mix(color, rock, smoothstep(0.24, 0.40, steep + 0.10 * fine) * (1 - 0.5 * distant))
        sand = mix((0.36, 0.30, 0.21), (0.47, 0.41, 0.30), 0.5 + 0.5 * fine)
        color = mix(color, mix(sand, rock, 0.4), smoothstep(1.4, 0.7, y + 0.4 * patch))
        color = color * mix(0.5, 1.0, smoothstep(0.05, 0.5, y + 0.15 * fine))
        walk = np.abs(x - self.path(z)) + 0.3 * fine
        gravel = fbm(x * 14, z * 14, seed + 21, 4, 0.85)
        tread = 0.75 + 0.25 * np.cos(np.clip(walk, 0, 1.2) * 5.2)
        earth = mix((0.34, 0.26, 0.17), (0.62, 0.50, 0.36), smoothstep(-0.9, 0.9, gravel)) * tread
        color = mix(color, earth, smoothstep(1.2, 0.8, walk) * (z < 45))
        return color * (0.86 + 0.22 * fine)

    def mesh(self, eye: Array, yaw: float, half_angle: float, columns: int, rows: int) -> Mesh:
        """Triangles fine near the eye and coarse far away; those under water are left out."""
        azimuth = np.radians(yaw) + np.radians(np.linspace(-half_angle, half_angle, columns))
        distance = 1.2 * (6500 / 1.2) ** np.linspace(0, 1, rows)
        x = (eye[0] + distance[:, None] * np.sin(azimuth)).astype(np.float32)
        z = (eye[2] + distance[:, None] * np.cos(azimuth)).astype(np.float32)
        grid = np.stack([x, self.height(x, z), z], -1)
        a, b, c, d = grid[:-1, :-1], grid[:-1, 1:], grid[1:, :-1], grid[1:, 1:]
        triangles = np.concatenate(
            [np.stack([a, b, c], -2).reshape(-1, 3, 3), np.stack([b, d, c], -2).reshape(-1, 3, 3)]
        )
        return mesh(triangles[triangles[:, :, 1].max(1) > -0.4], (0, 0, 0))
