"""The networks: VGG-19 up to relu5_1, read at five taps, and a mirrored decoder for each tap.

The encoder is Simonyan and Zisserman's VGG-19 (arXiv:1409.1556) with reflection padding and with pooling that keeps an
odd last row or column; the decoders are those of Li et al., NIPS 2017, section 3.1. The widths of the five blocks are
those of the parameters, so the small networks have the same topology.
"""

from collections.abc import Iterator, Mapping, Sequence

import jax
from jax import Array

from wct_jax.checks.arguments import as_names
from wct_jax.checks.arrays import as_feature, as_image
from wct_jax.kernels.canvas import halved
from wct_jax.kernels.conv import Kernel, conv3x3
from wct_jax.networks.vgg import CONTENT_LAYER, LAYERS, convolution_of, depth_of, read_after, table_through, table_to
from wct_jax.transform.mesh import has_rows_apart

Parameters = Mapping[str, Mapping[str, Array]]


def _in_pairs(names: Sequence[str], kept: Sequence[str] = ()) -> Iterator[tuple[str, str | None]]:
    """The names one by one, the two convolutions at full resolution together unless the first one's result is kept."""
    names = list(names)
    while names:
        name = names.pop(0)
        together = {name, *names[:1]} == {"conv1_1", "conv1_2"} and name not in kept
        yield name, names.pop(0) if together else None


def encode(
    parameters: Parameters, images: Array, layers: Sequence[str] | None = None, size: Array | None = None
) -> dict[str, Array]:
    """Encode images down to the deepest layer asked for.

    Args:
        parameters: Convolution name to `kernel` `[3, 3, in, out]` and `bias` `[out]`.
        images: `[..., H, W, 3]`, RGB in 0..1, any size from 1x1.
        layers: Taps to return, and `CONTENT_LAYER` if asked for; None for all taps that the encoder has.
        size: Rows and columns of the images, int32 `[2]`, if they lie on a larger canvas.

    Returns:
        Tap name to feature `[..., H', W', C]`, sides halved and rounded up for each block after the first.

    Raises:
        ValueError: The encoder does not have a layer, or an image is not `[..., H, W, 3]`.
    """
    available = [layer for layer in LAYERS if convolution_of(layer) in parameters]
    wanted = available if layers is None else as_names("layers", layers)
    if not wanted or not {*wanted} - ({CONTENT_LAYER} if read_after(CONTENT_LAYER) in parameters else set()) <= {
        *available
    }:
        raise ValueError(f"the encoder has layers {', '.join(available)}, got {', '.join(wanted) or 'none'}")
    images = as_image("images", images)
    if has_rows_apart(images):
        raise ValueError(
            "images must not be spread over explicit axes of a mesh by rows or columns, got "
            f"{jax.typeof(images).sharding.spec}: stylize and extract_style take them"
        )
    kept = {read_after(layer): layer for layer in wanted}
    taps, x = {}, images
    steps = list(_in_pairs(table_through(kept), [*kept]))
    for (name, second), (following, _) in zip(steps, [*steps[1:], ("", None)], strict=True):
        if name == "pool":
            size = halved(size)
            continue
        then = _kernel(parameters, second) if second else None
        x = conv3x3(x, *_kernel(parameters, name), then=then, size=size, relu=True, pool=following == "pool")
        if name in kept:
            taps[kept[name]] = x
    return taps


def decode(layer: str, parameters: Parameters, feature: Array, size: Array | None = None) -> Array:
    """Decode: 3x3 convolutions with ReLU, nearest upsampling where the encoder pools, a linear last convolution.

    Args:
        layer: The tap that the decoder inverts.
        parameters: Convolution name to `kernel` `[3, 3, in, out]` and `bias` `[out]`.
        feature: Feature of the layer, `[..., H', W', C]`.
        size: Rows and columns of the feature, int32 `[2]`, if it lies on a larger canvas.

    Returns:
        `[..., H, W, 3]`, not clipped. Each pooling doubles the sides of the feature, so the result is larger than
        the image was if a side of that was odd.

    Raises:
        ValueError: The feature has another number of channels.
    """
    inputs = parameters[convolution_of(layer)]["kernel"].shape[2]
    feature = as_feature(layer, feature)
    if feature.shape[-1] != inputs:
        raise ValueError(f"{layer} must be [..., H, W, {inputs}], got shape {feature.shape}")
    return _backwards(table_to(layer)[::-1], parameters, feature, size)


def decode_block(layer: str, parameters: Parameters, feature: Array, size: Array | None = None) -> Array:
    """Decode the feature of a layer only as far as the next shallower tap, or from relu1_1 to the image.

    Args:
        layer: A tap.
        parameters: Convolution name to `kernel` and `bias`, of a decoder whose inputs are the encoder's features.
        feature: Feature of the layer, `[..., H', W', C]`.
        size: Rows and columns of the feature, int32 `[2]`, if it lies on a larger canvas.

    Returns:
        `[..., 2 H', 2 W', C']`; from relu1_1 `[..., H', W', 3]`, not clipped.
    """
    names = table_to(layer)[::-1]
    shallower = LAYERS[: depth_of(layer) - 1]
    end = names.index(convolution_of(shallower[-1])) if shallower else len(names)
    return _backwards(names[:end], parameters, feature, size)


def _backwards(names: Sequence[str], parameters: Parameters, x: Array, size: Array | None) -> Array:
    """Apply these convolutions of a decoder, and upsample at each "pool"."""
    upsample = False
    for name, second in _in_pairs(names):
        if name == "pool":
            upsample = True
            continue
        then, relu = _kernel(parameters, second) if second else None, "conv1_1" not in (name, second)
        x = conv3x3(x, *_kernel(parameters, name), then=then, size=size, upsample=upsample, relu=relu)
        size, upsample = size if size is None or not upsample else 2 * size, False
    return x


def _kernel(parameters: Parameters, name: str) -> Kernel:
    return parameters[name]["kernel"], parameters[name]["bias"]
