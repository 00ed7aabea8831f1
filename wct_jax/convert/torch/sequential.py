"""Recognising a network from its sequence of convolutions alone."""

from collections.abc import Sequence

import numpy as np

from wct_jax.convert.checkpoint import Checkpoint, CheckpointError, Convolution, Preprocessing, as_float32, assemble
from wct_jax.convert.preprocessing import find_preprocessing, whose_weights


def from_sequence(layers: Sequence[Convolution], source: str, preprocessing: str | None = None) -> Checkpoint:
    """Tell an encoder from a decoder by the shapes of its convolutions, in the order they are applied.

    The normalised VGG-19 of style transfer begins with a 1x1 convolution of RGB, its preprocessing; a decoder ends in
    3 channels. Without the 1x1 convolution, an encoder needs known weights or a given `preprocessing`.
    """
    if not layers:
        raise CheckpointError("it has no convolutions, expected those of VGG-19 or of a decoder")
    first, last = layers[0], layers[-1]
    if first.kernel.shape == (1, 1, 3, 3):
        own = preprocessing_of(first, preprocessing)
        return assemble(f"normalised VGG-19, {source}", layers[1:], own, normalised=True)
    is_encoder = first.kernel.shape[:3] == (3, 3, 3)
    if last.kernel.shape[-1] == 3 and not (is_encoder and preprocessing):
        return assemble(f"decoder, {source}", layers, None)
    if is_encoder and (preprocessing or whose_weights(first)):
        return assemble(f"VGG-19, {source}", layers, find_preprocessing(first, None, preprocessing))
    hint = "; --preprocessing says what an encoder without the 1x1 convolution expects" if is_encoder else ""
    raise CheckpointError(
        f"its first convolution, {first.name}, has a kernel of shape {list(first.kernel.shape)} and its last gives "
        f"{last.kernel.shape[-1]} channels, expected an encoder that begins with a 1x1 convolution of RGB or "
        f"a decoder that ends in 3 channels{hint}"
    )


def preprocessing_of(layer: Convolution, given: str | None) -> Preprocessing:
    """Read a 1x1 convolution of RGB as preprocessing, or raise `CheckpointError`, also if the user has `given` one."""
    if given is not None:
        raise CheckpointError(
            f"its first layer, {layer.name}, is its preprocessing, a 1x1 convolution of RGB in 0..1: "
            f"leave out --preprocessing {given}"
        )
    if layer.kernel.shape != (1, 1, 3, 3) or layer.bias.shape != (3,):
        raise CheckpointError(
            f"layer {layer.name}, the preprocessing, has a kernel of shape {list(layer.kernel.shape)}, "
            "expected [1, 1, 3, 3]"
        )
    name, kernel, bias = as_float32(layer)
    matrix, offset = kernel[0, 0].T.astype(np.float64), bias.astype(np.float64)
    return Preprocessing(f"the file's own 1x1 convolution of RGB 0..1, {name}", matrix, offset)
