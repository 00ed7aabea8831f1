"""Arrays from callers: the right result for each dtype and kind, or one sentence."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import wct_jax
from wct_jax.checks.arrays import as_image, as_map, as_weights, on_host

SIDES = (6, 7)
FEATURE = np.random.default_rng(5).random((*SIDES, 3), np.float32)


@pytest.fixture(scope="module")
def style(model):
    return wct_jax.extract_style(model, FEATURE, ["relu1_1"])


def masked(x):
    return np.ma.masked_array(x, x > 0.5)


class Broken:
    """Like a PyTorch tensor that requires a gradient."""

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use detach() first.\nAnd more.")


REFUSED = {
    "uint8": (FEATURE * 255).astype(np.uint8),
    "uint16": (FEATURE * 65535).astype(np.uint16),
    "int64": np.ones((*SIDES, 3), np.int64),
    "jax's uint8": jnp.ones((*SIDES, 3), jnp.uint8),
    "complex": FEATURE + 0j,
    "float8": jnp.asarray(FEATURE, jnp.float8_e4m3fn),
    "longdouble": FEATURE.astype(np.longdouble),
    "object": FEATURE.astype(object),
    "strings": FEATURE.astype(str),
    "dates": np.zeros((*SIDES, 3), "M8[s]"),
    "fields": np.zeros((*SIDES, 3), [("r", "f4")]),
    "masked": masked(FEATURE),
    "key": jax.random.key(0),
    "ragged": [[[1.0, 2.0, 3.0]], [[1.0, 2.0]]],
    "broken": Broken(),
    "path": "photo.jpg",
    "none": None,
    "dict": {},
    "empty": FEATURE[:0],
    "plane": FEATURE[..., 0],
}
if REFUSED["longdouble"].dtype == np.float64:
    del REFUSED["longdouble"]

in_tiles = functools.partial(wct_jax.stylize_tiled, tile=64)
style_in_tiles = functools.partial(wct_jax.extract_style_tiled, tile=64)
IMAGES = {
    "stylize": lambda model, style, x: wct_jax.stylize(model, x, style),
    "stylize_tiled": lambda model, style, x: in_tiles(model, x, style),
    "extract_style": lambda model, style, x: wct_jax.extract_style(model, x, "relu1_1"),
    "extract_style_tiled": lambda model, style, x: style_in_tiles(model, x, "relu1_1"),
    "encode": lambda model, style, x: model.encode(x, "relu1_1"),
    "preserve_color, image": lambda model, style, x: wct_jax.preserve_color(x, FEATURE, "coral"),
    "preserve_color, photo": lambda model, style, x: wct_jax.preserve_color(FEATURE, x, "coral"),
    "wct, content": lambda model, style, x: wct_jax.wct(x, FEATURE),
    "wct, style": lambda model, style, x: wct_jax.wct(FEATURE, x),
    "moments": lambda model, style, x: wct_jax.moments(x),
    "whiten": lambda model, style, x: wct_jax.whiten(x),
    "style_swap, content": lambda model, style, x: wct_jax.style_swap(x, FEATURE),
    "style_swap, style": lambda model, style, x: wct_jax.style_swap(FEATURE, x),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("function", IMAGES)
def test_images_and_features_that_are_refused(model, style, function, kind):
    if kind == "plane" and function.startswith("preserve_color"):
        pytest.skip("said of both sizes")
    with pytest.raises(ValueError, match=r"^[^\n]* must be [^\n]*, got ") as caught:
        IMAGES[function](model, style, REFUSED[kind])
    assert "\n" not in str(caught.value)
    if "uint8" in kind:
        assert str(caught.value).endswith(": divide it by 255")


def test_what_is_refused_is_refused_in_tiles(model, style, rng):
    image = rng.integers(0, 256, (70, 90, 3), dtype=np.uint8)
    for call in (IMAGES["stylize_tiled"], IMAGES["extract_style_tiled"]):
        with pytest.raises(ValueError, match="got uint8: divide it by 255"):
            call(model, style, image)


TAKEN = {
    "float64": FEATURE.astype(np.float64),
    "big endian": FEATURE.astype(">f4"),
    "nested lists": FEATURE.tolist(),
    "jax": jnp.asarray(FEATURE),
    "lists of jax": [list(map(jnp.asarray, row)) for row in FEATURE],
    "read-only": np.frombuffer(FEATURE.tobytes(), np.float32).reshape(FEATURE.shape),
    "columns first": np.asfortranarray(FEATURE),
    "backwards": np.ascontiguousarray(FEATURE[::-1, ::-1])[::-1, ::-1],
    "masked nowhere": np.ma.masked_array(FEATURE),
}


# Without style swap, which takes features as `wct` does but compiles slowly.
QUICK = [name for name in IMAGES if "swap" not in name]


def assert_close(own, expected, **tolerance):
    for a, b in zip(jax.tree.leaves(own), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(np.asarray(a, np.float32), b, **tolerance)


def dtypes(result):
    return [leaf.dtype for leaf in jax.tree.leaves(result)]


@pytest.mark.parametrize("kind", TAKEN)
@pytest.mark.parametrize("function", QUICK)
def test_images_and_features_that_are_taken(model, style, function, kind):
    own, expected = (IMAGES[function](model, style, image) for image in (TAKEN[kind], FEATURE))
    assert dtypes(own) == dtypes(expected)
    assert_close(own, expected, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("function", QUICK)
@pytest.mark.parametrize("of", [jnp.asarray, np.asarray])
def test_half_precision(model, style, function, dtype, of):
    own, expected = (IMAGES[function](model, style, image) for image in (of(jnp.asarray(FEATURE, dtype)), FEATURE))
    in_dtype = function in ("stylize", "encode", "wct, content", "whiten")
    assert set(dtypes(own)) == {jnp.dtype(dtype if in_dtype else np.float32)}
    for a, b in zip(jax.tree.leaves(own), jax.tree.leaves(expected), strict=True):
        assert_close(a, b, atol=0.05 * np.abs(np.asarray(b)).max())


@pytest.mark.slow
def test_style_swap_is_in_the_dtype_of_the_content():
    result = wct_jax.style_swap(jnp.asarray(FEATURE, jnp.bfloat16), FEATURE.astype(np.float64), patch=1)
    assert result.dtype == jnp.bfloat16


@pytest.mark.slow
def test_half_precision_in_tiles(model, rng):
    image = rng.random((70, 90, 3), np.float32)
    mask = np.linspace(0, 1, 90, dtype=np.float32)[None].repeat(70, 0)
    style = wct_jax.extract_style(model, image[::-1], "relu1_1")
    options = {"tile": 48, "mask": [mask]}
    small = {"tile": 48, "layers": "relu1_1"}
    for dtype in (np.float16, jnp.bfloat16, np.float64):
        half = image.astype(dtype)
        for own, expected in (
            (wct_jax.stylize_tiled(model, x, [style], **options) for x in (half, half.astype(np.float32))),
            (wct_jax.extract_style_tiled(model, x, **small) for x in (half, half.astype(np.float32))),
        ):
            assert set(dtypes(own)) == {np.dtype("float32")}
            assert_close(own, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_a_file_is_read_in_tiles(model, style, rng, tmp_path):
    image = np.lib.format.open_memmap(tmp_path / "photo.npy", "w+", np.float32, (70, 90, 3))
    image[:] = rng.random(image.shape)
    expected = wct_jax.stylize_tiled(model, np.asarray(image), style, tile=48)
    image = np.load(tmp_path / "photo.npy", mmap_mode="r")
    assert isinstance(as_image("content", image).base, np.memmap)
    np.testing.assert_array_equal(wct_jax.stylize_tiled(model, image, style, tile=48), expected)


# Values per pixel

MAPS = {
    "content_weights": lambda model, style, w: wct_jax.stylize(model, FEATURE, style, content_weights=w),
    "mask": lambda model, style, w: wct_jax.stylize(model, FEATURE, [style], mask=[w]),
    "alpha_map": lambda model, style, w: wct_jax.stylize(model, FEATURE, style, alpha_map=w),
    "content_weights in tiles": lambda model, style, w: in_tiles(model, FEATURE, style, content_weights=w),
    "mask in tiles": lambda model, style, w: in_tiles(model, FEATURE, [style], mask=[w]),
    "alpha_map in tiles": lambda model, style, w: in_tiles(model, FEATURE, style, alpha_map=w),
    "weights": lambda model, style, w: wct_jax.extract_style(model, FEATURE, "relu1_1", weights=w),
    "weights in tiles": lambda model, style, w: style_in_tiles(model, FEATURE, "relu1_1", weights=w),
    "preserve_color": lambda model, style, w: wct_jax.preserve_color(FEATURE, FEATURE**2, "coral", weights=w),
    "wct, alpha": lambda model, style, w: wct_jax.wct(FEATURE, FEATURE**2, w),
    "wct, content_weights": lambda model, style, w: wct_jax.wct(FEATURE, FEATURE**2, content_weights=w),
    "wct, style_weights": lambda model, style, w: wct_jax.wct(FEATURE, FEATURE**2, style_weights=w),
    "moments": lambda model, style, w: wct_jax.moments(FEATURE, w),
    "whiten": lambda model, style, w: wct_jax.whiten(FEATURE, weights=w),
    "style_swap": lambda model, style, w: wct_jax.style_swap(FEATURE, FEATURE, style_weights=w),
}
WHOLE = np.zeros(SIDES, np.float32)
WHOLE[:, 2:] = 1


@pytest.mark.parametrize(
    "kind", ["uint8", "uint16", "int64", "jax's uint8", "complex", "float8", "object", "strings", "masked", "broken"]
)
@pytest.mark.parametrize("function", MAPS)
def test_maps_that_are_refused(model, style, function, kind):
    value = REFUSED[kind]
    with pytest.raises(ValueError, match=r"^[^\n]* must be [^\n]+, got [^\n]+$"):
        MAPS[function](model, style, value if kind == "broken" else value[..., 0])


@pytest.mark.slow
@pytest.mark.parametrize("function", [name for name in MAPS if name != "style_swap"])
def test_maps_that_are_taken(model, style, function):
    expected, row = MAPS[function](model, style, WHOLE), WHOLE[0]
    for value in (
        *(WHOLE > 0, jnp.asarray(WHOLE) > 0, WHOLE.astype(np.float64), WHOLE.astype(np.float16), WHOLE.tolist()),
        *(jnp.asarray(WHOLE, jnp.bfloat16), np.asarray(jnp.asarray(WHOLE, jnp.bfloat16)), WHOLE.astype(">f4")),
        *(row, row.tolist(), jnp.asarray(row)[None], np.ma.masked_array(WHOLE)),
    ):
        with jax.numpy_rank_promotion("allow"):
            assert_close(MAPS[function](model, style, value), expected, atol=1e-6)
    assert_close(MAPS[function](model, style, 1), MAPS[function](model, style, np.ones(SIDES)), atol=1e-6)
    with pytest.raises(ValueError, match=r"must broadcast to \(6, 7\), got shape \(5, 7\)"):
        MAPS[function](model, style, WHOLE[1:])


@pytest.mark.parametrize("function", [name for name in MAPS if not name.startswith(("wct", "mom", "whi", "style_"))])
def test_values_at_hand_are_looked_at(model, style, function):
    for wrong in (WHOLE - 0.5, 2 * WHOLE, 2, WHOLE * np.nan, WHOLE + np.inf):
        with np.errstate(invalid="ignore"), pytest.raises(ValueError, match=r"must be in 0\.\.1, got"):
            MAPS[function](model, style, wrong)
    # Resizing leaves such values.
    MAPS[function](model, style, WHOLE * np.float32(1.0001))


def test_what_is_traced_is_not_looked_at():
    @jax.jit
    def weighed(x):
        return as_weights("weights", x, SIDES, jnp.float32)

    assert weighed(jnp.full(7, 3.0)).shape == SIDES
    with pytest.raises(ValueError, match=r"must broadcast to \(6, 7\), got shape \(3,\)"):
        weighed(jnp.ones(3))
    with pytest.raises(ValueError, match="got uint8: divide it by 255"):
        weighed(jnp.ones(7, jnp.uint8))


def test_what_is_traced_has_no_values_for_tiles(model, style):
    for call in (
        lambda x: in_tiles(model, x, style),
        lambda x: wct_jax.extract_style_tiled(model, x, tile=176),
        lambda x: wct_jax.preserve_color(x, FEATURE, "coral"),
    ):
        with pytest.raises(ValueError, match="must have values here, got an array that JAX is tracing"):
            jax.jit(call)(FEATURE)


def test_nothing_is_copied_or_compiled_without_need(caplog):
    value = jnp.asarray(WHOLE)
    assert as_weights("weights", value, SIDES, jnp.float32) is value
    assert as_map("weights", value, SIDES) is value
    assert np.shares_memory(as_weights("weights", WHOLE, SIDES, np.float32), WHOLE)
    assert np.shares_memory(as_image("content", FEATURE), FEATURE)
    with jax.log_compiles():
        for sides in ((5, 9), (9, 5)):
            as_weights("weights", value[:1, :1], sides, jnp.float32)
        on_host("weights", value)
    assert not [message for message in caplog.messages if "broadcast" in message]


def test_where_the_result_goes_has_to_be_able_to_hold_it():
    fixed = np.empty_like(FEATURE)
    fixed.flags.writeable = False
    for out in (np.empty(FEATURE.shape, np.uint8), fixed, np.empty((2, 2, 3)), []):
        with pytest.raises(ValueError, match="out must be a float array"):
            wct_jax.preserve_color(FEATURE, FEATURE, "coral", out=out)


def test_every_float_is_written(tmp_path):
    def written(pixels):
        wct_jax.write_image(tmp_path / "picture.png", pixels)
        return wct_jax.read_image(tmp_path / "picture.png")

    expected = written(FEATURE)
    for dtype in (np.float16, np.float64, jnp.bfloat16):
        for pixels in (FEATURE.astype(dtype), jnp.asarray(FEATURE.astype(dtype))):
            assert np.abs(written(pixels) - expected).max() <= (1.01 if dtype != jnp.bfloat16 else 2.01) / 255
    for kind in ("uint8", "complex", "object", "float8"):
        with pytest.raises(ValueError, match=r"expected float32 values in 0\.\.1, got"):
            written(REFUSED[kind])
    with pytest.raises(ValueError, match="pixels must be numbers"):
        written(REFUSED["key"])
