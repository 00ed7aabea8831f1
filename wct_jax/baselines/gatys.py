"""Gatys, Ecker and Bethge, "Image Style Transfer Using Convolutional Neural Networks", CVPR 2016: the image optimised.

The image x starts as the photo or as noise and descends on α L_content + β L_style (equation 7) + γ L_tv, where F and P
are the features of x and of the photo at one layer, and G and A the Gram matrices of x and of the style at several:

- L_content = ‖F - P‖² / ‖P - mean P‖²: equation 1, over the photo's own variance;
- L_style = mean over layers of ‖G - A‖² / ‖A‖²: equations 4 and 5. The paper leaves the layers' weights open. These let
  no layer drown the others, and with them the same α and β serve encoders of any scale and images of any size;
- L_tv: the mean squared difference of neighbouring pixels, which the paper does not have.

Section 2.3 descends by L-BFGS; Adam is the other choice. Two things differ from the paper: the encoder pools by maxima,
not means, and pads by reflection.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.typing import ArrayLike

from wct_jax.checks.arguments import as_integer, as_names, as_number, check_choice, check_kind
from wct_jax.checks.arrays import as_image, on_host
from wct_jax.kernels.compilation import compiled
from wct_jax.measures.losses import relative_error, total_variation
from wct_jax.networks.model import Model
from wct_jax.networks.vgg import CONTENT_LAYER, LAYERS, block_of, cell_of, encoder_shapes, read_after
from wct_jax.painting.style import Style
from wct_jax.painting.texture import noise
from wct_jax.transform.platforms import HIGHEST
from wct_jax.transform.statistics import Moments, frobenius

OPTIMIZERS, STARTS = ("lbfgs", "adam"), ("photo", "noise")
STEPS = 200
# Steps between two reports of progress.
_CHUNK = 10
# Past steps by which L-BFGS models the curvature; each takes the memory of two images.
_PAST = 20
_RATE_OF_ADAM = 0.02


@dataclass(frozen=True)
class Weights:
    """The weights of the losses, each 0 or more.

    Attributes:
        content: The paper's α.
        style: The paper's β.
        variation: Of the total variation.
    """

    content: float = 1.0
    style: float = 100.0
    variation: float = 1.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("content", "style", "variation"):
            object.__setattr__(self, name, float(as_number(name, getattr(self, name), 0)))


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=("model", "content", "grams", "weights"), meta_fields=("layer",)
)
@dataclass(frozen=True, eq=False)
class Target:
    """The losses of one photo and style, as a pytree.

    Attributes:
        model: The encoder.
        layer: Layer of the content.
        content: The photo's feature there, `[h, w, C]`.
        grams: Layer to the style's Gram matrix over its number of pixels, `[C, C]`.
        weights: α, β and γ, `[3]`.
    """

    model: Model
    layer: str
    content: Array
    grams: dict[str, Array]
    weights: Array

    def losses(self, image: Array) -> Array:
        """The losses of content, style and variation of an image `[H, W, 3]`: `[3]`, float32, without their weights."""
        features = self.model.encode(image, tuple(dict.fromkeys((self.layer, *self.grams))))
        styles = [_difference(_gram(features[layer]), gram) for layer, gram in self.grams.items()]
        content = relative_error(features[self.layer], self.content)
        return jnp.stack([content, jnp.stack(styles).mean(), total_variation(image)])

    def loss(self, image: Array) -> Array:
        """The sum of the losses with their weights, a scalar."""
        return jnp.vdot(self.weights, self.losses(image), precision=HIGHEST)


def _gram(feature: Array) -> Array:
    x = feature.reshape(-1, feature.shape[-1])
    return jnp.matmul(x.T, x, precision=HIGHEST) / x.shape[0]


def _gram_of(moments: Moments) -> Array:
    """The Gram matrix of a feature over its pixels, from its moments."""
    return moments.scatter / jnp.maximum(moments.count, 1) + jnp.outer(moments.mean, moments.mean)


def _difference(gram: Array, wanted: Array) -> Array:
    return jnp.square(gram - wanted).sum() / jnp.maximum(jnp.square(frobenius(wanted)), 1e-12)


def style_layers(model: Model) -> tuple[str, ...]:
    """The layers of the style: all that the encoder has, of the paper's five (section 3)."""
    return LAYERS[: len(model.widths)]


def content_layer(model: Model) -> str:
    """The layer of the content: the paper's conv4_2, or the encoder's deepest if it ends above."""
    return CONTENT_LAYER if read_after(CONTENT_LAYER) in model.encoder else LAYERS[len(model.widths) - 1]


def bytes_per_pixel(model: Model) -> float:
    """The memory that a pixel of the photo takes, about."""
    kept = sum(
        width / cell_of(LAYERS[block_of(name) - 1]) ** 2 for name, (_, width) in encoder_shapes(model.widths).items()
    )
    return 12 * kept + 24 * (_PAST + 6)


