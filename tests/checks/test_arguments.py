"""Arguments from callers that are not arrays: accepted, or refused in one sentence."""

import decimal
import functools
import pathlib
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import wct_jax
from wct_jax.checks.arguments import as_integer, as_names, as_number, as_numbers, as_path, check_choice, described


@pytest.fixture(scope="module")
def content():
    return np.random.default_rng(3).random((6, 7, 3), np.float32)


@pytest.fixture(scope="module")
def style(model, content):
    return wct_jax.extract_style(model, content, ["relu2_1", "relu1_1"])


@pytest.mark.parametrize("value", [1, 0.25, np.float64(0.25), np.float16(0.25), np.int8(1), np.array(0.25)])
def test_numbers_of_python_and_numpy_are_floats(value):
    number = as_number("alpha", value, 0, 1)
    assert type(number) is float
    assert number == float(value)


def test_numbers_of_jax_are_left_alone():
    for value in (jnp.float32(3), jnp.bfloat16(3)):
        assert as_number("alpha", value, 0, 1) is value
    assert as_number("alpha", jnp.int32(1), 0, 1).dtype == jnp.float32
    assert jax.jit(lambda x: as_number("alpha", x, 0, 1) + 1)(0.5) == 1.5


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (True, "alpha must be a number, got True"),
        (np.True_, "must be a number, got True"),
        ("1", "must be a number, got str"),
        (None, "must be a number, got None"),
        (1j, "must be a number, got 1j"),
        (decimal.Decimal(1), "must be a number, got Decimal"),
        (np.ones((2, 1)), r"must be a number, got an array of float64 of shape \(2, 1\)"),
        (np.ma.masked, "must be a number"),
        ({0.5}, "must be a number, got set"),
        (10**400, "too large"),
        (1.5, r"must be in 0\.\.1, got 1\.5"),
        (np.float32(-1), r"must be in 0\.\.1, got -1"),
        (float("nan"), r"must be in 0\.\.1, got nan"),
    ],
)
def test_what_is_no_number(value, message):
    with pytest.raises(ValueError, match=message):
        as_number("alpha", value, 0, 1)


def test_several_numbers():
    for value in ([0.5, 1], (0.5, 1), np.asarray([0.5, 1]), jnp.asarray([0.5, 1])):
        assert as_numbers("alpha", value, 0, 1) == [0.5, 1.0]
    assert as_numbers("alpha", np.asarray([1, 0])) == [1.0, 0.0]
    assert as_numbers("alpha", 0.5) == [0.5]
    traced = jax.jit(lambda x: as_numbers("alpha", x)[1])(jnp.asarray([0.25, 0.5]))
    assert traced == 0.5
    for value in ([[0.5]], [True], np.ma.masked_array([0.5, 1], [0, 1]), [0.5, 2]):
        with pytest.raises(ValueError, match="alpha must be"):
            as_numbers("alpha", value, 0, 1)


def test_integers():
    for value in (3, np.int64(3), np.array(3), jnp.int32(3)):
        assert type(as_integer("passes", value, 1)) is int
    for value in (True, np.True_, np.array(True), 3.0, "3", None, np.array([3]), float("nan")):
        with pytest.raises(ValueError, match="passes must be an integer, got"):
            as_integer("passes", value, 1)
    with pytest.raises(ValueError, match="passes must be an integer, got a traced int32"):
        jax.jit(lambda n: as_integer("passes", n, 1))(3)
    for value, message in ((0, "at least 1, got 0"), (8, "at most 7, got 8"), (10**5000, "got a number of 16610 bits")):
        with pytest.raises(ValueError, match=message):
            as_integer("passes", value, 1, 7)


def test_names():
    assert as_names("layers", "relu4_1") == ("relu4_1",)
    for several in (["a", "b"], ("a", "b"), np.asarray(["a", "b"]), (name for name in "ab")):
        assert as_names("layers", several) == ("a", "b")
    for value in (4, [4], None, b"relu4_1", np.array("relu4_1"), jnp.ones(2)):
        with pytest.raises(ValueError, match="layers must be names such as relu4_1, got"):
            as_names("layers", value)


def test_choices_and_paths():
    check_choice("how", "a", ["a"])
    for value in (5, ["a"], None, {}, "b"):
        with pytest.raises(ValueError, match="how must be one of a, got"):
            check_choice("how", value, ["a"])
    assert as_path("path", pathlib.Path("a")) == "a"
    for value in (5, None, b"a", ["a"]):
        with pytest.raises(ValueError, match="path must be a path, got"):
            as_path("path", value)


def test_what_came_is_short():
    assert described(np.ones((2, 3), np.uint8)) == "an array of uint8 of shape (2, 3)"
    assert described([np.ones(3)]) == "list of ndarray"
    assert described(10**100) == "int"


# In the public functions


