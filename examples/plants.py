"""Trees leaf by leaf, grass blade by blade, and flowers."""

import numpy as np

from noise import mix
from raster import Mesh, join, mesh, unit

Array = np.ndarray


def _scatter(
    centers: Array, size: Array | float, normals: Array, colors: Array, translucency: float, rng: np.random.Generator
) -> Mesh:
    """One small triangle of random attitude at each centre."""
    corner = unit(rng.normal(size=(len(centers), 3, 3)))
    corner -= corner.mean(1, keepdims=True)
    return mesh(centers[:, None] + corner * np.reshape(size, (-1, 1, 1)), colors, translucency, unit(normals))


def trunk(base: Array, top: Array, width: float, color: tuple[float, float, float], bend: Array) -> Mesh:
    """A tapering, bent limb with eight sides."""
    t = np.linspace(0, 1, 7)[:, None]
    line = base + (top - base) * t + bend * np.sin(np.pi * t)
    angle = np.linspace(0, 2 * np.pi, 9)
    ring = np.stack([np.cos(angle), 0 * angle, np.sin(angle)], -1) * width / 2
    rings = line[:, None] + ring * (1 - 0.75 * t[:, :, None] + 0.35 * np.exp(-t[:, :, None] * 12))
    a, b, c, d = rings[:-1, :-1], rings[:-1, 1:], rings[1:, 1:], rings[1:, :-1]
    normals = np.broadcast_to(unit(ring[:-1]), (6, 8, 3)).reshape(-1, 3)
    return join([mesh(np.stack([a, d, c], -2), color, 0, normals), mesh(np.stack([a, c, b], -2), color, 0, normals)])


def broadleaf(rng: np.random.Generator, base: Array, height: float, leaves: int, leaf: float, color: Array) -> Mesh:
    """A round crown of clumps of leaves on a branching trunk."""
    middle = base + np.array([0, height * 0.63, 0])
    count = 11 if leaves > 2000 else 6
    offsets = unit(rng.normal(size=(count, 3))) * rng.uniform(0.45, 1.0, (count, 1)) ** 0.5
    clumps = middle + offsets * height * np.array([0.27, 0.24, 0.27])
    radii = height * rng.uniform(0.10, 0.19, count)
    pick = rng.choice(count, leaves, p=radii**2 / (radii**2).sum())
    outward = unit(rng.normal(size=(leaves, 3)))
    centers = clumps[pick] + outward * (radii[pick] * rng.uniform(0.55, 1.08, leaves))[:, None]
    normals = unit(outward + 0.7 * unit(centers - middle) + 0.35 * rng.normal(size=(leaves, 3)))
    # Leaves inside and under the crown see less sky.
    open_sky = np.clip(0.55 + 0.5 * (centers - middle)[:, 1] / (0.4 * height), 0.35, 1)[:, None]
    tint = rng.uniform(0.7, 1.3, (leaves, 1)) * rng.uniform(0.8, 1.2, (count, 1))[pick]
    parts = [_scatter(centers, leaf * rng.uniform(0.6, 1.3, leaves), normals, color * open_sky * tint, 0.45, rng)]
    bark, fork = (0.13, 0.10, 0.075), base + np.array([0, height * 0.33, 0])
    parts.append(trunk(base - [0, 0.5, 0], fork, height * 0.055, bark, rng.normal(size=3) * height * 0.015))
    parts += [trunk(fork - [0, 0.1, 0], c, height * 0.026, bark, rng.normal(size=3) * height * 0.02) for c in clumps]
    return join(parts)


