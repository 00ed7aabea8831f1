"""A harbour in evening light: the scene put together, lit, mirrored in the water and exposed."""

from typing import NamedTuple

import numpy as np

import harbour
import plants
from light import Light, develop, hazy, water
from noise import fbm, mix
from raster import Camera, Mesh, camera, join, lamp, rasterize, unit
from sky import make_sky, sun_at
from terrain import Terrain

Array = np.ndarray


class Setting(NamedTuple):
    """Where the painter stands, when, and in what weather."""

    seed: int = 5
    eye: tuple[float, float, float] = (0.0, 9.6, -1.0)
    yaw: float = 1.0
    pitch: float = -3.0
    field: float = 55.0
    sun: tuple[float, float] = (-108.0, 17.0)
    cover: float = 0.38
    haze: float = 0.8
    exposure: float = 1.1
    size: tuple[int, int] = (512, 768)


def _on_ground(land: Terrain, x: Array | float, z: Array | float) -> Array:
    return np.stack([np.asarray(x), land.height(x, z), np.asarray(z)], -1)


def _meadow(land: Terrain, rng: np.random.Generator, eye: Array) -> tuple[Mesh, Mesh]:
    """Grass and flowers on the near bank, thinner with distance."""
    n = 150_000
    distance, angle = 1.5 + 40 * rng.random(n) ** 1.7, np.radians(rng.uniform(-38, 38, n))
    x, z = eye[0] + distance * np.sin(angle), eye[2] + distance * np.cos(angle)
    base = _on_ground(land, x, z)
    off_path = np.abs(x - land.path(z)) > 0.9 + rng.random(n) * 0.8
    base = base[(base[:, 1] > 0.9) & off_path]
    up = land.normal(base[:, 0], base[:, 2], np.full(len(base), 0.5, np.float32))
    tall = np.clip(0.5 + 0.6 * fbm(base[:, 0] / 3, base[:, 2] / 3, land.seed + 60, 3), 0.35, 1)
    dry = 0.30 + 0.40 * fbm(base[:, 0] / 2.2, base[:, 2] / 2.2, land.seed + 65, 3)
    blades = plants.grass(rng, base, tall * rng.uniform(0.16, 0.55, len(base)), up, dry)
    patches = fbm(base[:, 0] / 4, base[:, 2] / 4, land.seed + 70, 3) + rng.normal(size=len(base)) * 0.12
    chosen = base[(patches > 0.30) & (rng.random(len(base)) < 0.10)]
    red, coral, yellow, white, violet = (
        (0.62, 0.05, 0.03),
        (0.7, 0.1, 0.05),
        (0.72, 0.55, 0.08),
        (0.75, 0.72, 0.68),
        (0.32, 0.18, 0.5),
    )
    palette = np.array([red, coral, yellow, white, violet])
    color = palette[rng.choice(5, len(chosen), p=[0.4, 0.2, 0.15, 0.15, 0.1])]
    return blades, plants.flowers(rng, chosen, rng.uniform(0.25, 0.6, len(chosen)), color)


