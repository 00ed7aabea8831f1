"""Tiles cover an image once, and are read with all that reaches into them, and no more."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wct_jax.kernels.canvas import largest_canvas
from wct_jax.networks.vgg import LAYERS, cell_of, seen_by_decoder, seen_by_encoder
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
    canvas, size = window.read(image)
    assert canvas.shape == (80, 96, 3)
    assert size.tolist() == [70, 90]
    np.testing.assert_array_equal(canvas[:70, :90], image)
    assert canvas[70:].max() == canvas[:, 90:].max() == 0
    assert window.counted(None).sum() == 70 * 90


@EVERY_LAYER
def test_what_reaches_into_a_feature(model, rng, layer):
    cell, reach = cell_of(layer), seen_by_encoder(layer)
    middle = -(-(reach + 32) // cell) * cell
    side = 2 * middle + cell
    encode = jax.jit(lambda image: model.encode(image, (layer,))[layer])
    image = rng.random((side, side, 3), np.float32)
    before = encode(image)[middle // cell, middle // cell]
    for extent, reaches in ((reach, False), (reach - cell, True)):
        changed = rng.random((side, side, 3), np.float32)
        kept = slice(middle - extent, middle + cell + extent)
        changed[kept, kept] = image[kept, kept]
        after = encode(changed)[middle // cell, middle // cell]
        assert bool(jnp.abs(after - before).max() > 1e-6) == reaches


@EVERY_LAYER
def test_where_a_feature_reaches(model, rng, layer):
    cell, reach = cell_of(layer), seen_by_decoder(layer)
    cells = reach // cell
    side, middle = 2 * (cells + 4) + 1, cells + 4
    decode = jax.jit(lambda feature: model.decode(layer, feature))
    channels = model.widths[int(layer[4]) - 1]
    feature = rng.random((side, side, channels), np.float32)

    def decoded(feature):
        return decode(feature)[middle * cell : (middle + 1) * cell, middle * cell : (middle + 1) * cell]

    before = decoded(feature)
    for extent, reaches in ((cells, False), (cells - 1, True)):
        changed = rng.random((side, side, channels), np.float32)
        kept = slice(middle - extent, middle + 1 + extent)
        changed[kept, kept] = feature[kept, kept]
        assert bool(jnp.abs(decoded(changed) - before).max() > 1e-6) == reaches
