"""The networks: VGG-19 up to relu5_1, read at five taps, and a mirrored decoder for each tap.

The encoder is Simonyan and Zisserman's VGG-19 (arXiv:1409.1556) with reflection padding and with pooling that keeps an
odd last row or column; the decoders are those of Li et al., NIPS 2017, section 3.1. The widths of the five blocks are
parameters, so the small networks have the same topology.
"""

from collections.abc import Collection, Iterator, Sequence

import jax
from flax import linen as nn
from jax import Array

from wct_jax.checks.arguments import as_names
from wct_jax.checks.arrays import as_feature, as_image
from wct_jax.kernels.canvas import doubled, halved
from wct_jax.kernels.conv import Kernel, conv3x3
from wct_jax.networks.vgg import LAYERS, VGG19_WIDTHS, decoder_shapes, deepest, encoder_shapes, table_to, tap_of
from wct_jax.transform.mesh import has_rows_apart


class _Convolution(nn.Module):
    """The parameters of a convolution."""

    inputs: int
    outputs: int

    @nn.compact
    def __call__(self) -> Kernel:
        if self.is_initializing():
            self.param("kernel", nn.initializers.he_normal(), (3, 3, self.inputs, self.outputs))
            self.param("bias", nn.initializers.zeros_init(), (self.outputs,))
        # Not the results of `param`: it traces the initializers each time, which takes as long as a small convolution.
        parameters = self.variables["params"]
        return parameters["kernel"], parameters["bias"]


def _in_pairs(names: Sequence[str], kept: Collection[str] = ()) -> Iterator[tuple[str, str | None]]:
    """The names one by one, the two convolutions at full resolution together unless the first one's result is kept."""
    names = list(names)
    while names:
        name = names.pop(0)
        together = {name, *names[:1]} == {"conv1_1", "conv1_2"} and name not in kept
        yield name, names.pop(0) if together else None


class Encoder(nn.Module):
    """VGG-19's convolutions down to relu5_1, or to the last block that has a width.

    Attributes:
        widths: Channels of each block, one to five numbers.
    """

    widths: Sequence[int] = VGG19_WIDTHS

    @nn.compact
    def __call__(
        self, images: Array, layers: Sequence[str] | None = None, size: Array | None = None
    ) -> dict[str, Array]:
        """Encode images down to the deepest layer asked for.

        Args:
            images: `[..., H, W, 3]`, RGB in 0..1, any size from 1x1.
            layers: Taps to return; None for all that the encoder has.
            size: Rows and columns of the images, int32 `[2]`, if they lie on a larger canvas.

        Returns:
            Tap name to feature `[..., H', W', C]`, sides halved and rounded up for each block after the first.

        Raises:
            ValueError: The encoder does not have a layer, or an image is not `[..., H, W, 3]`.
        """
        available = LAYERS[: len(self.widths)]
        wanted = available if layers is None else as_names("layers", layers)
        if not wanted or not set(wanted) <= set(available):
            raise ValueError(f"the encoder has layers {', '.join(available)}, got {', '.join(wanted) or 'none'}")
        images = as_image("images", images)
        if has_rows_apart(images):
            raise ValueError(
                "images must not be spread over explicit axes of a mesh by rows or columns, got "
                f"{jax.typeof(images).sharding.spec}: stylize and extract_style take them"
            )
        names, shapes = table_to(deepest(wanted)), encoder_shapes(self.widths)
        kernels = {name: _Convolution(*shapes[name], name=name) for name in names if name != "pool"}
        kept = {name: tap for name in names if (tap := tap_of(name)) and tap in wanted}
        taps, x = {}, images
        steps = list(_in_pairs(names, kept))
        for (name, second), (following, _) in zip(steps, [*steps[1:], ("", None)], strict=True):
            if name == "pool":
                size = halved(size)
                continue
            then = kernels[second]() if second else None
            x = conv3x3(x, *kernels[name](), then=then, size=size, relu=True, pool=following == "pool")
            if name in kept:
                taps[kept[name]] = x
        return taps


class Decoder(nn.Module):
    """The way from the feature of one layer back to an image.

    Attributes:
        layer: The tap that it inverts.
        widths: Channels of each block of the encoder.
    """

    layer: str
    widths: Sequence[int] = VGG19_WIDTHS

    @nn.compact
    def __call__(self, feature: Array, size: Array | None = None) -> Array:
        """Decode: 3x3 convolutions with ReLU, nearest upsampling where the encoder pools, a linear last convolution.

        Args:
            feature: Feature of the layer, `[..., H', W', C]`.
            size: Rows and columns of the feature, int32 `[2]`, if it lies on a larger canvas.

        Returns:
            `[..., H, W, 3]`, not clipped. Each pooling doubles the sides of the feature, so the result is larger than
            the image was if a side of that was odd.

        Raises:
            ValueError: The feature has another number of channels.
        """
        shapes = decoder_shapes(self.layer, self.widths)
        inputs = next(iter(shapes.values()))[0]
        feature = as_feature(self.layer, feature)
        if feature.shape[-1] != inputs:
            raise ValueError(f"{self.layer} must be [..., H, W, {inputs}], got shape {feature.shape}")
        kernels = {name: _Convolution(*shape, name=name) for name, shape in shapes.items()}
        x, upsample = feature, False
        for name, second in _in_pairs(table_to(self.layer)[::-1]):
            if name == "pool":
                upsample = True
                continue
            then, relu = kernels[second]() if second else None, "conv1_1" not in (name, second)
            x = conv3x3(x, *kernels[name](), then=then, size=size, upsample=upsample, relu=relu)
            size, upsample = size if size is None or not upsample else doubled(size), False
        return x