def _woods(land: Terrain, rng: np.random.Generator) -> list[Mesh]:
    """Trees on the far shore and the headland, a framing tree and bushes on the bank."""
    parts = []
    green, dark = np.array([0.12, 0.15, 0.035]), np.array([0.035, 0.062, 0.034])
    x, z = rng.uniform(-330, 160, 2600), rng.uniform(196, 520, 2600)
    base = _on_ground(land, x, z)
    stand = fbm(x / 45, z / 45, land.seed + 80, 3)
    for point, thick in zip(base, stand, strict=True):
        village = -78 < point[0] < -8 and point[2] < 246
        if point[1] < 2.2 or abs(point[0]) > point[2] * 0.62 or thick < (0.5 if village else -0.15):
            continue
        if rng.random() < 0.4:
            parts.append(plants.conifer(rng, point, rng.uniform(7, 13), 260, 0.55, dark * rng.uniform(0.8, 1.3)))
        else:
            tint = mix(green, (0.20, 0.16, 0.03), rng.random() ** 2)
            parts.append(plants.broadleaf(rng, point, rng.uniform(6, 10), 260, 0.6, tint * rng.uniform(0.6, 1.1)))
    for x1, z1 in ((52, 118), (56, 124), (61, 121), (66, 128), (70, 119), (49, 126), (75, 126), (64, 114), (80, 120)):
        point = _on_ground(land, x1, z1)
        parts.append(plants.conifer(rng, point, rng.uniform(8, 12), 1500, 0.30, dark * 1.2))
    for _ in range(70):
        point = _on_ground(land, rng.uniform(28, 80), rng.uniform(98, 140))
        if point[1] > 6.5:
            parts.append(plants.bush(rng, point, rng.uniform(0.6, 1.6), 160, 0.22, green * rng.uniform(0.6, 1.2)))
    big = _on_ground(land, -12.2, 23.0)
    parts.append(plants.broadleaf(rng, big, 12.5, 34_000, 0.13, np.array([0.19, 0.20, 0.045])))
    # A tree beside the painter, out of the picture, lays its shadow over the foreground.
    beside = _on_ground(land, -11.5, 3.5)
    parts.append(plants.broadleaf(rng, beside, 9.0, 6000, 0.2, green))
    for _ in range(26):
        point = _on_ground(land, rng.uniform(-26, -5), rng.uniform(20, 40))
        if point[1] > 1.2:
            parts.append(plants.bush(rng, point, rng.uniform(0.4, 1.1), 1500, 0.08, green * rng.uniform(0.7, 1.2)))
    return parts


def _buildings(land: Terrain, rng: np.random.Generator) -> list[Mesh]:
    def ground(x: float, z: float) -> float:
        return float(land.height(x, z))

    parts = [harbour.place(harbour.lighthouse(), (35.5, ground(35.5, 124) - 0.3, 124), 0)]
    walls = [(0.78, 0.73, 0.65), (0.72, 0.55, 0.33), (0.66, 0.36, 0.26), (0.75, 0.68, 0.5), (0.45, 0.52, 0.56)]
    roofs = [(0.40, 0.13, 0.07), (0.34, 0.15, 0.09), harbour.SLATE, (0.45, 0.18, 0.09)]
    for k in range(15):
        x = -74 + 4.6 * k + rng.uniform(-1, 1)
        z = 200.0
        while ground(x, z) < 2.0 and z < 260:
            z += 1.0
        z += rng.uniform(1, 4) + 9 * (k % 3 == 1)
        size = (rng.uniform(6, 9), rng.choice([3.2, 5.6, 5.6]), rng.uniform(5, 6.5))
        cottage = harbour.house(rng, size, walls[rng.integers(5)], roofs[rng.integers(4)])
        parts.append(harbour.place(cottage, (x, ground(x, z) - 0.4, z), rng.choice([0, 90]) + rng.uniform(-15, 15)))
    church = [
        harbour.place(harbour.house(rng, (13, 6.5, 7), walls[0], harbour.SLATE), (0, 0, 0), 8),
        harbour.place(harbour.box((3.6, 13, 3.6), walls[0]), (-7.5, -1, 0), 8),
        harbour.place(harbour.lathe([(2.7, 0), (0, 8.5)], harbour.SLATE, 4), (-7.5, 12, 0), 53),
    ]
    parts.append(harbour.place(join(church), (-43, ground(-43, 246), 246)))
    parts.append(harbour.place(harbour.jetty(16), (-8.5, 0, 57), -24))
    for x, z, length, yaw, hull, sails in (
        (-6.0, 84.0, 9.0, 22, (0.09, 0.16, 0.24), True),
        (-52.0, 172.0, 8.0, 150, (0.5, 0.1, 0.07), True),
        (-30.0, 165.0, 7.0, 10, (0.1, 0.22, 0.2), True),
        (2.2, 60.0, 4.6, -14, (0.16, 0.28, 0.32), False),
        (9.5, 47.0, 4.2, 30, (0.50, 0.12, 0.07), False),
        (72.0, 330.0, 10.0, 160, (0.6, 0.6, 0.6), True),
    ):
        parts.append(harbour.place(harbour.boat(rng, length, hull, sails), (x, 0, z), yaw))
    parts.append(harbour.gulls(rng, 9, (14.0, 17.0, 80.0), 9.0))
    for z in np.arange(4.0, 26.0, 2.1):
        x = float(land.path(z)) + 1.7
        low, lean = ground(x, z), rng.normal(size=2) * 0.06
        parts.append(harbour.beam((x, low - 0.3, z), (x + lean[0], low + 1.0, z + lean[1]), 0.13, (0.26, 0.20, 0.15)))
    return parts


