"""Tiles cover an image once, and are read with all that reaches into them, and no more."""

from itertools import combinations, pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wct_jax.kernels.canvas import largest_canvas
from wct_jax.networks.vgg import LAYERS, cell_of, seen_by_decoder, seen_by_encoder
from wct_jax.painting.one_pass import decode_to
from wct_jax.painting.tiles.one_pass import sweeps
from wct_jax.painting.tiles.tile import reach_of
from wct_jax.painting.tiles.windows import windows

EVERY_LAYER = pytest.mark.parametrize("layer", LAYERS)
pytestmark = pytest.mark.usefixtures("directly", "quick")


@given(st.data())
def test_tiles_are_an_image(data):
    cell = data.draw(st.sampled_from([1, 2, 4, 8, 16]))
    reach = cell * data.draw(st.integers(0, 10))
    tile = data.draw(st.integers(2 * reach + cell + 16, 500))
    sides = data.draw(st.tuples(st.integers(64, 900), st.integers(64, 900)))
    tiles = windows(sides, tile, reach, cell)
    assert len({tile.canvas for tile in tiles}) == 1
    taken = np.zeros(sides, np.uint8)
    for window in tiles:
        taken[window.taken] += 1
        for span, canvas, side in zip((window.rows, window.columns), window.canvas, sides, strict=True):
            assert span.start % cell == span.first % cell == canvas % 16 == 0
            assert span.start == 0 or span.start <= span.first - reach
            assert span.stop == side or span.stop >= span.last + reach
            assert span.last > span.first
            assert span.stop - span.start <= canvas <= max(largest_canvas(tile), 16)
    assert taken.min() == taken.max() == 1


def test_one_tile_is_read_whole(rng):
    image = rng.random((70, 90, 3), np.float32)
    (window,) = windows((70, 90), 100, 16, 16)
    canvas = window.read(image)
    assert canvas.shape == (80, 96, 3)
    assert window.size.tolist() == [70, 90]
    np.testing.assert_array_equal(canvas[:70, :90], image)
    assert canvas[70:].max() == canvas[:, 90:].max() == 0
    assert window.counted(None).sum() == 70 * 90


def change_of(function, values, rng, kept):
    """How much a function of a square image or feature changes when all outside of a square does."""
    changed = rng.random(values.shape, np.float32)
    changed[kept, kept] = values[kept, kept]
    return jnp.abs(function(changed) - function(values)).max()


@EVERY_LAYER
def test_what_reaches_into_a_feature(model, rng, layer):
    cell, reach = cell_of(layer), seen_by_encoder(layer)
    middle = -(-(reach + 32) // cell) * cell
    encode = jax.jit(lambda image: model.encode(image, (layer,))[layer][middle // cell, middle // cell])
    image = rng.random((2 * middle + cell, 2 * middle + cell, 3), np.float32)
    for extent, reaches in ((reach, False), (reach - cell, True)):
        kept = slice(middle - extent, middle + cell + extent)
        assert bool(change_of(encode, image, rng, kept) > 1e-6) == reaches


@pytest.mark.parametrize(
    ("layer", "end"),
    [*((layer, None) for layer in LAYERS), *pairwise(LAYERS[::-1]), ("relu4_1", "relu1_1"), ("relu5_1", "relu2_1")],
)
def test_where_a_feature_reaches(model, rng, layer, end):
    cell = cell_of(layer)
    cells = seen_by_decoder(layer, end) // cell
    middle = cells + 4
    finer = cell // (cell_of(end) if end else 1)
    here, sides = slice(middle * finer, (middle + 1) * finer), ((2 * middle + 1) * cell,) * 2
    decoder = model.decoders[layer]
    decode = jax.jit(lambda feature: decode_to(end, decoder, feature, layer, None, sides)[here, here])
    feature = rng.random((2 * middle + 1, 2 * middle + 1, model.channels_at(layer)), np.float32)
    for extent, reaches in ((cells, False), (cells - 1, True)):
        kept = slice(middle - extent, middle + 1 + extent)
        assert bool(change_of(decode, feature, rng, kept) > 1e-6) == reaches


def test_one_pass_needs_no_larger_tiles_than_the_cascade():
    for count in range(1, len(LAYERS) + 1):
        for layers in combinations(LAYERS[::-1], count):
            each = sweeps(layers)
            assert [sweep.end for sweep in each] == list(range(count + 1))
            assert max(sweep.reach for sweep in each) <= max(map(reach_of, layers))
            assert all(sweep.reach % sweep.cell == 0 for sweep in each)
    # From the image, from relu4_1, from relu3_1, and from it again with relu2_1 and relu1_1 of the photo.
    first, *_, last = sweeps(LAYERS[3::-1])
    assert (first.source, first.own, first.cell) == (None, ("relu3_1",), 8)
    assert (last.source, last.own, last.cell) == (1, ("relu2_1", "relu1_1"), 4)
