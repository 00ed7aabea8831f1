"""One pass: its levels, written out; structure, a map of it, and what it leaves of the photo."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wct_jax import extract_style, mix_styles, stylize, synthesize, white_style
from wct_jax.measures.metrics import psnr
from wct_jax.networks.autoencoder import decode, decode_block
from wct_jax.transform.statistics import shrink
from wct_jax.transform.whitening import transfer, wct

pytestmark = pytest.mark.usefixtures("quick", "directly")


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(2).random((2, 24, 40, 3), np.float32)


@pytest.fixture(scope="module")
def style(model, pictures):
    return extract_style(model, pictures[1])


@pytest.fixture
def paint(model):
    return lambda *args, **options: stylize(model, *args, method="one-pass", **options)


def by_hand(model, content, picture, levels):
    """Encode, then mix, transform and decode at each level in turn."""
    layers = [layer for layer, *_ in levels]
    own, targets = (jax.jit(model.encode)(x) for x in (content, picture))
    feature = own[layers[0]]
    for layer in model.painter_layers[model.painter_layers.index(layers[0]) :]:
        height, width = own[layer].shape[:2]
        feature = feature[:height, :width]
        if layer in layers:
            _, alpha, structure = levels[layers.index(layer)]
            feature = wct((1 - structure) * feature + structure * own[layer], targets[layer], alpha)
        feature = decode_block(layer, model.painter, feature)
    return feature[: content.shape[0], : content.shape[1]]


@pytest.mark.slow
@pytest.mark.parametrize("sides", [(24, 40), (17, 33)])
def test_levels_run_on_the_way_back(model, pictures, style, paint, sides):
    content = pictures[0][: sides[0], : sides[1]]
    levels = [("relu4_1", 0.3, 0.9), ("relu2_1", 0.8, 0.25), ("relu1_1", 0.5, 0.75)]
    expected = by_hand(model, content, pictures[1], levels)
    names, alphas, structures = (list(values) for values in zip(*levels[1:], levels[0], strict=True))
    np.testing.assert_allclose(paint(content, style, alphas, structure=structures, layers=names), expected, atol=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("sides", [(1, 1), (17, 33)])
def test_on_a_canvas_as_alone(model, rng, style, paint, sides):
    content = rng.random((64 + sides[0], 64 + sides[1], 3), np.float32)
    options = {"structure": 0.5, "structure_map": rng.random(content.shape[:2]), "strength": 0.8}
    # JAX compiles for the shape itself where it is tracing.
    alone = jax.jit(lambda x: paint(x, style, **options))(content)
    assert psnr(paint(content, style, **options), alone) >= 80
    assert paint(content[: sides[0], : sides[1]], style).shape == (*sides, 3)


@pytest.mark.slow
def test_without_alpha_it_rebuilds_the_photo(model, pictures, style, paint):
    features = model.encode(pictures[0])
    deepest = decode("relu4_1", model.painter, features["relu4_1"])
    np.testing.assert_allclose(paint(pictures[0], style, 0), deepest, atol=1e-3)
    # With all of the structure nothing deeper than the last feature is left.
    last = decode_block("relu1_1", model.painter, features["relu1_1"])
    np.testing.assert_allclose(paint(pictures[0], style, 0, structure=1), last, atol=1e-4)
    alone = paint(pictures[0], style, structure=1)
    np.testing.assert_allclose(alone, paint(pictures[0], style, layers=["relu1_1"]), atol=1e-3)


@pytest.mark.slow
def test_a_structure_map_is_the_structure_of_each_pixel(pictures, style, paint, rng):
    photo, sides = pictures[0], pictures[0].shape[:2]
    none, some = paint(photo, style), paint(photo, style, structure=0.6)
    np.testing.assert_array_equal(paint(photo, style, structure=0.6, structure_map=np.zeros(sides)), none)
    np.testing.assert_array_equal(paint(photo, style, structure=0.6, structure_map=np.ones(sides, bool)), some)
    np.testing.assert_allclose(paint(photo, style, structure=1, structure_map=np.full(sides, 0.6)), some, atol=1e-4)
    assert np.abs(some - none).max() > 0.01


@pytest.mark.slow
def test_a_full_mask_is_no_mask(pictures, style, paint):
    full = np.ones(pictures[0].shape[:2], np.float32)
    for structure in (0, 0.5):
        masked = paint(pictures[0], [style], mask=[full], structure=structure)
        assert psnr(masked, paint(pictures[0], style, structure=structure)) >= 80


def test_passes_are_rounds(pictures, style, paint):
    once, twice = (paint(pictures[0], style, structure=0.3, passes=passes) for passes in (1, 2))
    np.testing.assert_allclose(twice, paint(np.asarray(once), style, structure=0.3), atol=1e-3)


def test_shrinkage_is_that_of_both_covariances(model, pictures, style, paint):
    feature = model.encode(pictures[0])["relu1_1"]
    own = extract_style(model, pictures[0], "relu1_1").moments["relu1_1"]
    target = style.moments["relu1_1"]
    painted = transfer(feature, shrink(target, 0.3), statistics=shrink(own, 0.3))
    expected = decode_block("relu1_1", model.painter, painted)
    np.testing.assert_allclose(paint(pictures[0], style, layers="relu1_1", shrinkage=0.3), expected, atol=1e-3)


@pytest.mark.slow
def test_with_other_controls(model, pictures, paint):
    """Textures, mixtures, whitening and swap."""
    photo, picture = pictures
    texture = synthesize(model, extract_style(model, picture), 9, 14, method="one-pass", passes=2, seed=1)
    assert texture.shape == (9, 14, 3)
    swapped = paint(photo, extract_style(model, picture, swap_layers=["relu3_1"]), swap_layers=["relu3_1"])
    for result in (texture, swapped, paint(photo, white_style(model, ["relu4_1"]))):
        assert np.isfinite(result).all()
    styles = [extract_style(model, picture**power, "relu1_1") for power in (1, 3)]
    mixed, *ends = (paint(photo, style) for style in (mix_styles(styles, [1, 3]), *styles))
    np.testing.assert_allclose(mixed, 0.25 * ends[0] + 0.75 * ends[1], atol=0.02)


def test_a_model_with_a_painter_alone(model, pictures, paint):
    alone = dataclasses.replace(model, decoders={})
    style = extract_style(alone, pictures[1])
    assert set(style.moments) == set(white_style(alone).moments) == set(alone.painter_layers)
    np.testing.assert_array_equal(stylize(alone, pictures[0], style, method="one-pass"), paint(pictures[0], style))
    with pytest.raises(ValueError, match="no painter of one pass: expected method cascade, or a model with one"):
        stylize(dataclasses.replace(model, painter={}), pictures[0], style, method="one-pass")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.slow
def test_with_double_precision(model, pictures, style, rng, dtype):
    options = {name: rng.random((24, 40)) for name in ("structure_map", "alpha_map", "strength", "content_weights")}
    options |= {"method": "one-pass", "structure": 0.5, "shrinkage": 0.1, "layers": ["relu2_1", "relu1_1"]}
    expected = stylize(model, pictures[0], [style], mask=[options["alpha_map"]], **options)
    with jax.enable_x64(True):
        model, style = jax.tree.map(lambda leaf: leaf.astype(dtype), (model, style))
        content = jnp.asarray(pictures[0], dtype)
        result = stylize(model, content, [style], mask=[options["alpha_map"]], **options)
        assert result.dtype == dtype
    np.testing.assert_allclose(result, expected, atol=1e-3)


def test_structure_is_differentiable(pictures, style, paint):
    content = jnp.asarray(pictures[0])
    loss = jax.jit(lambda k: jnp.mean(paint(content, style, structure=k, layers=["relu2_1", "relu1_1"]) ** 2))
    slope, step = jax.grad(loss)(0.5), 1e-2
    np.testing.assert_allclose(slope, (loss(0.5 + step) - loss(0.5 - step)) / (2 * step), rtol=0.05, atol=1e-4)
