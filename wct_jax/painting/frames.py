"""The painting of a film, frame by frame, by statistics that do not jump."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jax import Array
from jax.typing import ArrayLike

from wct_jax.checks.arrays import as_image
from wct_jax.kernels.canvas import as_array
from wct_jax.networks.model import Model
from wct_jax.painting.guides import Guides
from wct_jax.painting.margin import narrow, surround, widen
from wct_jax.painting.memory import Memory
from wct_jax.painting.options import Options
from wct_jax.painting.plan import Settings, make_plan
from wct_jax.painting.regions import guide
from wct_jax.painting.style import Style
from wct_jax.painting.stylization import paint_frame
from wct_jax.transform.statistics import Moments

Statistics = Sequence[Sequence[Moments]]
"""For each level of all passes, in the order they run, the moments of each region."""


def stylize_frame(
    model: Model,
    frame: ArrayLike,
    style: Style | Sequence[Style | None],
    options: Options = Options(),
    *,
    known: Statistics | None = None,
    kept: float | None = None,
    mask: Sequence[ArrayLike] = (),
    content_weights: ArrayLike | None = None,
    alpha_map: ArrayLike | None = None,
    structure_map: ArrayLike | None = None,
    strength: ArrayLike | None = None,
) -> tuple[Array, Statistics]:
    """Repaint a frame of a film as `stylize` does, by its own statistics and those of other frames.

    Statistics that jump from frame to frame make a film flicker. Without `known` a frame is painted by its own, or some
    frames of a shot together, `[N, H, W, 3]`, by those of all: these can then be the `known` ones of the whole shot.
    With `kept` they are a moving average: a share `kept` of what the frame before was painted by, and the frame's own.

    >>> model = load_model("compact")
    >>> shot = np.linspace(0, 1, 4 * 32 * 48 * 3, dtype=np.float32).reshape(4, 32, 48, 3)
    >>> style = extract_style(model, shot[0, ::-1] ** 2)
    >>> _, known = stylize_frame(model, shot[::2], style)
    >>> stylize_frame(model, shot[1], style, known=known)[0].shape
    (32, 48, 3)

    Args:
        model: Encoder, decoders and painter.
        frame: `[H, W, 3]`, RGB in 0..1, floating point; or `[N, H, W, 3]` to find the statistics of a shot.
        style: A style, or one for each mask, as for `stylize`.
        options: Options; the sizes, `preserve_color` and `photo` are not used.
        known: What this function returned with another frame of the same size; None for none.
        kept: Weight in 0..1 of the pixels in `known`; None to paint by `known` alone.
        mask: As for `stylize`.
        content_weights: As for `stylize`.
        alpha_map: As for `stylize`.
        structure_map: As for `stylize`.
        strength: As for `stylize`; None for that of the options.

    Returns:
        `[H, W, 3]` or `[N, H, W, 3]`, not clipped to 0..1, and the statistics that it was painted by.

    Raises:
        ValueError: As `stylize`.
    """
    image = as_array(as_image("frame", frame))
    strength = options.strength if strength is None else strength
    given = Guides(content_weights, alpha_map=alpha_map, structure=structure_map, strength=strength)
    styles, guides = guide(style, mask, given, image.shape, image.dtype)
    settings = Settings(options.alpha, options.eps, options.structure, options.shrinkage)
    plan = make_plan(model, styles, options, settings)
    if known is not None:
        weight = None if kept is None else as_array(np.float32(kept).item())
        plan = dataclasses.replace(plan, memories=[Memory(list(each), weight) for each in known])
    elif image.ndim > 3:
        plan = dataclasses.replace(plan, memories=[Memory()] * plan.passes * len(plan.levels))
    if not options.margin:
        return paint_frame(image, plan, guides)
    guides = surround(guides, image.shape[-3:-1], options.margin)
    wide, used = paint_frame(as_array(widen(image, options.margin)), plan, guides)
    return narrow(wide, options.margin), used
