"""Write the photo set by which `convert_vgg.py` scales VGG channels: our own views and heaps, 256 x 256."""

from pathlib import Path

import numpy as np
from PIL import Image

from light import srgb
from scene import Setting, render
from still import Heap, heap_picture

FOLDER = Path(__file__).resolve().parents[1] / "wct_jax" / "convert" / "photos"
SIDE = 256
LEAF, MOSS, EARTH, BARK = (0.10, 0.17, 0.035), (0.22, 0.26, 0.06), (0.24, 0.16, 0.09), (0.09, 0.065, 0.045)
SAND, STONE, SLATE, SNOW = (0.50, 0.40, 0.27), (0.30, 0.29, 0.27), (0.10, 0.12, 0.15), (0.80, 0.80, 0.78)
SKY, SEA, COAL, SKIN = (0.30, 0.46, 0.70), (0.06, 0.16, 0.24), (0.02, 0.02, 0.022), (0.55, 0.33, 0.22)
RED, GOLD, ROSE, PLUM = (0.55, 0.04, 0.03), (0.70, 0.40, 0.04), (0.65, 0.30, 0.30), (0.16, 0.06, 0.16)

HEAPS = {
    "foliage": Heap(1, (LEAF, MOSS, LEAF, BARK, GOLD), 2500, longish=2.4, largest=0.3, texture=0.3, exposure=0.6),
    "pebbles": Heap(2, (STONE, SAND, SLATE, EARTH, SNOW), 1500, largest=0.4, texture=0.4, longish=1.3, smallest=0.03),
    "sweets": Heap(3, (RED, GOLD, MOSS, ROSE, PLUM, EARTH), 1000, largest=0.4, gloss=0.45, texture=0.25, smallest=0.05),
    "blocks": Heap(
        4,
        (SAND, SNOW, SKIN, SLATE, SKY, COAL, RED),
        900,
        corners=True,
        longish=1.9,
        largest=0.7,
        smallest=0.04,
        exposure=1.6,
    ),
    "berries": Heap(
        5, (LEAF, BARK, SAND, STONE, RED), 500, largest=0.8, defocus=0.025, focus=0.97, texture=0.5, smallest=0.08
    ),
    "beans": Heap(6, (SKIN, EARTH, RED, COAL, ROSE), 300, largest=1.0, texture=0.35, smallest=0.10, exposure=0.7),
    "splinters": Heap(7, (EARTH, SAND, BARK, BARK, SNOW), 1500, longish=4.0, largest=0.6, texture=0.6),
    "shells": Heap(
        8,
        (SEA, SKY, SNOW, STONE, SAND),
        1000,
        longish=3.0,
        largest=1.0,
        texture=0.4,
        defocus=0.01,
        smallest=0.03,
        exposure=1.3,
    ),
    "scraps": Heap(
        9,
        (COAL, STONE, EARTH, SLATE, RED, SNOW),
        900,
        corners=True,
        longish=2.4,
        largest=0.8,
        smallest=0.04,
        exposure=0.7,
    ),
    "cushions": Heap(
        10,
        (PLUM, EARTH, GOLD, RED, COAL),
        220,
        corners=True,
        longish=1.7,
        largest=1.2,
        smallest=0.15,
        texture=0.3,
        defocus=0.02,
        focus=0.9,
        exposure=0.35,
    ),
}
VIEWS = {
    "lighthouse": Setting(5, yaw=14, pitch=1.5, field=22, exposure=0.75),
    "village": Setting(6, yaw=-11, pitch=0.5, field=17, sun=(-130, 32), cover=0.5, exposure=0.6, haze=0.5),
    "meadow": Setting(7, yaw=-8, pitch=-24, field=34, sun=(-100, 40), exposure=0.5),
    "tree": Setting(8, yaw=-26, pitch=7, field=36, sun=(-140, 35), exposure=0.7, haze=0.5),
    "dusk": Setting(9, yaw=4, field=48, sun=(-24, 6), cover=0.45, exposure=0.7),
    "cliffs": Setting(10, eye=(14, 3.0, 62), yaw=22, pitch=2, field=44, sun=(-120, 50), cover=0.6, exposure=0.5),
}


def _expose(light: np.ndarray, seed: int) -> np.ndarray:
    """Linear light to sRGB in 0..1 through a soft shoulder, with a sensor's noise."""
    noisy = light + np.random.default_rng([seed, 6]).normal(size=light.shape) * np.sqrt(light * 1e-4 + 1e-6)
    return srgb(np.clip(1 - np.exp(-1.5 * np.maximum(noisy, 0)), 0, 1))


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    pictures = {name: render(view._replace(size=(SIDE, SIDE))) for name, view in VIEWS.items()}
    pictures |= {name: _expose(heap_picture(heap, SIDE), heap.seed) for name, heap in HEAPS.items()}
    for name, picture in pictures.items():
        Image.fromarray(np.uint8(np.round(picture * 255))).save(FOLDER / f"{name}.jpg", quality=84)


if __name__ == "__main__":
    main()