def conifer(rng: np.random.Generator, base: Array, height: float, leaves: int, leaf: float, color: Array) -> Mesh:
    """A spire of drooping tiers."""
    t = 1 - np.sqrt(rng.uniform(0.0, 1, leaves))
    tier = 1 - 0.45 * np.mod(t * 9 + rng.uniform(-0.1, 0.1, leaves), 1)
    angle, reach = rng.uniform(0, 2 * np.pi, leaves), rng.uniform(0.5, 1.05, leaves)
    away = 0.2 * height * (1 - t) ** 0.85 * tier * reach
    side = np.stack([np.cos(angle), np.zeros(leaves), np.sin(angle)], -1)
    centers = base + side * away[:, None] + np.array([0, 1, 0]) * (height * (0.12 + 0.88 * t) - 0.25 * away)[:, None]
    colors = color * (rng.uniform(0.65, 1.2, (leaves, 1)) * (0.45 + 0.55 * reach[:, None] ** 2))
    parts = [_scatter(centers, leaf, side + np.array([0, 0.55, 0]), colors, 0.25, rng)]
    parts.append(
        trunk(
            base - [0, 0.5, 0], base + np.array([0, height * 0.9, 0]), height * 0.045, (0.11, 0.08, 0.06), np.zeros(3)
        )
    )
    return join(parts)


def bush(rng: np.random.Generator, base: Array, size: float, leaves: int, leaf: float, color: Array) -> Mesh:
    """Half a ball of leaves."""
    outward = unit(rng.normal(size=(leaves, 3)))
    outward[:, 1] = np.abs(outward[:, 1])
    lumps = 0.8 + 0.2 * np.sin(outward @ rng.normal(size=(3, 3)) * 4).mean(1, keepdims=True)
    centers = base + outward * rng.uniform(0.6, 1.05, (leaves, 1)) * size * lumps * [1, 0.8, 1]
    colors = color * rng.uniform(0.65, 1.25, (leaves, 1)) * (0.5 + 0.5 * outward[:, 1:2])
    return _scatter(centers, leaf * rng.uniform(0.6, 1.2, leaves), outward + np.array([0, 0.4, 0]), colors, 0.4, rng)


def grass(rng: np.random.Generator, base: Array, height: Array, normals: Array, dry: Array) -> Mesh:
    """One bent blade at each base point [n, 3], straw where `dry` [n] is high; paler toward the tip."""
    n = len(base)
    angle = rng.uniform(0, 2 * np.pi, n)
    side = np.stack([np.cos(angle), np.zeros(n), np.sin(angle)], -1) * (0.014 + 0.02 * height[:, None])
    lean = (rng.normal(size=(n, 3)) * 0.28 + [0.22, 0, 0.05]) * [1, 0, 1] * height[:, None]
    middle = base + lean * 0.35 + [0, 0.6, 0] * height[:, None]
    tip = base + lean + [0, 1, 0] * height[:, None]
    color = mix((0.09, 0.15, 0.03), (0.36, 0.30, 0.11), np.clip(rng.normal(0.2, 0.25, (n, 1)) + dry[:, None], 0, 1))
    low = np.stack([base - side, base + side, middle], 1)
    high = np.stack([middle - side * 0.6, middle + side * 0.6, tip], 1)
    up = unit(normals + 0.35 * rng.normal(size=(n, 3)))
    return join([mesh(low, color * 0.7, 0.4, up), mesh(high, color * 1.15, 0.6, up)])


def flowers(rng: np.random.Generator, base: Array, height: Array, colors: Array) -> Mesh:
    """A stem with a head of six petals at each base point [n, 3]."""
    n = len(base)
    tip = base + np.array([0, 1, 0]) * height[:, None] + rng.normal(size=(n, 3)) * 0.05
    thin = np.array([0.008, 0, 0])
    stems = mesh(np.stack([base - thin, base + thin, tip], 1), (0.10, 0.15, 0.04), 0.4, np.array([0.0, 1, 0]))
    size = rng.uniform(0.028, 0.048, n)
    heads = np.repeat(tip, 6, 0)
    petals = heads + rng.normal(size=(6 * n, 3)) * np.repeat(size, 6)[:, None] * [0.7, 0.35, 0.7]
    shades = np.repeat(colors, 6, 0) * rng.uniform(0.75, 1.2, (6 * n, 1))
    return join(
        [
            stems,
            _scatter(petals, np.repeat(size, 6), rng.normal(size=(6 * n, 3)) * 0.5 + [0, 1, -0.3], shades, 0.5, rng),
        ]
    )
