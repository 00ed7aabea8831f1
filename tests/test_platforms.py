"""Choices by platform: those of where a program is lowered, not of this machine."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wct_jax import extract_style, stylize, wct
from wct_jax.platforms import by_platform, platform_of


def lowered(function, platform, *arguments):
    return jax.jit(function).trace(*arguments).lower(lowering_platforms=(platform,)).as_text()


def called(text):
    return set(re.findall(r"custom_call @(\w+)", text))


def test_the_choice_is_made_where_a_program_is_lowered():
    choose = by_platform(cpu=lambda x, by=1: x + by, default=lambda x, by=1: x * by, static=("by",))
    assert "stablehlo.add" in lowered(lambda x: choose(x, by=3), "cpu", 1.0)
    for platform in ("cuda", "rocm", "tpu"):
        text = lowered(lambda x: choose(x, by=3), platform, 1.0)
        assert "stablehlo.multiply" in text
        assert "stablehlo.add" not in text
    np.testing.assert_array_equal(choose(jnp.arange(3.0), by=3), jnp.arange(3.0) + 3)
    np.testing.assert_array_equal(jax.vmap(choose)(jnp.arange(3.0)), jnp.arange(3.0) + 1)


@pytest.mark.parametrize(
    ("transform", "cpu", "cuda"),
    [("zca", set(), set()), ("ot", {"lapack_sgesdd_ffi"}, {"cusolver_gesvdj_ffi"})],
)
def test_each_platform_has_its_own_decompositions(model, rng, transform, cpu, cuda):
    """On the CPU one after the other and in double precision, elsewhere in batches."""
    image = rng.random((2, 64, 64, 3), np.float32)
    style = extract_style(model, image[0], "relu1_1")

    def repaint(image):
        return stylize(model, image, style, transform=transform)

    text = lowered(repaint, "cpu", image)
    assert called(text) == {"lapack_dsyevd_ffi"} | cpu
    assert "stablehlo.while" in text
    text = lowered(repaint, "cuda", image)
    assert called(text) == {"cusolver_syevd_ffi"} | cuda
    assert "f64" not in text
    # Nor are rows and blocks done one after the other there.
    assert "stablehlo.while" not in text
    assert text.count("stablehlo.convolution") == 2
    text = lowered(repaint, "tpu", image)
    assert "f64" not in text
    assert not {name for name in called(text) if name.startswith(("lapack", "cusolver"))}


def test_an_exported_program_is_that_of_its_platforms(rng):
    feature = rng.random((9, 9, 4), np.float32)
    exported = jax.export.export(jax.jit(wct), platforms=("cpu", "cuda"))(feature, feature)
    assert called(exported.mlir_module()) >= {"lapack_dsyevd_ffi", "cusolver_syevd_ffi"}
    np.testing.assert_allclose(exported.call(feature, feature), wct(feature, feature), atol=1e-6)


def test_forward_mode_is_only_missing_on_the_cpu(model, rng):
    image = rng.random((16, 16, 3), np.float32)

    def encode(image):
        return jax.jvp(lambda x: model.encode(x, "relu1_1")["relu1_1"], (image,), (image,))

    assert "stablehlo.convolution" in lowered(encode, "cuda", image)
    with pytest.raises(TypeError, match="forward-mode"):
        lowered(encode, "cpu", image)


def test_the_platform_of_arrays():
    assert platform_of((np.ones(3), jnp.ones(3), None)) == "cpu"
    assert platform_of(jax.device_put(jnp.ones(3), jax.devices()[2])) == "cpu"
    with jax.default_device("cpu"):
        assert platform_of([]) == "cpu"
    with jax.default_device(jax.devices()[1]):
        assert platform_of([]) == "cpu"
