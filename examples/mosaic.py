"""A sun, a fish and the sea in small stones, each cut square to the line it follows.

The stones are cells of a Voronoi diagram in a turned square metric, relaxed until they lie in rows
(Hausner, "Simulating decorative mosaics", SIGGRAPH 2001).
"""

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter, map_coordinates
from scipy.spatial import cKDTree

from noise import fbm, mix, smoothstep

Array = np.ndarray
SIZE = (576, 768)
STONE = 9.0

CREAM, OCHRE, RUST, GOLD = (0.90, 0.82, 0.64), (0.80, 0.58, 0.26), (0.62, 0.22, 0.12), (0.97, 0.76, 0.22)
CRIMSON, CORAL, PEACH, JADE = (0.68, 0.10, 0.10), (0.91, 0.40, 0.19), (0.96, 0.74, 0.53), (0.13, 0.47, 0.42)
TEAL, FOAM, PINE, NIGHT = (0.24, 0.64, 0.60), (0.88, 0.94, 0.88), (0.05, 0.24, 0.26), (0.09, 0.09, 0.12)


def _design(y: Array, x: Array) -> tuple[Array, Array, Array]:
    """The cartoon: region [H, W], its colour [H, W, 3] and the line [H, W] whose slope the stones follow."""
    sun_x, sun_y = 1.36, 0.40
    r, a = np.hypot(x - sun_x, y - sun_y), np.arctan2(y - sun_y, x - sun_x)
    region, color = np.zeros(x.shape, int), np.zeros((*x.shape, 3))
    follow = r.copy()

    def lay(mask: Array, paint: Array | tuple[float, float, float], line: Array | None = None) -> None:
        region[mask] = region.max() + 1
        color[mask] = np.broadcast_to(paint, color.shape)[mask]
        if line is not None:
            follow[mask] = line[mask]

    lay(r > 0, mix(mix(PEACH, CREAM, smoothstep(0.3, 0.7, r)[..., None]), OCHRE, smoothstep(0.75, 1.5, r)[..., None]))
    for k in range(3):
        lay(np.abs(r - 0.62 - 0.22 * k) < 0.022, (CORAL, OCHRE, RUST)[k])
    beat = np.abs(np.mod(a / (2 * np.pi) * 14 + 0.6 * np.sin(r * 9), 1) - 0.5) * 2
    lay((beat < 1.0 - (r - 0.2) / 0.32) & (r < 0.52), CORAL, r)
    lay((beat < 0.62 - (r - 0.2) / 0.40) & (r < 0.45), GOLD, r)
    lay(r < 0.245, CRIMSON)
    lay(r < 0.215, GOLD)
    lay(r < 0.14, (0.99, 0.87, 0.50))
    for k, (paint, level) in enumerate(
        ((FOAM, 1.0), (TEAL, 1.035), (JADE, 1.12), (FOAM, 1.21), (TEAL, 1.245), (PINE, 1.33))
    ):
        swell = (
            level + 0.045 * np.sin(x * (6.2 + k // 3) + 2.4 * (k // 3)) + 0.022 * np.sin(x * 13 + 1.7 * (k // 3) + 1)
        )
        lay(y > swell, mix(paint, PINE, np.clip((y - swell) * 1.6, 0, 0.35)[..., None]), y - swell)
    turn = np.radians(-24)
    s = (x - 0.60) * np.cos(turn) + (y - 0.66) * np.sin(turn)
    t = (y - 0.66) * np.cos(turn) - (x - 0.60) * np.sin(turn) - 0.42 * s * s
    body = 0.155 * np.clip(1 - (np.abs(s + 0.02) / 0.40) ** 2.2, 0, 1) ** 0.8
    tail = (s < -0.30) & (s > -0.56 + 0.55 * np.abs(t)) & (np.abs(t) < 0.03 + 0.75 * (-0.30 - s))
    fin = (t < 0) & (t > -body - 0.10 * np.clip(1 - ((s + 0.05) / 0.24) ** 2, 0, 1)) & (np.abs(s + 0.05) < 0.24)
    low_fin = (t > 0) & (t < body + 0.07 * np.clip(1 - ((s + 0.12) / 0.1) ** 2, 0, 1)) & (np.abs(s + 0.12) < 0.1)
    lay(tail | fin | low_fin, CRIMSON, s + 0.6 * t * np.sign(t))
    lay(tail & (np.mod(s * 14 + np.abs(t) * 6, 1) < 0.4), GOLD, s + 0.6 * t * np.sign(t))
    inside = np.abs(t) < body
    lay(inside, NIGHT, t / np.maximum(body, 0.03))
    scales = np.mod(s * 11 + 0.9 * np.cos(t / np.maximum(body, 1e-3) * 2.2), 1)
    core = np.abs(t) < body - 0.022
    lay(core, CORAL, s + 0.16 * np.cos(t * 12))
    lay(core & (scales < 0.42), CRIMSON, s + 0.16 * np.cos(t * 12))
    lay(core & (t > 0.35 * body), PEACH, t)
    head = core & (s > 0.17 - 1.6 * t * t)
    lay(head, GOLD, np.hypot(s - 0.25, t + 0.03))
    lay(head & (s < 0.195 - 1.6 * t * t), NIGHT, s + 1.6 * t * t)
    eye = np.hypot(s - 0.255, t + 0.035)
    lay(eye < 0.042, FOAM, eye)
    lay(eye < 0.022, NIGHT, eye)
    edge = np.minimum(np.minimum(x, x.max() - x), np.minimum(y, y.max() - y))
    along = np.where(np.minimum(x, x.max() - x) < np.minimum(y, y.max() - y), y, x)
    lay(edge < 0.085, PINE, edge)
    lay((edge < 0.062) & (edge > 0.022), CREAM, edge)
    lay((edge < 0.062) & (edge > 0.022) & (np.mod(along * 10, 1) < 0.5), RUST, edge)
    return region, color, follow


def _nearest(tree: cKDTree, sites: Array, angle: Array, points: Array) -> tuple[Array, Array, Array]:
    """The stone of each point [n, 2] in the stones' own square metrics, and the distances to it and to the next."""
    _, near = tree.query(points, k=7)
    away = points[:, None] - sites[near]
    c, s = np.cos(angle[near]), np.sin(angle[near])
    u, v = np.abs(away[..., 1] * c + away[..., 0] * s), np.abs(away[..., 0] * c - away[..., 1] * s)
    square = (u**6 + v**6) ** (1 / 6)
    order = np.argsort(square, axis=1)[:, :2]
    first, second = np.take_along_axis(square, order, 1).T
    return near[np.arange(len(points)), order[:, 0]], first, second


def mosaic() -> Array:
    """Render the mosaic.

    Returns:
        float64 [H, W, 3], sRGB in 0..1.
    """
    height, width = SIZE
    rng = np.random.default_rng(21)
    row, column = np.mgrid[0:height, 0:width].astype(float)
    region, color, follow = _design(row / height * 1.5, column / height * 1.5)
    follow = gaussian_filter(follow, 1.5)
    slope_y, slope_x = np.gradient(follow)
    field = np.arctan2(slope_x, -slope_y)  # along the line, not across it
    edges = (region != np.roll(region, 1, 0)) | (region != np.roll(region, 1, 1))
    free = (distance_transform_edt(~edges) > 1.2).ravel()
    points = np.stack([row.ravel(), column.ravel()], -1)[free]
    sites = rng.random((round(height * width / STONE**2), 2)) * [height, width]
    for _ in range(22):
        angle = map_coordinates(field, sites.T, order=0, mode="nearest")
        owner, _, _ = _nearest(cKDTree(sites), sites, angle, points)
        count = np.bincount(owner, minlength=len(sites))
        for axis in (0, 1):
            mean = np.bincount(owner, points[:, axis], len(sites)) / np.maximum(count, 1)
            sites[:, axis] = np.where(count > 0, mean, sites[:, axis])
    angle = map_coordinates(field, sites.T, order=0, mode="nearest")
    fine = np.mgrid[0 : 2 * height, 0 : 2 * width].reshape(2, -1).T / 2 + 0.25
    owner, first, second = _nearest(cKDTree(sites), sites, angle, fine)
    shape = (2 * height, 2 * width)
    owner, gap, far = owner.reshape(shape), (second - first).reshape(shape), first.reshape(shape)

    n = len(sites)
    at = tuple(np.clip(np.round(sites).astype(int), 0, [height - 1, width - 1]).T)
    stone = color[at] * np.exp(rng.normal(0, 0.13, (n, 1))) * np.exp(rng.normal(0, 0.055, (n, 3)))
    swap = rng.random(n) < 0.10
    stone[swap] = color[at][rng.permutation(n)[swap]] * 0.5 + 0.5 * stone[swap]
    tilt = rng.normal(0, 0.17, (n, 2))
    y, x = fine[:, 0].reshape(shape), fine[:, 1].reshape(shape)
    vein = fbm(x / 4 + owner * 7.1, y / 4 + owner * 3.7, 300, 4, 0.7)
    chip = 0.8 * fbm(x / 3, y / 3, 310, 3, 0.6)
    stone_here = smoothstep(1.0, 2.3, gap + chip) * smoothstep(STONE * 0.74, STONE * 0.64, far)
    relief = 1.25 * smoothstep(0.6, 3.2, gap + chip) + 0.10 * vein + 0.35 * fbm(x, y, 320, 2)
    slope_y, slope_x = np.gradient(gaussian_filter(relief, 0.8), 0.5)
    normal = np.stack([-slope_x + tilt[owner, 0], -slope_y + tilt[owner, 1], np.full(shape, 1.6)], -1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    lamp = np.array([-0.50, -0.58, 0.64])
    diffuse = np.clip(normal @ lamp, 0, 1)
    shine = np.clip(normal @ np.array([-0.28, -0.32, 0.905]), 0, 1) ** 50
    surface = stone[owner] * (1 + 0.13 * vein[..., None]) * (0.42 + 1.08 * diffuse[..., None]) + 0.22 * shine[..., None]
    grout = (
        np.array([0.36, 0.32, 0.28])
        * (0.75 + 0.25 * fbm(x / 1.5, y / 1.5, 330, 3)[..., None])
        * (0.45 + 0.5 * smoothstep(0.0, 1.5, 1.6 - relief)[..., None])
    )
    picture = mix(grout, surface, stone_here[..., None]) * (1.04 - 0.16 * (x / width + y / height))[..., None]
    return np.clip(picture.reshape(height, 2, width, 2, 3).mean((1, 3)), 0, 1)
