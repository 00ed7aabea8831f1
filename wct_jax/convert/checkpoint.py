"""The common form into which every foreign checkpoint is read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple, TypeVar

import ml_dtypes
import numpy as np

from wct_jax.networks.vgg import PLACES

_T = TypeVar("_T")


class CheckpointError(ValueError):
    """The reason why a file cannot be used, worded to follow "cannot read FILE: "."""


class Convolution(NamedTuple):
    """One convolution of a foreign network.

    Attributes:
        name: Its name in the file, for messages.
        kernel: The weights, float32 `[height, width, in, out]`.
        bias: One value per output channel, float32 `[out]`.
    """

    name: str
    kernel: np.ndarray
    bias: np.ndarray


class Preprocessing(NamedTuple):
    """The pointwise affine map from RGB in 0..1 to a network's input, `y = matrix @ rgb + offset`.

    Attributes:
        description: The map in words, for the report.
        matrix: float64 `[3, 3]`.
        offset: float64 `[3]`.
    """

    description: str
    matrix: np.ndarray
    offset: np.ndarray


@dataclass(frozen=True)
class Checkpoint:
    """The convolutions of a foreign file in the order they are applied.

    Attributes:
        kind: The kind of file in words: "Keras HDF5", "torchvision VGG-19 state dict".
        convolutions: All but preprocessing and auxiliary maps.
        preprocessing: The preprocessing that an encoder expects; None for a decoder.
        normalised: Whether the channels are already scaled to mean activation 1.
        auxiliary: Tap name ("relu3_1") to the 1x1 map from it to another network's feature.
    """

    kind: str
    convolutions: list[Convolution]
    preprocessing: Preprocessing | None
    normalised: bool
    auxiliary: dict[str, Convolution] = field(default_factory=dict)


def assemble(
    kind: str,
    layers: Sequence[Convolution],
    preprocessing: Preprocessing | None,
    *,
    normalised: bool = False,
    auxiliary: Mapping[tuple[int, int], Convolution] | None = None,
) -> Checkpoint:
    """Check that a network is VGG-19 or its mirror, cut anywhere and of any widths, and convert it to float32.

    Args:
        kind: The kind of file in words.
        layers: Convolutions of any floating dtype in the order they are applied.
        preprocessing: The preprocessing that an encoder expects; None for a decoder.
        normalised: Whether the channels are already scaled to mean activation 1.
        auxiliary: (block, index) of a convolution to the 1x1 map applied after its ReLU.

    Returns:
        The checkpoint; its arrays are float32 and finite.

    Raises:
        CheckpointError: The network is another one, or a value is not finite.
    """
    _check_network(layers, is_encoder=preprocessing is not None)
    convolutions = [as_float32(layer) for layer in layers]
    maps = {}
    for (block, index), layer in (auxiliary or {}).items():
        tap = PLACES.index((block, index))
        check_layer(layer, size=1)
        if tap >= len(layers) or layer.kernel.shape[2] != layers[tap].kernel.shape[3]:
            raise CheckpointError(f"layer {layer.name} does not fit the output of conv{block}_{index}")
        maps[f"relu{block}_{index}"] = as_float32(layer)
    return Checkpoint(kind, convolutions, preprocessing, normalised, maps)


def in_vgg_order(found: Mapping[tuple[int, int], _T]) -> list[_T]:
    """Order values by (block, index), or raise `CheckpointError` unless these are VGG-19's from conv1_1 on."""
    for block, index in found:
        if (block, index) not in PLACES:
            raise CheckpointError(f"it has a conv{block}_{index}, which VGG-19 does not have")
    expected = PLACES[: len(found)]
    for place in expected:
        if place not in found:
            deepest = max(found)
            raise CheckpointError(
                f"it has conv{deepest[0]}_{deepest[1]} but no conv{place[0]}_{place[1]}, so it is not VGG-19"
            )
    return [found[place] for place in expected]


def pair(name: str, kernel: np.ndarray | None, bias: np.ndarray | None) -> Convolution:
    """Make a convolution, or raise `CheckpointError` if one of the two arrays is missing."""
    if kernel is None or bias is None:
        raise CheckpointError(f"layer {name} has no {'kernel' if kernel is None else 'bias'}, expected both")
    return Convolution(name, kernel, bias)


def as_float32(layer: Convolution) -> Convolution:
    """Copy a convolution to contiguous float32, or raise `CheckpointError` if a value is not finite there."""
    with np.errstate(all="ignore"):
        kernel, bias = (np.array(array, np.float32, order="C") for array in (layer.kernel, layer.bias))
    if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
        raise CheckpointError(f"layer {layer.name} holds values that are NaN or infinite")
    return Convolution(layer.name, kernel, bias)


def _check_network(layers: Sequence[Convolution], *, is_encoder: bool) -> None:
    if not layers:
        raise CheckpointError("it has no 3x3 convolutions, expected those of VGG-19 or of a decoder")
    if len(layers) > len(PLACES):
        raise CheckpointError(f"it has {len(layers)} convolutions, expected at most VGG-19's {len(PLACES)}")
    for layer in layers:
        check_layer(layer, size=3)
    for before, after in pairwise(layers):
        if before.kernel.shape[3] != after.kernel.shape[2]:
            raise CheckpointError(
                f"layer {after.name} takes {after.kernel.shape[2]} channels but {before.name} before it "
                f"gives {before.kernel.shape[3]}"
            )
    # A decoder mirrors the encoder: read backwards with inputs and outputs exchanged, it is one.
    channels = [(layer.name, *layer.kernel.shape[2:]) for layer in layers]
    if not is_encoder:
        channels = [(name, outputs, inputs) for name, inputs, outputs in reversed(channels)]
    name, colours, width = channels[0]
    if colours != 3:
        raise CheckpointError(f"layer {name} has {colours} channels on the picture's side, expected 3")
    for (block, index), (name, _, deeper) in zip(PLACES, channels, strict=False):
        if index > 1 and deeper != width:
            raise CheckpointError(
                f"layer {name}, in the place of VGG-19's conv{block}_{index}, has {deeper} channels "
                f"where the rest of its block has {width}"
            )
        width = deeper


def check_layer(layer: Convolution, *, size: int) -> None:
    """Raise `CheckpointError` unless kernel `[size, size, in, out]` and bias `[out]` are floating-point arrays."""
    name, kernel, bias = layer
    if kernel.ndim != 4 or kernel.shape[:2] != (size, size) or 0 in kernel.shape:
        raise CheckpointError(
            f"layer {name} has a kernel of shape {list(kernel.shape)}, expected [{size}, {size}, in, out]"
        )
    if bias.shape != kernel.shape[3:]:
        raise CheckpointError(f"layer {name} has a bias of shape {list(bias.shape)}, expected [{kernel.shape[3]}]")
    for array in (kernel, bias):
        if array.dtype.kind != "f" and array.dtype != ml_dtypes.bfloat16:
            raise CheckpointError(f"layer {name} holds {array.dtype} values, expected floating point")
