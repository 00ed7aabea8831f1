"""Foreign checkpoints to a model: naming the layers, folding the preprocessing."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from wct_jax.convert.checkpoint import Checkpoint, Convolution, Preprocessing, as_float32
from wct_jax.networks.model import Parameters
from wct_jax.networks.vgg import LAYERS, decoder_shapes, encoder_shapes, tap_of


def encoder_parameters(checkpoint: Checkpoint) -> tuple[Parameters, tuple[int, ...]]:
    """Name an encoder's convolutions, fold its preprocessing into conv1_1, drop what is below its last tap.

    Args:
        checkpoint: An encoder.

    Returns:
        Convolution name to `kernel` and `bias`, float32, and the widths of its blocks.

    Raises:
        ValueError: It is a decoder, or its preprocessing takes conv1_1 beyond float32's range.
    """
    if checkpoint.preprocessing is None:
        raise ValueError(f"expected an encoder, got a decoder ({checkpoint.kind})")
    names = list(encoder_shapes((1,) * len(LAYERS)))
    # The convolutions after the last tap of a cut or whole VGG-19 lead nowhere.
    last = max(i for i, name in enumerate(names[: len(checkpoint.convolutions)]) if tap_of(name))
    chain = checkpoint.convolutions[: last + 1]
    first = fold(chain[0], checkpoint.preprocessing)
    parameters = {name: _parameters(c) for name, c in zip(names, [first, *chain[1:]], strict=False)}
    widths = tuple(c.bias.size for name, c in zip(names, chain, strict=False) if tap_of(name))
    return parameters, widths


def decoder_layer(checkpoint: Checkpoint, depth: int) -> str:
    """The layer that a decoder inverts, by the number of its convolutions.

    Args:
        checkpoint: A decoder.
        depth: How many layers the encoder has that it is to serve.

    Raises:
        ValueError: It is an encoder, or its number of convolutions does not fit.
    """
    if checkpoint.preprocessing is not None:
        raise ValueError(f"expected a decoder, got an encoder ({checkpoint.kind})")
    count = len(checkpoint.convolutions)
    depths = {len(decoder_shapes(layer, (1,) * depth)): layer for layer in LAYERS[:depth]}
    if count not in depths:
        expected = ", ".join(f"{n} ({layer})" for n, layer in depths.items())
        raise ValueError(f"a decoder for this encoder has as many convolutions as one of {expected}, got {count}")
    return depths[count]


def decoder_parameters(checkpoint: Checkpoint, widths: Sequence[int]) -> tuple[str, Parameters]:
    """Name a decoder's convolutions, which also say what layer it inverts.

    Args:
        checkpoint: A decoder.
        widths: Of the encoder that it is to serve.

    Returns:
        The layer, and convolution name to `kernel` and `bias`, float32.

    Raises:
        ValueError: It is an encoder, or its number of convolutions or its widths do not fit.
    """
    layer = decoder_layer(checkpoint, len(widths))
    parameters = {}
    for (name, shape), convolution in zip(decoder_shapes(layer, widths).items(), checkpoint.convolutions, strict=True):
        if convolution.kernel.shape[2:] != shape:
            raise ValueError(
                f"its {convolution.name} maps {convolution.kernel.shape[2]} channels to {convolution.kernel.shape[3]}, "
                f"but {name} of a decoder of {layer} for this encoder maps {shape[0]} to {shape[1]}"
            )
        parameters[name] = _parameters(convolution)
    return layer, parameters


def auxiliary_parameters(checkpoint: Checkpoint, depth: int) -> Parameters:
    """The auxiliary maps of an encoder's first `depth` taps, `kernel` `[1, 1, in, out]` and `bias`, float32."""
    maps = checkpoint.auxiliary
    return {layer: _parameters(maps[layer]) for layer in LAYERS[:depth] if layer in maps}


def fold(convolution: Convolution, preprocessing: Preprocessing) -> Convolution:
    """The convolution that does to RGB in 0..1 what `convolution` does to the preprocessed image.

    Exact, borders included, since a pointwise map commutes with reflection padding.

    Args:
        convolution: The network's first one, kernel `[3, 3, 3, out]`.
        preprocessing: What its input is expected to have gone through.

    Returns:
        A convolution of the same shapes, float64.
    """
    kernel = convolution.kernel.astype(np.float64)
    bias = convolution.bias + np.einsum("hwio,i->o", kernel, preprocessing.offset)
    return Convolution(convolution.name, np.einsum("hwio,ij->hwjo", kernel, preprocessing.matrix), bias)


def _parameters(convolution: Convolution) -> dict[str, jnp.ndarray]:
    # Only the first one, folded in double precision, can have grown.
    _, kernel, bias = as_float32(convolution)
    return {"kernel": jnp.asarray(kernel), "bias": jnp.asarray(bias)}
