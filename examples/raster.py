"""Triangles to pixels: a depth buffer, seen by a camera or by a distant lamp."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

Array = np.ndarray


class Mesh(NamedTuple):
    """Triangles [n, 3, 3]; for each a shading normal [n, 3], a colour [n, 3] and how much light passes through [n]."""

    triangles: Array
    normals: Array
    colors: Array
    translucency: Array


def mesh(
    triangles: ArrayLike,
    color: Array | tuple[float, float, float],
    translucency: float = 0.0,
    normals: Array | None = None,
) -> Mesh:
    """A mesh of one colour (or one per triangle); flat normals unless given."""
    triangles = np.asarray(triangles, np.float32).reshape(-1, 3, 3)
    if normals is None:
        normals = unit(np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]))
    n = len(triangles)
    return Mesh(
        triangles,
        np.broadcast_to(normals, (n, 3)).astype(np.float32),
        np.broadcast_to(np.asarray(color, np.float32), (n, 3)),
        np.full(n, translucency, np.float32),
    )


def join(meshes: list[Mesh]) -> Mesh:
    """All triangles of all meshes."""
    return Mesh(*(np.concatenate(parts) for parts in zip(*meshes, strict=True)))


def unit(v: Array) -> Array:
    """Vectors scaled to length 1."""
    return v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-9)


class Camera(NamedTuple):
    """A pinhole camera: `eye` [3], its axes [3, 3] (right, up, forward), focal length in pixels, (height, width)."""

    eye: Array
    axes: Array
    focal: float
    size: tuple[int, int]

    def rays(self) -> Array:
        """Directions [H, W, 3] with unit depth, not unit length."""
        height, width = self.size
        x = (np.arange(width) + 0.5 - width / 2) / self.focal
        y = (height / 2 - np.arange(height) - 0.5) / self.focal
        return (x[None, :, None] * self.axes[0] + y[:, None, None] * self.axes[1] + self.axes[2]).astype(np.float32)

    def project(self, points: Array) -> tuple[Array, Array]:
        """Pixel coordinates [..., 2] and a depth that is linear on the screen: -1 / distance, inf if too near."""
        view = (points - self.eye) @ self.axes.T
        depth = view[..., 2]
        safe = np.maximum(depth, 0.3)
        x = view[..., 0] / safe * self.focal + self.size[1] / 2
        y = self.size[0] / 2 - view[..., 1] / safe * self.focal
        return np.stack([x, y], -1), np.where(depth > 0.3, -1 / safe, np.inf)


def camera(eye: tuple[float, float, float], yaw: float, pitch: float, field: float, size: tuple[int, int]) -> Camera:
    """A level camera; angles in degrees, `field` is the horizontal field of view."""
    yaw, pitch = np.radians(yaw), np.radians(pitch)
    forward = np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
    right = np.array([np.cos(yaw), 0, -np.sin(yaw)])
    axes = np.stack([right, np.cross(forward, right), forward]).astype(np.float32)
    return Camera(np.array(eye, np.float32), axes, size[1] / 2 / np.tan(np.radians(field / 2)), size)


class Lamp(NamedTuple):
    """Parallel light: a square map of the side `extent` (metres) around `center`; the last axis points to the light."""

    center: Array
    axes: Array
    extent: float
    size: tuple[int, int]

    def project(self, points: Array) -> tuple[Array, Array]:
        """Map coordinates [..., 2] and the depth away from the light."""
        view = (points - self.center) @ self.axes.T
        return (view[..., :2] / self.extent + 0.5) * self.size[0], -view[..., 2]


def lamp(direction: Array, center: tuple[float, float, float], extent: float, size: int) -> Lamp:
    """The lamp that shines from `direction`."""
    side = unit(np.cross(direction, [0.3, 0.1, 1.0]))
    axes = np.stack([side, np.cross(direction, side), direction]).astype(np.float32)
    return Lamp(np.array(center, np.float32), axes, extent, (size, size))


def rasterize(view: Camera | Lamp, triangles: Array) -> tuple[Array, Array]:
    """The nearest triangle at every pixel.

    Returns:
        Index of the triangle [H, W], -1 where there is none, and its depth [H, W], inf where there is none.
    """
    height, width = view.size
    depth, index = np.full(height * width, np.inf, np.float32), np.full(height * width, -1, np.int64)
    screen, key = view.project(triangles)
    low = np.maximum(np.ceil(screen.min(1) - 0.5), 0)
    high = np.minimum(np.floor(screen.max(1) - 0.5), [width - 1, height - 1])
    seen = np.flatnonzero(np.isfinite(key).all(1) & (low <= high).all(1))
    span = (high - low)[seen].max(1) + 1
    # Triangles of like size are drawn together, as squares of side 1, 2, 4, ... pixels.
    bucket = np.ceil(np.log2(span)).astype(int)
    for power in np.unique(bucket):
        side = 2**power
        row, column = np.divmod(np.arange(side * side), side)
        members = seen[bucket == power]
        for part in np.array_split(members, len(members) * side * side // 3_000_000 + 1):
            x, y = low[part, :1] + column, low[part, 1:] + row
            a, b, c = (screen[part, k, None] for k in range(3))
            ab, ac = b - a, c - a
            area = ab[..., 0] * ac[..., 1] - ab[..., 1] * ac[..., 0]
            area = np.where(np.abs(area) < 1e-9, np.nan, area)  # no pixel is inside
            px, py = x + 0.5 - a[..., 0], y + 0.5 - a[..., 1]
            v = (px * ac[..., 1] - py * ac[..., 0]) / area
            w = (ab[..., 0] * py - ab[..., 1] * px) / area
            near = key[part, None, 0] * (1 - v - w) + key[part, None, 1] * v + key[part, None, 2] * w
            inside = (v >= 0) & (w >= 0) & (v + w <= 1) & (x <= high[part, :1]) & (y <= high[part, 1:])
            pixel = (y * width + x)[inside].astype(np.int64)
            value = near[inside].astype(np.float32)
            np.minimum.at(depth, pixel, value)
            won = value == depth[pixel]
            index[pixel[won]] = np.broadcast_to(part[:, None], inside.shape)[inside][won]
    return index.reshape(height, width), depth.reshape(height, width)


def shade(
    view: Lamp, depth: Array, points: Array, radius: float, bias: float, rng: np.random.Generator, taps: int = 8
) -> Array:
    """How much of a lamp of the given softness (`radius` in metres on its map) reaches the points [n, 3], 0..1."""
    place, key = view.project(points)
    light = np.zeros(len(points), np.float32)
    for tap in range(taps):
        angle = rng.uniform(0, 2 * np.pi, len(points)).astype(np.float32)
        reach = np.sqrt((tap + 0.5) / taps) * radius / view.extent * view.size[0]
        x = np.clip(place[:, 0] + reach * np.cos(angle), 0, view.size[1] - 1).astype(np.int64)
        y = np.clip(place[:, 1] + reach * np.sin(angle), 0, view.size[0] - 1).astype(np.int64)
        light += depth[y, x] > key - bias
    return light / taps
