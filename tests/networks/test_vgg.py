"""The table against the paper's, and what is derived from it."""

import pytest

from wct_jax.networks import vgg
from wct_jax.networks.vgg import LAYERS, decoder_shapes, encoder_shapes, table_to

WIDTHS = (4, 6, 8, 8, 8)


def test_the_table_is_vgg19():
    shapes = dict(list(encoder_shapes((64, 128, 256, 512, 512)).items())[:6])
    assert list(shapes) == ["conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_2"]
    assert list(shapes.values()) == [(3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256)]
    assert [len(encoder_shapes(WIDTHS[:n])) for n in range(1, 6)] == [1, 3, 5, 9, 13]
    assert [table_to(layer).count("pool") for layer in LAYERS] == [0, 1, 2, 3, 4]
    assert table_to("relu3_1") == ("conv1_1", "conv1_2", "pool", "conv2_1", "conv2_2", "pool", "conv3_1")


def test_decoder_of_relu3_1_is_the_designs():
    shapes = decoder_shapes("relu3_1", WIDTHS)
    assert list(shapes) == ["conv3_1", "conv2_2", "conv2_1", "conv1_2", "conv1_1"]
    assert list(shapes.values()) == [(8, 6), (6, 6), (6, 4), (4, 4), (4, 3)]


def test_layers_have_an_order_of_their_own():
    """It is the table's, whatever their names sort to."""
    mixed = ["relu4_1", "relu1_1", "relu5_1"]
    assert [vgg.depth_of(layer) for layer in mixed] == [4, 1, 5]
    assert vgg.deepest(mixed[:2]) == "relu4_1"
    assert vgg.deepest_first(mixed) == ("relu5_1", "relu4_1", "relu1_1")
    assert vgg.deeper_than("relu1_1", mixed) == ("relu5_1", "relu4_1")
    assert vgg.deeper_than("relu5_1", mixed) == ()


def test_convolutions_and_taps():
    for depth, layer in enumerate(LAYERS, 1):
        first = vgg.convolution_of(layer)
        assert first == table_to(layer)[-1]
        assert vgg.tap_of(first) == layer
        assert vgg.block_of(first) == depth
        assert vgg.cell_of(layer) == 2 ** (depth - 1)
    assert (vgg.tap_of("conv3_2"), vgg.block_of("conv3_2")) == (None, 3)
    assert len(vgg.PLACES) == 16
    assert vgg.PLACES[:5] == ((1, 1), (1, 2), (2, 1), (2, 2), (3, 1))
    assert vgg.PLACES[-1] == (5, 4)


@pytest.mark.parametrize("name", ["relu6_1", "relu1_2", "conv1_1", ""])
def test_an_unknown_layer_is_refused(name):
    for function in (vgg.depth_of, table_to, vgg.cell_of, vgg.convolution_of):
        with pytest.raises(ValueError, match=f"^unknown layer '{name}', expected one of relu1_1, relu2_1, relu3_1, "):
            function(name)


def test_wrong_widths_are_refused():
    for widths in ((4, 0), (), (1,) * 6):
        with pytest.raises(ValueError, match="one to 5 blocks of positive width"):
            encoder_shapes(widths)
    with pytest.raises(ValueError, match=r"a decoder of relu3_1 needs 3 widths, got \(4, 4\)"):
        decoder_shapes("relu3_1", (4, 4))
