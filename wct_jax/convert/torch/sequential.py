"""A network known only as a sequence of convolutions, without names that tell what it is."""

from collections.abc import Sequence

import numpy as np

from wct_jax.convert.checkpoint import Checkpoint, CheckpointError, Convolution, Preprocessing, as_float32, assemble
from wct_jax.convert.preprocessing import find_preprocessing, whose_weights


def from_sequence(layers: Sequence[Convolution], source: str, preprocessing: str | None = None) -> Checkpoint:
    """Tell the normalised VGG-19 of the style transfer world from a decoder, by shape.

    The encoder begins with a 1x1 convolution of the picture, which is its preprocessing; a decoder ends
    in 3 channels. An encoder without the 1x1 convolution must be known, or its preprocessing be given.

    Args:
        layers: In the order they are applied.
        source: The kind of file, in words.
        preprocessing: What an encoder that does not bring its own expects; None to find out.

    Returns:
        The checkpoint.

    Raises:
        CheckpointError: It is neither.
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
    """Read a 1x1 convolution from RGB as preprocessing.

    Args:
        layer: The convolution.
        given: What the user says of the preprocessing.

    Raises:
        CheckpointError: It is no 1x1 convolution from 3 channels to 3, a value is not finite, or the user says another
            preprocessing than this.
    """
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
    return Preprocessing(
        f"the file's own 1x1 convolution of RGB 0..1, {name}",
        kernel[0, 0].T.astype(np.float64),
        bias.astype(np.float64),
    )