def _surface(
    view: Camera, land: Terrain, parts: Mesh, ground_count: int, rays: Array, flip: Array
) -> tuple[Array, ...]:
    """What each pixel sees: hit mask [H, W], then points, normals, colours, translucency and depth of the hits.

    `flip` [3] is 1, or 1, -1, 1 to see the scene upside down, as a mirror of water does.
    """
    index, depth = rasterize(view, parts.triangles * flip)
    hit = index >= 0
    which, along = index[hit], -1 / depth[hit]
    points = (view.eye + rays[hit] * along[:, None]) * flip
    normals, colors = parts.normals[which], parts.colors[which]
    facing = np.sign((normals * -rays[hit] * flip).sum(-1, keepdims=True))
    ground = which < ground_count
    normals = np.where((parts.translucency[which] > 0.2)[:, None], normals, normals * facing)
    p = points[ground]
    normals[ground] = land.normal(p[:, 0], p[:, 2], 0.05 + 0.002 * along[ground])
    colors = colors * (0.92 + 0.16 * fbm(points[:, 0] * 2 + points[:, 2], points[:, 1] * 3, 900, 4, 0.7)[:, None])
    colors[ground] = land.ground(p, normals[ground])
    return hit, points, normals, colors, parts.translucency[which], along


def render(setting: Setting) -> Array:
    """The scene as a picture.

    Returns:
        float32 [H, W, 3], sRGB in 0..1.
    """
    height, width = setting.size[0] * 2, setting.size[1] * 2
    rng = np.random.default_rng([setting.seed, 2])
    land = Terrain(setting.seed)
    sun, sunlight = sun_at(*setting.sun)
    view = camera(setting.eye, setting.yaw, setting.pitch, setting.field, (height, width))
    rays = view.rays()
    ground = land.mesh(view.eye, setting.yaw, setting.field / 2 + 6, int(width * 0.9), int(height * 1.1))
    solid = join(_woods(land, rng) + _buildings(land, rng))
    blades, blooms = _meadow(land, rng, view.eye)
    maps = []
    for direction, extent, size in ((sun, 420.0, 4096), (np.array([0.02, 1, 0.03]), 420.0, 2048)):
        lamp_view = lamp(unit(direction), (-40.0, 5.0, 150.0), extent, size)
        maps.append((lamp_view, rasterize(lamp_view, solid.triangles)[1]))
    light = Light(sun, sunlight, make_sky(sun, sunlight, setting.cover, setting.seed), tuple(maps))

    def seen(parts: Mesh, flip: Array) -> tuple[Array, Array]:
        hit, points, normals, colors, soft, along = _surface(view, land, parts, len(ground.triangles), rays, flip)
        picture, distance = light.sky.look(unit(rays * flip)), np.full(hit.shape, np.inf)
        color = light.on(land, points, normals, colors, soft, rng)
        picture[hit], distance[hit] = hazy(color, rays[hit] * flip, along, light, setting.haze), along
        return picture, distance

    picture, distance = seen(join([ground, solid, blades, blooms]), np.array([1.0, 1.0, 1.0]))
    mirrored, _ = seen(join([ground, solid]), np.array([1.0, -1.0, 1.0]))
    picture = water(picture, distance, mirrored, view, rays, light, setting.seed, setting.haze)
    return develop(picture, setting.exposure)