MODELS = [
    lambda model, content, style: wct_jax.stylize(model, content, style),
    lambda model, content, style: wct_jax.stylize_tiled(model, content, style, tile=64),
    lambda model, content, style: wct_jax.synthesize(model, style, 4, 4),
    lambda model, content, style: wct_jax.extract_style(model, content),
    lambda model, content, style: wct_jax.extract_style_tiled(model, content, tile=256),
    lambda model, content, style: wct_jax.white_style(model),
    lambda model, content, style: wct_jax.save_model("never.safetensors", model),
]


@pytest.mark.parametrize("call", MODELS)
@pytest.mark.parametrize("value", ["compact", pathlib.Path("compact"), None, {}])
def test_a_path_is_no_model(content, style, call, value):
    with pytest.raises(ValueError, match="model must be a Model that load_model made, got"):
        call(value, content, style)


STYLES = [
    *MODELS[:3],
    lambda model, content, style: wct_jax.stylize(model, content, style, mask=[content[..., 0]]),
    lambda model, content, style: wct_jax.save_style("never.safetensors", style),
    lambda model, content, style: wct_jax.mix_styles([style, style]),
]


@pytest.mark.parametrize("call", STYLES)
@pytest.mark.parametrize("kind", ["picture", "jax", "list", "path", "moments", "dict"])
def test_a_picture_is_no_style(model, content, style, call, kind):
    value = {
        "picture": content,
        "jax": jnp.asarray(content),
        "list": content.tolist(),
        "path": "waves.jpg",
        "moments": style.moments["relu1_1"],
        "dict": style.moments,
    }[kind]
    with pytest.raises(ValueError, match=r"must be a Style that extract_style .*made, got"):
        call(model, content, value)


def test_styles_and_masks(model, content, style):
    layers = ["relu1_1"]
    expected = wct_jax.stylize(model, content, style, layers=layers)
    np.testing.assert_array_equal(wct_jax.stylize(model, content, [style], layers=layers), expected)
    np.testing.assert_array_equal(wct_jax.stylize(model, content, style, layers=layers, mask=None), expected)
    np.testing.assert_array_equal(wct_jax.stylize(model, content, style, layers=layers, passes=None), expected)
    for value in ([style] * 2, (style,) * 2):
        with pytest.raises(ValueError, match="several styles need masks"):
            wct_jax.stylize(model, content, value)
    for value in ([], [None]):
        with pytest.raises(ValueError, match="style must be a Style"):
            wct_jax.stylize(model, content, value)
    for value in (content[..., 0], content[None, ..., 0], "mask.png"):
        for call in (wct_jax.stylize, functools.partial(wct_jax.stylize_tiled, tile=64)):
            with pytest.raises(ValueError, match="mask must be a list of masks, one for each style, got"):
                call(model, content, [style], mask=value)
    with pytest.raises(ValueError, match="styles must be a sequence of them, got Style"):
        wct_jax.mix_styles(style)


def test_one_layer_is_taken_for_itself(model, content, style):
    expected = wct_jax.stylize(model, content, style, layers=["relu1_1"])
    np.testing.assert_array_equal(wct_jax.stylize(model, content, style, layers="relu1_1"), expected)
    tiled = wct_jax.stylize_tiled(model, content, style, layers="relu1_1", tile=64)
    np.testing.assert_array_equal(tiled, expected)
    assert set(wct_jax.extract_style(model, content, "relu1_1", swap_layers="relu1_1").features) == {"relu1_1"}
    assert set(wct_jax.extract_style_tiled(model, content, "relu1_1", tile=64).moments) == {"relu1_1"}
    assert set(wct_jax.white_style(model, "relu1_1").moments) == {"relu1_1"}
    assert set(model.encode(content, "relu1_1")) == {"relu1_1"}
    for call in (
        lambda layers: wct_jax.stylize(model, content, style, layers=layers),
        lambda layers: wct_jax.extract_style(model, content, layers),
        lambda layers: wct_jax.extract_style_tiled(model, content, layers, tile=64),
        lambda layers: wct_jax.white_style(model, layers),
    ):
        for value, message in ((4, "must be names"), ("relu9_1", "relu9_1"), ([], "layer")):
            with pytest.raises(ValueError, match=message):
                call(value)


@pytest.mark.slow
def test_one_alpha_for_each_layer_in_any_array(model, content, style):
    layers = ["relu1_1", "relu2_1"]
    expected = wct_jax.stylize(model, content, style, [0.25, 0.5], layers=layers)
    for alpha in ((0.25, 0.5), np.asarray([0.25, 0.5]), np.asarray([0.25, 0.5], np.float32)):
        np.testing.assert_array_equal(wct_jax.stylize(model, content, style, alpha, layers=layers), expected)
        tiled = wct_jax.stylize_tiled(model, content, style, alpha, layers=layers, tile=64)
        np.testing.assert_array_equal(tiled, expected)
    alpha = jnp.asarray([0.25, 0.5])
    np.testing.assert_allclose(wct_jax.stylize(model, content, style, alpha, layers=layers), expected, atol=1e-6)
    jitted = jax.jit(lambda alpha: wct_jax.stylize(model, content, style, alpha, layers=layers))
    np.testing.assert_allclose(jitted(alpha), expected, atol=1e-4)
    # As many numbers as columns do not mean a strength for each column.
    with pytest.raises(ValueError, match="one for each of 1 layers, got 7 numbers"):
        wct_jax.stylize(model, content, style, np.ones(7), layers="relu1_1")
    with pytest.raises(ValueError, match=r"one for each layer, got an array .* see alpha_map"):
        wct_jax.stylize(model, content, style, content[..., 0], layers="relu1_1")


