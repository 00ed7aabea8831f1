"""What stands on the land and floats in the bay: lighthouse, houses, jetty, boats, gulls."""

from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from raster import Mesh, join, mesh

Array = np.ndarray
Point = tuple[float, float, float]
WHITE, RED, SLATE, WOOD, DARK = (
    (0.78, 0.75, 0.69),
    (0.52, 0.10, 0.06),
    (0.13, 0.14, 0.17),
    (0.22, 0.15, 0.095),
    (0.025, 0.028, 0.035),
)


def quads(corners: ArrayLike, color: Array | Point, translucency: float = 0.0) -> Mesh:
    """Quadrilaterals [n, 4, 3], each two triangles."""
    corners = np.asarray(corners, np.float32).reshape(-1, 4, 3)
    return mesh(
        np.concatenate([corners[:, [0, 1, 2]], corners[:, [0, 2, 3]]]),
        np.concatenate([np.broadcast_to(color, (len(corners), 3))] * 2),
        translucency,
    )


def place(part: Mesh, at: Point, yaw: float = 0.0) -> Mesh:
    """The mesh turned about the vertical (degrees) and moved."""
    c, s = np.cos(np.radians(yaw)), np.sin(np.radians(yaw))
    turn = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]], np.float32)
    return part._replace(triangles=part.triangles @ turn + np.array(at, np.float32), normals=part.normals @ turn)


def lathe(profile: list[tuple[float, float]], color: Point, sides: int = 48) -> Mesh:
    """A surface of revolution through (radius, height) pairs."""
    angle = np.linspace(0, 2 * np.pi, sides + 1)
    ring = np.stack([np.cos(angle), np.zeros_like(angle), np.sin(angle)], -1)
    rings = np.stack([ring * r + [0, h, 0] for r, h in profile])
    a, b, c, d = rings[:-1, :-1], rings[:-1, 1:], rings[1:, 1:], rings[1:, :-1]
    return quads(np.stack([a, d, c, b], -2), color)


def box(size: Point, color: Point) -> Mesh:
    """A box standing on the ground, centred."""
    x, y, z = size[0] / 2, size[1], size[2] / 2
    p = np.array([[i, j, k] for j in (0, y) for i, k in ((-x, -z), (x, -z), (x, z), (-x, z))])
    faces = [[0, 4, 5, 1], [1, 5, 6, 2], [2, 6, 7, 3], [3, 7, 4, 0], [4, 7, 6, 5]]
    return quads(p[np.array(faces)], color)


def beam(start: Point, stop: Point, width: float, color: Point) -> Mesh:
    """A thin square bar between two points."""
    a, b = np.array(start, float), np.array(stop, float)
    side = np.cross(b - a, [0.31, 0.11, 0.94])
    side *= width / 2 / np.linalg.norm(side)
    up = np.cross(b - a, side)
    up *= width / 2 / np.linalg.norm(up)
    ring = [side, up, -side, -up]
    return quads([[a + ring[k], b + ring[k], b + ring[k - 1], a + ring[k - 1]] for k in range(4)], color)


def lighthouse() -> Mesh:
    """A white tower with two red bands, a gallery, a lantern and a keeper's house."""

    def radius(h: float) -> float:
        return 2.6 - 0.075 * h - 0.35 * (1 - np.exp(-h / 2))

    marks = [0.0, 4.2, 8.0, 11.8, 15.6]
    parts = [
        lathe([(radius(h), h) for h in np.linspace(low, high, 5)], WHITE if k % 2 == 0 else RED)
        for k, (low, high) in enumerate(pairwise(marks))
    ]
    parts += [
        lathe([(1.2, 15.2), (2.0, 15.9), (2.0, 16.1), (0.2, 16.1)], SLATE),
        lathe([(1.05, 16.1), (1.05, 16.9)], WHITE),
        lathe([(1.0, 16.9), (1.0, 18.3)], (0.95, 0.78, 0.42)),
        lathe([(1.35, 18.3), (1.15, 18.8), (0.7, 19.4), (0.2, 19.8), (0.1, 20.8), (0.0, 20.9)], RED),
    ]
    for angle in np.linspace(0, 2 * np.pi, 16, endpoint=False):
        x, z = 1.9 * np.cos(angle), 1.9 * np.sin(angle)
        parts += [
            beam((x, 16.1, z), (x, 17.1, z), 0.09, SLATE),
            beam((x * 0.53, 16.9, z * 0.53), (x * 0.53, 18.3, z * 0.53), 0.12, SLATE),
        ]
    parts.append(lathe([(1.95, 17.05), (1.95, 17.15)], SLATE))
    for k, h in enumerate((3.0, 6.4, 9.8, 13.4)):
        parts.append(place(box((0.55, 1.0, 0.2), DARK), (0.25 * (k % 2), h, -radius(h) - 0.02)))
    parts.append(place(box((1.1, 2.2, 0.2), WOOD), (-0.4, 0, -2.62)))
    parts.append(place(house(np.random.default_rng(3), (7.5, 3.2, 5.0), WHITE, RED), (8.0, -0.3, 1.5), 12))
    return join(parts)


