"""Gatys et al.: the losses against float64, descent by both optimizers, the content's layer, and what is refused."""

import jax.numpy as jnp
import numpy as np
import pytest

from wct_jax import extract_style
from wct_jax.baselines.gatys import Weights, content_layer, paint_gatys, style_layers, target_of

pytestmark = pytest.mark.usefixtures("directly", "quick")


@pytest.fixture
def photo(rng):
    return rng.random((17, 22, 3), np.float32)


@pytest.fixture
def picture(rng):
    return rng.random((24, 20, 3), np.float32) ** 3


@pytest.fixture
def style(model, picture):
    return extract_style(model, picture)


@pytest.mark.slow
def test_losses_are_the_equations(model, photo, picture, style, rng):
    image = rng.random(photo.shape, np.float32)
    layers = style_layers(model)
    deep = content_layer(model)
    assert (layers, deep) == (("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"), "relu4_2")
    found = target_of(model, jnp.asarray(photo), style).losses(jnp.asarray(image))

    def features(image):
        return {k: np.asarray(v, np.float64) for k, v in model.encode(jnp.asarray(image), [*layers, deep]).items()}

    def gram(x):
        x = x.reshape(-1, x.shape[-1])
        return x.T @ x / len(x)

    x, p, s = map(features, (image, photo, picture))
    content = ((x[deep] - p[deep]) ** 2).mean() / p[deep].var((0, 1)).mean()
    grams = [(gram(x[i]), gram(s[i])) for i in layers]
    of_style = np.mean([((g - a) ** 2).sum() / (a**2).sum() for g, a in grams])
    variation = sum((np.diff(image.astype(np.float64), axis=axis) ** 2).mean() for axis in (0, 1))
    np.testing.assert_allclose(found, [content, of_style, variation], rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("optimizer", "start"), [("lbfgs", "photo"), ("adam", "photo"), ("lbfgs", "noise")])
def test_loss_falls(random_model, photo, picture, optimizer, start):
    reports, model = [], random_model((4, 6), ())
    style = extract_style(model, picture, style_layers(model))
    options = {"steps": 23, "optimizer": optimizer, "start": start, "weights": Weights(variation=0)}
    image = paint_gatys(model, photo, style, progress=lambda *report: reports.append(report), **options)
    target = target_of(model, jnp.asarray(photo), style, options["weights"])
    assert image.shape == photo.shape
    assert image.dtype == np.float32
    assert [done for done, _ in reports] == [10, 20, 23]
    assert reports[-1][1] < 0.7 * float(target.loss(jnp.asarray(photo)))
    np.testing.assert_allclose(reports[-1][1], target.loss(jnp.asarray(image)), rtol=1e-4)


@pytest.mark.slow
def test_content_alone_leaves_the_photo(random_model, photo, picture):
    model = random_model((4, 6), ())
    style = extract_style(model, picture, style_layers(model))
    image = paint_gatys(model, photo, style, weights=Weights(style=0, variation=0), steps=3)
    np.testing.assert_array_equal(image, photo)


def test_content_layer_is_read_in_the_middle_of_its_block(model, random_model, photo):
    found = model.encode(jnp.asarray(photo), ["relu4_2", "relu1_1"])
    shallow = model.encode(jnp.asarray(photo))
    assert list(shallow) == list(style_layers(model))
    np.testing.assert_array_equal(found["relu1_1"], shallow["relu1_1"])
    kernel, bias = (np.asarray(model.encoder["conv4_2"][name]) for name in ("kernel", "bias"))
    x = np.pad(np.asarray(shallow["relu4_1"]), [(1, 1), (1, 1), (0, 0)], "reflect")
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (0, 1))
    expected = np.maximum(np.einsum("hwcij,ijco->hwo", windows, kernel) + bias, 0)
    np.testing.assert_allclose(found["relu4_2"], expected, rtol=1e-3, atol=1e-4)
    three = random_model((4, 6, 8), ())
    assert content_layer(three) == "relu3_1"
    with pytest.raises(ValueError, match="the encoder has layers relu1_1, relu2_1, relu3_1, got relu4_2"):
        three.encode(jnp.asarray(photo), ["relu4_2"])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"steps": 0}, "steps must be"),
        ({"optimizer": "sgd"}, "optimizer must be"),
        ({"start": "white"}, "start must be"),
        ({"layers": ["relu4_2"]}, "the style has statistics for"),
        ({"layers": []}, "the style has statistics for"),
        ({"content_at": "relu9_1"}, "the encoder has layers"),
    ],
)
def test_wrong_arguments_are_refused(model, photo, style, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        paint_gatys(model, photo, style, **options)


def test_wrong_weights_and_styles_are_refused(model, random_model, photo, style):
    with pytest.raises(ValueError, match="style must be"):
        Weights(style=-1)
    with pytest.raises(ValueError, match="another encoder"):
        paint_gatys(random_model((4, 6, 8, 8, 8), seed=3), photo, style)
