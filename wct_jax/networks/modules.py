"""The networks as Flax modules, which make the parameters of new ones."""

from collections.abc import Mapping, Sequence

from flax import linen as nn
from jax import Array

from wct_jax.networks.autoencoder import decode, encode
from wct_jax.networks.vgg import VGG19_WIDTHS, decoder_shapes, encoder_shapes


class _Convolution(nn.Module):
    """The parameters of a convolution."""

    inputs: int
    outputs: int

    @nn.compact
    def __call__(self) -> None:
        self.param("kernel", nn.initializers.he_normal(), (3, 3, self.inputs, self.outputs))
        self.param("bias", nn.initializers.zeros_init(), (self.outputs,))


def _declare(module: nn.Module, shapes: Mapping[str, tuple[int, int]]) -> None:
    # Only to initialize: declaring traces the initializers, which takes as long as a small convolution.
    if module.is_initializing():
        for name, shape in shapes.items():
            _Convolution(*shape, name=name)()


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
        """Encode images, see `wct_jax.networks.autoencoder.encode`."""
        _declare(self, encoder_shapes(self.widths))
        return encode(self.variables["params"], images, layers, size)


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
        """Decode a feature, see `wct_jax.networks.autoencoder.decode`."""
        _declare(self, decoder_shapes(self.layer, self.widths))
        return decode(self.layer, self.variables["params"], feature, size)
