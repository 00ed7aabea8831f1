"""Choices by the platform that a program is lowered for, which need not be this machine's."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wct_jax import extract_style, stylize, wct
from wct_jax.transform.platforms import by_platform, platform_of


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


def exported(function, platforms, *arguments):
    """Export a function and load it from bytes, as another machine would."""
    return jax.export.deserialize(jax.export.export(jax.jit(function), platforms=platforms)(*arguments).serialize())


OF_TPU = {"Qr", "ProductOfElementaryHouseholderReflectors"}  # Parts of its singular value decomposition.


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("transform", "further"),
    [("zca", {}), ("ot", {"cpu": {"lapack_sgesdd_ffi"}, "cuda": {"cusolver_gesvdj_ffi"}, "tpu": OF_TPU}), ("wct", {})],
)
@pytest.mark.slow
def test_each_platform_gets_a_program_of_its_own(model, rng, transform, further):
    """The CPU decomposes one matrix after the other in double precision, other platforms decompose batches."""
    layers, image = ("relu2_1", "relu1_1"), rng.random((2, 24, 20, 3), np.float32)
    style = extract_style(model, image[0], layers)

    def repaint(image):
        if transform == "wct":
            return wct(image, image[0] ** 2)
        return stylize(model, image, style, layers=layers, transform=transform, method="cascade")

    convolutions = 0 if transform == "wct" else 8
    expected = repaint(image)
    for platform, decomposition in (("cpu", "lapack_dsyevd_ffi"), ("cuda", "cusolver_syevd_ffi"), ("tpu", "Eigh")):
        program = exported(repaint, (platform,), image)
        text = program.mlir_module()
        assert called(text) == {decomposition} | further.get(platform, set())
        assert ("f64" in text) == (platform == "cpu")
        # Only the CPU takes rows one after the other.
        assert ("stablehlo.while" in text) == (platform == "cpu" or further.get(platform) == OF_TPU)
        assert text.count("stablehlo.convolution") == convolutions
        if platform == "cpu":
            np.testing.assert_allclose(program.call(image), expected, atol=1e-3)
        else:
            with pytest.raises(ValueError, match=f"exported for platforms .*{platform}"):
                program.call(image)


@pytest.mark.usefixtures("quick")
def test_a_program_for_several_platforms_runs_here(model, rng):
    image = rng.random((24, 20, 3), np.float32)
    style = extract_style(model, image**2, "relu1_1")
    for function in (lambda x: stylize(model, x, style, layers="relu1_1"), lambda x: wct(x, x**2)):
        program = exported(function, ("cpu", "cuda", "tpu"), image)
        assert called(program.mlir_module()) >= {"lapack_dsyevd_ffi", "cusolver_syevd_ffi", "Eigh"}
        np.testing.assert_allclose(program.call(image), function(image), atol=1e-4)


def test_forward_mode_is_there_on_each_platform(model, rng):
    image = rng.random((16, 16, 3), np.float32)

    def encode(image):
        return jax.jvp(lambda x: model.encode(x, "relu1_1")["relu1_1"], (image,), (image,))

    assert "stablehlo.convolution" in lowered(encode, "cuda", image)
    assert "wct_convolve" in lowered(encode, "cpu", image)


def test_the_platform_of_arrays():
    assert platform_of((np.ones(3), jnp.ones(3), None)) == "cpu"
    assert platform_of(jax.device_put(jnp.ones(3), jax.devices()[2])) == "cpu"
    with jax.default_device("cpu"):
        assert platform_of([]) == "cpu"
    with jax.default_device(jax.devices()[1]):
        assert platform_of([]) == "cpu"
