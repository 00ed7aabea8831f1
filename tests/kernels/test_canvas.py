"""Canvases have few sizes, and images on them are repainted as they would be alone."""

import logging
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import wct_jax
from wct_jax import extract_style, stylize
from wct_jax.kernels import canvas
from wct_jax.kernels.canvas import canvas_sides, cut_out, halved, inside, lay_out, lay_out_map
from wct_jax.measures.evaluation import evaluate
from wct_jax.measures.metrics import psnr

EXAMPLES = Path(__file__).parents[2] / "examples"

SIDES = st.tuples(st.integers(64, 10_000), st.integers(64, 10_000))


@given(SIDES)
def test_a_canvas_is_little_larger(sides):
    for side, larger in zip(sides, canvas_sides(sides), strict=True):
        assert side <= larger <= max(side + 15, side * 9 / 8)
        assert larger % 16 == 0  # Four poolings then meet no odd rows.
    assert canvas_sides(canvas_sides(sides)) == canvas_sides(sides)


@given(st.integers(6, 14))
def test_there_are_eight_sizes_at_most_for_a_doubling(exponent):
    assert len({canvas_sides((side, 64)) for side in range(2**exponent + 1, 2 ** (exponent + 1) + 1)}) <= 8


@given(st.tuples(st.integers(1, 63), st.integers(1, 1000)))
def test_small_images_have_none(sides):
    assert canvas_sides(sides) == sides
    assert canvas_sides(sides[::-1]) == sides[::-1]


@pytest.mark.slow
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(64, 80, 3), (65, 81, 3), (2, 100, 300, 3), (20, 300, 3)])
def test_what_is_laid_out_is_cut_out(rng, shape, weighted):
    image = jnp.asarray(rng.random(shape), jnp.float32)
    weights = jnp.asarray(rng.random(shape[:-1]), jnp.float32) if weighted else None
    laid, counted, size = lay_out(image, weights)
    assert laid.shape[-3:-1] == canvas_sides(shape[-3:-1])
    np.testing.assert_array_equal(cut_out(laid, shape[-3:-1]), image)
    if size is None:
        assert laid is image
        assert counted is weights
    else:
        within = inside(laid.shape[-3:-1], size)
        assert tuple(size) == shape[-3:-1]
        assert int(within.sum()) == shape[-3] * shape[-2]
        assert float(jnp.abs(jnp.where(within[..., None], 0, laid)).max()) == 0
        expected = jnp.ones(shape[-3:-1]) if weights is None else weights
        np.testing.assert_array_equal(cut_out(counted[..., None], shape[-3:-1])[..., 0], expected)
        assert float(jnp.abs(jnp.where(within, 0, counted)).max()) == 0


@pytest.mark.slow
def test_the_device_is_kept(model, rng):
    device = jax.devices()[2]
    image, mask = rng.random((67, 75, 3), np.float32), rng.random((67, 75), np.float32)
    there, weights = (jax.device_put(x, device) for x in (image, mask))
    for x in lay_out(there, weights)[:2]:
        assert (x.devices(), x.committed) == ({device}, True)
    laid, _, size = lay_out(there, None)
    assert lay_out_map(weights, size, laid).devices() == {device}
    assert cut_out(laid, (67, 75)).devices() == {device}
    # Arrays that are committed to no device can still go to any.
    laid, counted, size = lay_out(jnp.asarray(image), None)
    for x in (laid, counted, lay_out_map(mask, size, laid), cut_out(laid, (67, 75))):
        assert not x.committed
    style = extract_style(model, there, "relu1_1")
    assert all(leaf.devices() == {device} for leaf in jax.tree.leaves(style))
    style = extract_style(model, image, "relu1_1")
    for options in ({}, {"content_weights": mask}, {"mask": [mask], "alpha_map": mask}):
        result = stylize(model, there, [style], **options)
        assert (result.devices(), result.committed) == ({device}, True)
    assert stylize(jax.device_put(model, device), image, style).devices() == {device}
    assert not stylize(model, image, style).committed


def test_what_is_traced_is_left_alone(rng):
    shapes = []

    def traced(image):
        image, weights, size = lay_out(image, None)
        assert (weights, size) == (None, None)
        shapes.append(image.shape)
        return image

    jax.jit(traced)(rng.random((65, 70, 3), np.float32))
    assert shapes == [(65, 70, 3)]