@pytest.mark.parametrize(
    "wrong",
    [
        *({"passes": value} for value in (True, 1.0, "1", 0, -1, 10**20)),
        *({"patch": value} for value in (True, 3.0, 0)),
        *({"stride": value} for value in (True, 1.0, 4, 0, 10**5000)),
        *({"transform": value} for value in (5, ["zca"], None, "pca")),
        *({"eps": value} for value in ("0", True, -1, float("nan"), np.ones(3))),
        *({"alpha": value} for value in ("1", True, None, 2, -0.1, float("inf"))),
        *({"progress": value} for value in ("yes", 3)),
        *({"swap_layers": value} for value in (4, [4])),
    ],
)
def test_options_that_are_refused(model, content, style, wrong):
    (name,) = wrong
    calls = [lambda: wct_jax.stylize(model, content, style, **wrong)]
    if name in ("passes", "transform", "eps", "alpha", "progress"):
        calls.append(lambda: wct_jax.stylize_tiled(model, content, style, tile=64, **wrong))
        calls.append(lambda: wct_jax.synthesize(model, style, 4, 4, **wrong))
    for call in calls:
        with pytest.raises(ValueError, match=rf"^`?{name}`? must be [^\n]+$"):
            call()


SIZES = {
    "height": lambda model, content, style, value: wct_jax.synthesize(model, style, value, 4),
    "width": lambda model, content, style, value: wct_jax.synthesize(model, style, 4, value),
    "seed": lambda model, content, style, value: wct_jax.synthesize(model, style, 4, 4, seed=value),
    "tile": lambda model, content, style, value: wct_jax.stylize_tiled(model, content, style, tile=value),
    "short_side": lambda model, content, style, value: wct_jax.read_image("never.jpg", value),
}


@pytest.mark.parametrize("call", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("value", [True, 4.0, "4", -1, 10**20])
def test_sizes_that_are_refused(model, content, style, call, value):
    with pytest.raises(ValueError, match=r"^(the short side|cannot read|\w+ must be) "):
        call(model, content, style, value)


@pytest.mark.parametrize("function", ["load_model", "load_style", "read_image", "read_mask"])
@pytest.mark.parametrize("value", [5, None, b"a", np.ones(3)])
def test_paths_that_are_refused(function, value):
    with pytest.raises(ValueError, match="must be a path, got"):
        getattr(wct_jax, function)(value)


def test_paths_to_write_to_that_are_refused(model, content, style):
    for call, what in ((wct_jax.write_image, content), (wct_jax.save_style, style), (wct_jax.save_model, model)):
        with pytest.raises(ValueError, match="path must be a path, got None"):
            call(None, what)
    with pytest.raises(ValueError, match="folder must be a path, got 3"):
        wct_jax.stylize_tiled(model, content, style, tile=64, folder=3)


def test_weights_of_styles(style):
    for weights in (np.asarray([1, 0.5]), jnp.asarray([1, 0.5]), (1, 0.5)):
        assert set(wct_jax.mix_styles([style, style], weights).moments) == set(style.moments)
    for weights in ("ab", [[1], [2]], [True, False], [None, 1], [1j, 1], 1.0):
        with pytest.raises(ValueError, match="weight"):
            wct_jax.mix_styles([style, style], weights)
    with pytest.raises(ValueError, match="weights must have values here"):
        jax.jit(lambda w: wct_jax.mix_styles([style, style], w))(np.ones(2, np.float32))


@pytest.mark.parametrize("name", ["whiten_color", "optimal_transport", "cholesky", "adain", "merge"])
def test_moments_are_asked_for(rng, name):
    function, own = getattr(wct_jax, name), wct_jax.moments(rng.random((4, 4, 3), np.float32))
    for value in (None, np.ones((4, 4, 3), np.float32), (1, 2, 3)):
        with pytest.raises(ValueError, match="must be Moments that moments made, got"):
            function(own, value)
    with pytest.raises(ValueError, match="as many channels, got 3 and 2"):
        function(own, wct_jax.moments(rng.random((4, 4, 2), np.float32)))
    if name != "merge":
        for eps in ("a", np.ones(3), True):
            with pytest.raises(ValueError, match="eps must be a number, got"):
                function(own, own, eps)


def test_options_are_checked_while_another_thread_imports_jax(monkeypatch):
    """As in the first second of the server."""
    monkeypatch.setitem(sys.modules, "jax", types.ModuleType("jax"))
    assert wct_jax.Options(alpha=[0.5, 1.0], strength=0.8).alpha == (0.5, 1.0)