def house(rng: np.random.Generator, size: Point, wall: Point, roof: Point) -> Mesh:
    """A gabled house with windows, a door and a chimney; its ridge runs along x."""
    x, y, z = size[0] / 2, size[1], size[2] / 2
    top, over = y + z * rng.uniform(0.85, 1.15), 0.35
    parts = [place(box((size[0], size[1] + 3, size[2]), wall), (0, -3, 0))]
    parts.append(mesh([[(s * x, y, -s * z), (s * x, top, 0), (s * x, y, s * z)] for s in (-1, 1)], wall))
    drop = over * (top - y) / z
    slopes = [
        [
            (-x - over, y - drop, s * (z + over)),
            (-x - over, top, 0),
            (x + over, top, 0),
            (x + over, y - drop, s * (z + over)),
        ][::s]
        for s in (1, -1)
    ]
    parts.append(quads(slopes, roof))
    parts.append(quads(np.array(slopes) + np.array([0, 0.18, 0]), roof))
    parts.append(place(box((0.8, top + 0.9, 0.8), (0.30, 0.16, 0.11)), (rng.uniform(-0.6, 0.6) * x, 0, 0.5)))
    for floor in range(max(1, int(y // 2.6))):
        level = 1.0 + 2.6 * floor
        for along in np.arange(-x + 1.1, x - 0.8, 1.75):
            for side in (-1, 1):
                if floor == 0 and side < 0 and abs(along) < 0.9:
                    parts.append(
                        place(box((1.0, 2.1, 0.1), rng.choice([WOOD, RED, (0.07, 0.16, 0.20)])), (along, 0, side * z))
                    )
                    continue
                parts.append(place(box((1.06, 1.46, 0.08), WHITE), (along, level - 0.08, side * z)))
                parts.append(place(box((0.86, 1.26, 0.14), DARK), (along, level, side * z)))
        for along in (-0.5, 0.5):
            parts += [place(box((0.14, 1.26, 0.8), DARK), (s * x, level, along * z)) for s in (-1, 1)]
    return join(parts)


def boat(rng: np.random.Generator, length: float, hull: Point, sails: bool) -> Mesh:
    """A boat that points along x, afloat at height 0; with sails, or with oars shipped."""
    t = np.linspace(0, 1, 15)
    beam_width = 0.17 * length * np.sin(np.pi * np.clip(t * 0.86 + 0.14, 0, 1)) ** 0.7
    sheer = length * (0.085 + 0.10 * (2 * t - 0.85) ** 2)
    along = (t - 0.5) * length
    rim = np.stack([along, sheer, beam_width], -1)
    keel = np.stack([along * 0.92, np.full_like(t, -0.05 * length), beam_width * 0.35], -1)
    flip = np.array([1, 1, -1])
    parts = []
    for side in (1, -1):
        turn = np.array([1, 1, side])
        line = (keel + 0.72 * (rim - keel)) * turn
        parts.append(quads(np.stack([keel[:-1] * turn, line[:-1], line[1:], keel[1:] * turn], 1), hull))
        parts.append(quads(np.stack([line[:-1], (rim * turn)[:-1], (rim * turn)[1:], line[1:]], 1), WHITE))
    deck = rim * [1, 0.75, 0.96]
    parts.append(quads(np.stack([deck[:-1], deck[1:], (deck * flip)[1:], (deck * flip)[:-1]], 1), WOOD))
    if not sails:
        parts += [
            beam((x, 0.1 * length, -0.12 * length), (x, 0.1 * length, 0.12 * length), 0.25, (0.4, 0.3, 0.2))
            for x in (-0.2 * length, 0.1 * length)
        ]
        return join(parts)
    mast, foot = 1.25 * length, 0.17 * length
    parts += [
        beam((0.08 * length, 0, 0), (0.08 * length, mast, 0), 0.16, WOOD),
        beam((0.08 * length, foot, 0), (-0.44 * length, foot, 0.12 * length), 0.13, WOOD),
    ]
    for tip, low, bow in ((-0.43, foot + 0.15, 0.12), (0.5, 0.11 * length, 0.10)):
        u, v = np.meshgrid(np.linspace(0, 1, 9), np.linspace(0, 1, 9), indexing="ij")
        reach = (tip * length - 0.08 * length) * (1 - v) * u
        belly = bow * length * (np.sin(np.pi * u * 0.8) * 0.8 + 0.4 * u) * (1 - v) ** 0.6
        grid = np.stack([0.08 * length + reach, low + (mast * (0.96 if tip < 0 else 0.86) - low) * v, belly], -1)
        cells = np.stack([grid[:-1, :-1], grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:]], -2)
        parts.append(quads(cells, (0.80, 0.72, 0.58) if tip < 0 else (0.62, 0.24, 0.13), 0.55))
    parts.append(place(box((0.22 * length, 0.13 * length, 0.16 * length), WHITE), (-0.2 * length, 0.08 * length, 0)))
    return join(parts)


def jetty(length: float) -> Mesh:
    """A plank walk on posts that runs along x, its deck at height 1.3."""
    parts = []
    for x in np.arange(0, length, 0.45):
        shade = 0.8 + 0.4 * np.random.default_rng([int(x * 100), 5]).random()
        parts.append(place(box((0.40, 0.12, 2.2), tuple(np.array([0.33, 0.25, 0.17]) * shade)), (x, 1.25, 0)))
    for x in np.arange(0, length + 0.1, 3.0):
        parts += [beam((x, -1.5, s), (x, 2.1, s), 0.26, WOOD) for s in (-1.1, 1.1)]
    return join(parts)


def gulls(rng: np.random.Generator, count: int, center: Point, spread: float) -> Mesh:
    """White birds on spread wings."""
    parts = []
    for _ in range(count):
        lift, body = rng.uniform(0.05, 0.35), rng.normal(size=3) * spread * [1, 0.35, 1] + center
        wings = [[(0.16, 0, 0), (-0.16, 0, 0), (0.0, lift, s * 0.55)] for s in (-1, 1)]
        tips = [[(0.0, lift, s * 0.55), (-0.13, lift * 0.5, s * 0.4), (-0.10, lift * 0.8, s * 1.0)] for s in (-1, 1)]
        parts.append(place(mesh(wings + tips, (0.85, 0.85, 0.85), 0.3), tuple(body), rng.uniform(0, 360)))
    return join(parts)