def paint_gatys(
    model: Model,
    content: ArrayLike,
    style: Style,
    *,
    layers: Sequence[str] | None = None,
    content_at: str | None = None,
    weights: Weights = Weights(),
    steps: int = STEPS,
    optimizer: str = "lbfgs",
    start: str = "photo",
    seed: int = 0,
    progress: Callable[[int, float], None] | None = None,
) -> np.ndarray:
    """Repaint a photo by descent on the losses of Gatys et al., see `wct_jax.baselines.gatys`.

    >>> model = load_model("compact")
    >>> photo = np.linspace(0, 1, 32 * 48 * 3, dtype=np.float32).reshape(32, 48, 3)
    >>> paint_gatys(model, photo, extract_style(model, photo[::-1] ** 2), steps=2).shape
    (32, 48, 3)

    Args:
        model: The encoder; its decoders are not used.
        content: Photo `[H, W, 3]`, RGB in 0..1, floating point.
        style: A style that `extract_style` made with the same encoder, with all of `layers`.
        layers: Layers of the style; None for all that the encoder has.
        content_at: Layer of the content, one of the encoder's or relu4_2; None for `content_layer`.
        weights: The weights of the losses.
        steps: Steps of the optimizer.
        optimizer: "lbfgs" or "adam".
        start: "photo" or "noise".
        seed: Seed of the noise, 0 to 2**32 - 1.
        progress: Called with the steps done and the loss there, every few steps; may raise to stop.

    Returns:
        `[H, W, 3]`, float32, not clipped to 0..1.

    Raises:
        ValueError: An argument has a wrong name, number, shape or dtype, the style is of another encoder or lacks a
            layer, or the loss is not finite.
    """
    steps = as_integer("steps", steps, 1)
    check_choice("optimizer", optimizer, OPTIMIZERS)
    check_choice("start", start, STARTS)
    photo = jnp.asarray(on_host("content", as_image("content", content, single=True)), jnp.float32)
    target = target_of(model, photo, style, weights, layers, content_at)
    height, width = photo.shape[:2]
    image = photo if start == "photo" else jnp.asarray(noise(height, width, seed))
    state = begin(image, optimizer)
    for done in range(0, steps, _CHUNK):
        count = min(_CHUNK, steps - done)
        image, state, loss = descend(target, image, state, jnp.int32(count), optimizer)
        if not np.isfinite(loss):
            raise ValueError(f"the loss is not finite after {done + count} steps: expected other weights")
        if progress:
            progress(done + count, float(loss))
    return np.asarray(image)


def target_of(
    model: Model,
    photo: Array,
    style: Style,
    weights: Weights = Weights(),
    layers: Sequence[str] | None = None,
    content_at: str | None = None,
) -> Target:
    """The losses of a photo and a style; `paint_gatys` explains the arguments."""
    check_kind("model", model, Model, "load_model")
    check_kind("style", style, Style, "extract_style")
    if style.digest != model.digest:
        raise ValueError(
            f"the style was made with another encoder: its digest is {style.digest[:12]}, the model's "
            f"{model.digest[:12]}"
        )
    names = style_layers(model) if layers is None else as_names("layers", layers)
    if not names or not {*names} <= {*style.moments}:
        raise ValueError(f"the style has statistics for {', '.join(style.moments)}, got {', '.join(names) or 'none'}")
    layer = content_layer(model) if content_at is None else content_at
    feature = _feature(model.bare, photo, layer)
    grams = {name: _gram_of(style.moments[name]) for name in names}
    return Target(
        model.bare, layer, feature, grams, jnp.asarray([weights.content, weights.style, weights.variation], jnp.float32)
    )


@compiled(static=("layer",))
def _feature(model: Model, photo: Array, layer: str) -> Array:
    return model.encode(photo, (layer,))[layer]


def _optimizer(name: str) -> optax.GradientTransformationExtraArgs:
    if name == "adam":
        return optax.with_extra_args_support(optax.adam(_RATE_OF_ADAM))
    return optax.lbfgs(memory_size=_PAST)


def begin(image: Array, optimizer: str) -> Any:
    """The optimizer's state before the first step."""
    with jax.numpy_dtype_promotion("standard"):
        return _optimizer(optimizer).init(image)


@compiled(static=("optimizer",))
def descend(target: Target, image: Array, state: Any, count: Array, optimizer: str) -> tuple[Array, Any, Array]:
    """Take some steps.

    Args:
        target: The losses.
        image: `[H, W, 3]`, float32.
        state: The optimizer's state.
        count: Steps, int32, so that one program serves any number.
        optimizer: A name in `OPTIMIZERS`.

    Returns:
        The image, the state, and the loss of that image.
    """
    rule = _optimizer(optimizer)
    evaluate = jax.value_and_grad(target.loss)
    if optimizer == "lbfgs":
        # The line search has computed both where it ended.
        evaluate_kept = optax.value_and_grad_from_state(target.loss)

    def step(_: Array, carried: tuple[Array, Any]) -> tuple[Array, Any]:
        image, state = carried
        value, gradient = evaluate_kept(image, state=state) if optimizer == "lbfgs" else evaluate(image)
        updates, state = rule.update(gradient, state, image, value=value, grad=gradient, value_fn=target.loss)
        return image + updates, state

    # Optax multiplies integers by floats, which a caller's strict promotion refuses.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        image, state = jax.lax.fori_loop(0, count, step, (image, state))
        return image, state, target.loss(image)
