"""The painting of one image, by the cascade or in one pass."""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from wct_jax.checks.arguments import as_number, check_progress, is_traced
from wct_jax.checks.arrays import as_image
from wct_jax.kernels.canvas import as_array, cut_out, lay_out
from wct_jax.kernels.compilation import compiled
from wct_jax.networks.model import Model
from wct_jax.painting.cascade import cascade
from wct_jax.painting.guides import Guides
from wct_jax.painting.margin import narrow, surround, widen
from wct_jax.painting.one_pass import one_pass
from wct_jax.painting.options import Options
from wct_jax.painting.plan import Plan, Settings, make_plan
from wct_jax.painting.regions import guide
from wct_jax.painting.strength import between, blend
from wct_jax.painting.style import Style
from wct_jax.transform.mesh import has_rows_apart, on_any_mesh
from wct_jax.transform.statistics import Moments


def stylize(
    model: Model,
    content: ArrayLike,
    style: Style | Sequence[Style | None],
    alpha: ArrayLike | Sequence[ArrayLike] = 1.0,
    *,
    method: str | None = None,
    structure: ArrayLike | Sequence[ArrayLike] = 0.0,
    structure_map: ArrayLike | None = None,
    strength: ArrayLike = 1.0,
    layers: Sequence[str] | None = None,
    eps: float = 1e-6,
    shrinkage: float = 0.0,
    content_weights: ArrayLike | None = None,
    mask: Sequence[ArrayLike] = (),
    alpha_map: ArrayLike | None = None,
    transform: str = "zca",
    swap_layers: Sequence[str] = (),
    patch: int = 3,
    stride: int = 1,
    passes: int = 1,
    margin: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Array:
    """Repaint an image in a style, by the cascade or in one pass, deepest layer first.

    The cascade encodes the image, transforms its feature and decodes it again at each layer: Li et al., NIPS 2017,
    section 3.3. One pass encodes once and transforms the feature at each layer on the way back, see
    `wct_jax.painting.one_pass`.

    A pure function that can be jitted, vmapped and differentiated. Called directly, it compiles itself for a few canvas
    sizes and lays the image on the next larger one (`wct_jax.kernels.canvas`); the sizes used last are kept
    (`wct_jax.kernels.compilation`).

    >>> model = load_model("compact")
    >>> photo = np.linspace(0, 1, 32 * 48 * 3, dtype=np.float32).reshape(32, 48, 3)
    >>> style = extract_style(model, photo[::-1] ** 2, "relu1_1")
    >>> stylize(model, photo, style, strength=0.8).shape
    (32, 48, 3)

    Args:
        model: Encoder, decoders and painter.
        content: Image `[..., H, W, 3]`, RGB in 0..1, floating point of 16 to 64 bits.
        style: A style that `extract_style` made with the same encoder. With masks a sequence: a style for each mask,
            or None where the image is to stay, and optionally one more for the pixels that no mask covers, which stay
            otherwise.
        alpha: The paper's blend of features in 0..1: a scalar, or one for each of `layers` in their order. At 0 the
            decoders only rebuild the photo; see `strength`.
        method: "cascade" or "one-pass"; None for one pass if the model has a painter that reaches `layers`, and the
            cascade if not.
        structure: Share of the photo's own features in one pass, 0..1: from 0, painted, to 1, the photo with other
            colours. A scalar, or one for each of `layers`; the deepest layer's has no effect.
        structure_map: Factor of `structure` at each pixel, 0..1 or bool, broadcasting to `[..., H, W]`.
        strength: Share of the change that is made, evenly, in 0..1: a scalar or broadcasting to `[..., H, W]`. Where it
            is 0 the photo stays to the bit.
        layers: Layers to use, in any order; None for all that model and style have.
        eps: Relative cut of the spectra in 0..1, see `wct`.
        shrinkage: Shrinkage of the covariances in 0..1, see `wct_jax.transform.statistics.shrink`.
        content_weights: Weight of each pixel in the content's statistics, 0..1 or bool, broadcasting to `[..., H, W]`.
        mask: Share of each pixel in each region, 0..1 or bool, each broadcasting to `[..., H, W]`. A region is whitened
            by its own statistics. Where masks add up to more than 1 they share the pixel.
        alpha_map: Factor of `alpha` at each pixel, 0..1 or bool, broadcasting to `[..., H, W]`.
        transform: "zca" (the paper's), "ot" (optimal transport), "cholesky" (triangular) or "adain" (mean and variance
            of each channel), see `wct_jax.transform.maps`.
        swap_layers: Layers at which the whitened feature is rebuilt of the style's patches, see
            `wct_jax.transform.swap.style_swap`; `extract_style` needs them, too.
        patch: Side of these patches, in pixels of the feature.
        stride: Step from patch to patch, at most `patch`.
        passes: Rounds, each on the result of the last.
        margin: Mirrored pixels painted on each side and cut off, so that the border is painted like the middle
            (`wct_jax.painting.margin`); 16 are enough.
        progress: Function called with each layer before it runs; not called while JAX is tracing.

    Returns:
        `[..., H, W, 3]`, the size and dtype of the content, not clipped to 0..1.

    Raises:
        ValueError: The model has no painter, a layer has no decoder or no statistics, a style was made with
            another encoder, masks and styles differ in number, or an argument has a wrong name, number, shape or dtype.
            Values are checked in Python's numbers and NumPy's arrays, not in JAX's arrays, which would have to be
            waited for.
    """
    check_progress(progress)
    image = as_array(as_image("content", content))
    options = Options(
        method=method,
        layers=layers,  # type: ignore[arg-type]
        transform=transform,
        swap_layers=swap_layers,  # type: ignore[arg-type]
        patch=patch,
        stride=stride,
        passes=passes,
        margin=margin,
    )
    eps, shrinkage = as_number("eps", eps, 0, 1), as_number("shrinkage", shrinkage, 0, 1)
    given = Guides(content_weights, alpha_map=alpha_map, structure=structure_map, strength=strength)
    styles, guides = guide(style, mask, given, image.shape, image.dtype)
    plan = make_plan(model, styles, options, Settings(alpha, eps, structure, shrinkage))
    if not options.margin:
        return paint(image, plan, guides, progress)
    guides = surround(guides, image.shape[-3:-1], options.margin)
    wide = as_array(widen(image, options.margin))
    return narrow(paint(wide, plan, guides, progress), options.margin)


def paint(content: Array, plan: Plan, guides: Guides, progress: Callable[[str], None] | None = None) -> Array:
    """Paint an image as planned, on a canvas where that spares compiling.

    Args:
        content: `[..., H, W, 3]`.
        plan: Model, styles and levels.
        guides: Guides of the image, not on a canvas.
        progress: Function called with each layer before it runs.

    Returns:
        `[..., H, W, 3]` in the dtype of the content.
    """
    if guides.weights is not None:
        guides = dataclasses.replace(guides, weights=as_array(guides.weights))
    if has_rows_apart(content):

        def on_mesh(content: Array, plan: Plan, guides: Guides) -> Array:
            return paint_frame(content, plan, guides, progress)[0]

        return on_any_mesh(on_mesh, lambda lead, pixels: pixels, content, plan, guides)
    return paint_frame(content, plan, guides, progress)[0]


def paint_frame(
    content: Array, plan: Plan, guides: Guides, progress: Callable[[str], None] | None = None
) -> tuple[Array, list[list[Moments]]]:
    """Paint one frame of a film, or some of its frames together; see `wct_jax.painting.memory`.

    Args:
        content: `[..., H, W, 3]`, on one device.
        plan: Model, styles, and levels with their memories.
        guides: Guides of the image, not on a canvas.
        progress: Function called with each layer before it runs.

    Returns:
        `[..., H, W, 3]` in the dtype of the content, and the moments of each region by which each level whitened.
    """
    # Within jit a constant is traced, too.
    traced = any(map(is_traced, jax.tree.leaves((content, plan, guides, lax.full((), 0)))))
    photo, weights, size = lay_out(content, guides.weights)
    if isinstance(guides.structure, np.ndarray) and not guides.structure.any():
        # None of the photo's own features is asked for, which spares computing and mixing them.
        levels = [dataclasses.replace(level, structure=None) for level in plan.levels]
        plan, guides = dataclasses.replace(plan, levels=levels), dataclasses.replace(guides, structure=None)
    strength = None if guides.strength is None else between(guides.strength)
    of_levels = dataclasses.replace(guides, rest=None, strength=strength)
    guides, of_levels = (each.on_canvas(weights, size, photo) for each in (guides, of_levels))

    def begin(layer: str, before: Array) -> None:
        if progress and not traced:
            before.block_until_ready()
            progress(layer)

    image, used = (one_pass if plan.method == "one-pass" else cascade)(photo, plan, of_levels, begin)
    if guides.rest is not None:
        image = _leave(image, photo, guides.rest)
    if guides.strength is not None:
        image = blend(photo, image, guides.strength)
    return cut_out(image, content.shape[-3:-1]), used


@compiled()
def _leave(image: Array, photo: Array, rest: Array) -> Array:
    rest = rest[..., None].astype(image.dtype)
    return rest * photo + (1 - rest) * image
