"""Photos repainted by the methods that ours are compared with, see `wct_jax.baselines`."""

import functools
from types import ModuleType
from typing import Any

import numpy as np

from wct_jax.networks.model import Model
from wct_jax.painting.options import Options
from wct_jax.painting.style import Style, layers_of
from wct_jax.pictures.picture import Picture
from wct_jax.studio.limits import Limits
from wct_jax.studio.progress import Progress
from wct_jax.studio.reader import Reader
from wct_jax.studio.request import Look
from wct_jax.studio.sources import name_of


@functools.cache
def _gatys() -> ModuleType:
    """The method of Gatys et al.

    Raises:
        ValueError: Optax is not installed.
    """
    try:
        from wct_jax.baselines import gatys
    except ModuleNotFoundError as error:
        if error.name != "optax":
            raise
        raise ValueError('`method` gatys needs Optax: pip install "wct_jax[train]"') from None
    return gatys


def layers_compared(model: Model, options: Options) -> tuple[str, ...] | None:
    """The layers of a style that a baseline takes; None if it takes none."""
    return layers_of(model, options.layers or _gatys().style_layers(model)) if options.method == "gatys" else None


def patches_of(look: Look, reader: Reader, options: Options) -> np.ndarray:
    """The picture whose patches are taken, `[H, W, 3]`.

    Raises:
        ValueError: It cannot be read, or the style is none of a picture.
    """
    source: Any = look.files[0]
    name = name_of(source)
    if isinstance(source, Style) or name.endswith(".safetensors"):
        raise ValueError(f"`method` elad-milanfar takes the patches of a picture, got a style without them, {name}")
    picture = reader.picture(source, options.style_size)
    if picture.alpha is not None and not picture.alpha.all():
        raise ValueError(f"{name} is transparent in part: `method` elad-milanfar takes the patches of a whole picture")
    return picture.pixels


def paint_compared(
    model: Model, photo: Picture, style: Style | np.ndarray, options: Options, limits: Limits, report: Progress
) -> np.ndarray:
    """Repaint a photo by a baseline, `[H, W, 3]`.

    Args:
        model: The model, of which gatys takes the encoder.
        photo: The photo.
        style: The style, or the picture of `patches_of`.
        options: Options with the method, and the layers of `layers_compared`.
        limits: The memory that there is.
        report: Told the progress.

    Raises:
        ValueError: There is too little memory.
    """
    name, sides = options.method, photo.pixels.shape[:2]
    if name == "gatys":
        gatys = _gatys()
        limits.check_whole(sides, f"`method` {name}", gatys.bytes_per_pixel(model))
        steps = options.steps or gatys.STEPS
        report("gatys", 0, steps)
        more: dict[str, Any] = {"layers": options.layers, "steps": steps}
        return gatys.paint_gatys(model, photo.pixels, style, progress=lambda n, _: report(name, n, steps), **more)
    from wct_jax.baselines.elad_milanfar import BYTES_PER_PIXEL, paint_elad_milanfar

    assert isinstance(style, np.ndarray)
    limits.check_whole(sides, f"`method` {name}", BYTES_PER_PIXEL)
    return paint_elad_milanfar(photo.pixels, style, progress=lambda done, total: report("patches", done, total))