def test_sizes_are_halved_as_pooling_does():
    assert halved(None) is None
    assert halved(jnp.asarray([65, 64])).tolist() == [33, 32]


@pytest.fixture(scope="module")
def compact():
    return wct_jax.load_model("compact")


def picture(name, sides):
    return wct_jax.read_image(EXAMPLES / f"{name}.jpg")[100 : 100 + sides[0], 200 : 200 + sides[1]]


def border(image):
    return np.concatenate([image[:4], image[-4:], image[:, :4].swapaxes(0, 1), image[:, -4:].swapaxes(0, 1)], axis=1)


@pytest.mark.slow
@pytest.mark.parametrize(("sides", "weighted"), [((65, 81), True), ((161, 207), False)])
def test_the_picture_is_that_of_the_image_alone(compact, monkeypatch, sides, weighted):
    content, drawing = picture("content", sides), picture("waves", (83, 75))
    weights = np.linspace(0, 1, sides[0] * sides[1], dtype=np.float32).reshape(sides)
    assert canvas_sides(sides) != sides

    def repaint(weights):
        return np.asarray(stylize(compact, content, extract_style(compact, drawing), content_weights=weights))

    for each in (None, weights) if weighted else (None,):
        on_canvas = repaint(each)
        with monkeypatch.context() as patch:
            patch.setattr(canvas, "canvas_sides", tuple)
            alone = repaint(each)
        assert on_canvas.shape == content.shape
        assert float(psnr(on_canvas, alone)) > 60
        assert float(psnr(border(on_canvas), border(alone))) > 60


@pytest.fixture
def compiling(caplog):
    """Call a function, and return the messages about what JAX compiled meanwhile."""

    def compiling(function, *args):
        caplog.clear()
        with jax.log_compiles(), caplog.at_level(logging.WARNING):
            function(*args)
        return [message for message in caplog.messages if "Compiling" in message]

    return compiling


def test_a_second_size_on_the_same_canvas_compiles_nothing(model, rng, compiling):
    def repaint(sides, others):
        content, drawing = rng.random((*sides, 3), np.float32), rng.random((*others, 3), np.float32)
        return np.asarray(stylize(model, content, extract_style(model, drawing)))

    assert compiling(repaint, (67, 75), (77, 70))
    assert not compiling(repaint, (79, 66), (66, 79))


@pytest.mark.parametrize("case", ["arrays", "regions", "reconstruction"])
def test_nothing_is_compiled_for_an_exact_size(model, rng, compiling, case):
    def repaint(sides, others):
        content, drawing = rng.random((*sides, 3), np.float32), rng.random((*others, 3), np.float32)
        weights = rng.random(sides)
        options = {"layers": ["relu2_1"]}
        if case == "arrays":
            content, weights = map(jax.device_put, (content, np.float32(weights)))
            options |= {"content_weights": weights}
        if case == "regions":
            masks = [weights, weights[:1], np.bool_(weights > 0.5)]
            options |= {"mask": masks, "alpha_map": weights[:, :1], "content_weights": np.float16(weights)}
        if case == "reconstruction":
            evaluate(model, "relu2_1", [content])
        else:
            style = extract_style(model, drawing, ["relu2_1"], weights=drawing[..., 0], swap_layers=["relu2_1"])
            stylize(model, content, [style, None, style, style] if case == "regions" else style, **options)

    assert [message for message in compiling(repaint, (67, 75), (77, 70)) if "ssim" not in message]
    again = compiling(repaint, (79, 66), (66, 79))
    assert not [message for message in again if "psnr" not in message and "ssim" not in message]


@pytest.mark.slow
@pytest.mark.parametrize("masks", [0, 2])
def test_a_level_and_the_style_are_a_program_each(compact, rng, compiling, masks):
    content, drawing = rng.random((83, 90, 3), np.float32), rng.random((20, 30, 3), np.float32)

    def repaint():
        style = extract_style(compact, drawing, weights=drawing[..., 0])
        options = {"mask": [rng.random((83, 90), np.float32)] * masks, "alpha_map": content[..., 0], "strength": 0.5}
        stylize(compact, content, [style] * max(1, masks), **options)

    assert len(compiling(repaint)) <= 10
    assert not compiling(repaint)
