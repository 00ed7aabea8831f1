"""From a foreign checkpoint to a model's parameters: naming the layers, folding the preprocessing."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from wct_jax.convert.checkpoint import Checkpoint, Convolution, Preprocessing, as_float32
from wct_jax.networks.model import Parameters
from wct_jax.networks.vgg import LAYERS, decoder_shapes, encoder_shapes, tap_of


def encoder_parameters(checkpoint: Checkpoint) -> tuple[Parameters, tuple[int, ...]]:
    """Name an encoder's convolutions, fold its preprocessing into conv1_1, drop the convolutions after its last tap.

    Returns:
        Convolution name to `kernel` and `bias`, float32, and the widths of the encoder's blocks.

    Raises:
        ValueError: The checkpoint is a decoder, or folding takes conv1_1 beyond float32's range.
    """
    if checkpoint.preprocessing is None:
        raise ValueError(f"expected an encoder, got a decoder ({checkpoint.kind})")
    names = list(encoder_shapes((1,) * len(LAYERS)))
    # Nothing reads the convolutions after the last tap.
    last = max(i for i, name in enumerate(names[: len(checkpoint.convolutions)]) if tap_of(name))
    chain = checkpoint.convolutions[: last + 1]
    first = fold(chain[0], checkpoint.preprocessing)
    parameters = {name: _parameters(c) for name, c in zip(names, [first, *chain[1:]], strict=False)}
    widths = tuple(c.bias.size for name, c in zip(names, chain, strict=False) if tap_of(name))
    return parameters, widths


def decoder_layer(checkpoint: Checkpoint, depth: int) -> str:
    """Tell by its number of convolutions which layer a decoder inverts, for an encoder of `depth` layers.

    Raises:
        ValueError: The checkpoint is an encoder, or its number of convolutions does not fit.
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
    """Name a decoder's convolutions.

    Args:
        checkpoint: The decoder.
        widths: The widths of its encoder's blocks.

    Returns:
        The layer that it inverts, and convolution name to `kernel` and `bias`, float32.

    Raises:
        ValueError: The checkpoint is an encoder, or its number of convolutions or its widths do not fit.
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
    """Return the auxiliary maps of an encoder's first `depth` taps: `kernel` `[1, 1, in, out]` and `bias`, float32."""
    maps = checkpoint.auxiliary
    return {layer: _parameters(maps[layer]) for layer in LAYERS[:depth] if layer in maps}


def fold(convolution: Convolution, preprocessing: Preprocessing) -> Convolution:
    """Fold the preprocessing into the first convolution: the result takes RGB in 0..1.

    This is exact, borders included, since a pointwise map commutes with reflection padding.

    Args:
        convolution: The network's first convolution, kernel `[3, 3, 3, out]`.
        preprocessing: The preprocessing that the network expects.

    Returns:
        A convolution of the same shapes, float64.
    """
    kernel = convolution.kernel.astype(np.float64)
    bias = convolution.bias + np.einsum("hwio,i->o", kernel, preprocessing.offset)
    return Convolution(convolution.name, np.einsum("hwio,ij->hwjo", kernel, preprocessing.matrix), bias)


def _parameters(convolution: Convolution) -> dict[str, jnp.ndarray]:
    # Only conv1_1, folded in float64, can have left float32's range.
    _, kernel, bias = as_float32(convolution)
    return {"kernel": jnp.asarray(kernel), "bias": jnp.asarray(bias)}
