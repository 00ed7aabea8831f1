"""The table of VGG-19: its convolutions and taps, and the shapes, cells and reaches that follow from them.

Simonyan and Zisserman, arXiv:1409.1556, read down to relu5_1. No array library is imported here: `--help` names layers.
"""

from collections.abc import Iterable, Sequence

VGG19_WIDTHS = (64, 128, 256, 512, 512)

# The one table of the network, a line for each block, with a 2x2 pooling between two blocks.
_BLOCKS = (
    ("conv1_1", "conv1_2"),
    ("conv2_1", "conv2_2"),
    ("conv3_1", "conv3_2", "conv3_3", "conv3_4"),
    ("conv4_1", "conv4_2", "conv4_3", "conv4_4"),
    ("conv5_1", "conv5_2", "conv5_3", "conv5_4"),
)
# The taps, shallowest first: each is the ReLU after its block's first convolution.
LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
# Read beside the taps, and never painted: the content of Gatys et al., CVPR 2016.
CONTENT_LAYER = "relu4_2"
#: The places of all sixteen convolutions, (block, index within it), in the order they are applied.
PLACES = tuple((block, index) for block, names in enumerate(_BLOCKS, 1) for index in range(1, len(names) + 1))

_DEPTHS = {layer: depth for depth, layer in enumerate(LAYERS, 1)}
_BLOCK_OF = {name: block for block, names in enumerate(_BLOCKS, 1) for name in names}
_TAPS = {names[0]: layer for names, layer in zip(_BLOCKS, LAYERS, strict=True)}


def depth_of(layer: str) -> int:
    """The number of the block that a layer is in, 1 to 5.

    Raises:
        ValueError: There is no such layer.
    """
    if layer not in _DEPTHS:
        raise ValueError(f"unknown layer {layer!r}, expected one of {', '.join(LAYERS)}")
    return _DEPTHS[layer]


def deepest(layers: Iterable[str]) -> str:
    """The deepest of these layers."""
    return max(layers, key=depth_of)


def deepest_first(layers: Iterable[str]) -> tuple[str, ...]:
    """Layers in the order of the cascade."""
    return tuple(sorted(layers, key=depth_of, reverse=True))


def deeper_than(layer: str, layers: Iterable[str]) -> tuple[str, ...]:
    """The `layers` that are deeper than `layer`, deepest first."""
    return deepest_first(other for other in layers if depth_of(other) > depth_of(layer))


def block_of(convolution: str) -> int:
    """The number of the block that a convolution is in, 1 to 5."""
    return _BLOCK_OF[convolution]


def tap_of(convolution: str) -> str | None:
    """The layer that is read after a convolution, if one is."""
    return _TAPS.get(convolution)


def convolution_of(layer: str) -> str:
    """The convolution that a layer is read after: the inverse of `tap_of`."""
    return _BLOCKS[depth_of(layer) - 1][0]


def read_after(layer: str) -> str:
    """The convolution that a layer is read after, of a tap or of `CONTENT_LAYER`."""
    return "conv4_2" if layer == CONTENT_LAYER else convolution_of(layer)


def table_to(layer: str) -> tuple[str, ...]:
    """The convolutions from the image to a tap, with "pool" between the blocks.

    Raises:
        ValueError: There is no such tap.
    """
    before = (row for block in _BLOCKS[: depth_of(layer) - 1] for row in (*block, "pool"))
    return (*before, convolution_of(layer))


def table_through(convolutions: Iterable[str]) -> tuple[str, ...]:
    """The convolutions from the image to the deepest of these, with "pool" between the blocks."""
    names = table_to(LAYERS[-1])
    return names[: max(map(names.index, convolutions)) + 1]


def encoder_shapes(widths: Sequence[int]) -> dict[str, tuple[int, int]]:
    """Input and output channels of each convolution of an encoder, in order, from the channels of its blocks.

    Raises:
        ValueError: There are not one to five positive widths.
    """
    if not 1 <= len(widths) <= len(LAYERS) or min(widths) < 1:
        raise ValueError(f"an encoder has one to {len(LAYERS)} blocks of positive width, got widths {tuple(widths)}")
    shapes, fan_in = {}, 3
    for name in table_to(LAYERS[len(widths) - 1]):
        if name != "pool":
            width = widths[block_of(name) - 1]
            shapes[name] = (fan_in, width)
            fan_in = width
    return shapes


def decoder_shapes(layer: str, widths: Sequence[int]) -> dict[str, tuple[int, int]]:
    """Input and output channels of each convolution of a decoder, in order: the encoder's, mirrored.

    Args:
        layer: Tap that the decoder inverts.
        widths: Channels of the encoder's blocks, at least down to `layer`.

    Raises:
        ValueError: There is no such layer, or it needs more widths.
    """
    depth = depth_of(layer)
    if len(widths) < depth:
        raise ValueError(f"a decoder of {layer} needs {depth} widths, got {tuple(widths)}")
    return {name: (outputs, inputs) for name, (inputs, outputs) in reversed(encoder_shapes(widths[:depth]).items())}


def cell_of(layer: str) -> int:
    """The side of a cell: the pixels of the image that one pixel of a layer's feature stands for."""
    return 1 << depth_of(layer) - 1


def seen_by_encoder(layer: str) -> int:
    """Pixels around a cell that affect its feature, rounded up to whole cells."""
    reach = 0
    for name in reversed(table_to(layer)):
        reach = 2 * reach if name == "pool" else reach + 1
    return -(-reach // cell_of(layer)) * cell_of(layer)


def seen_by_decoder(layer: str, end: str | None = None) -> int:
    """Pixels around a cell whose feature affects the decoded cell, in whole cells.

    Args:
        layer: The tap that is decoded.
        end: The tap that it is decoded to; None for the image.
    """
    reach = 0
    for name in table_to(layer)[len(table_to(end)) if end else 0 :]:
        reach = -(-reach // 2) if name == "pool" else reach + 1
    return reach * cell_of(layer)
