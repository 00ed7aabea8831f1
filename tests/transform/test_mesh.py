"""Meshes with explicit axes: images spread over them by rows and columns, too."""

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from wct_jax import extract_style, style_swap, stylize

pytestmark = pytest.mark.usefixtures("quick", "directly")


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(6).random((2, 20, 24, 3), np.float32)


@pytest.fixture(scope="module")
def style(model, image):
    return extract_style(model, image[0, ::-1], ["relu3_1", "relu1_1"])


def spread(image, *axes):
    mesh = jax.make_mesh((2, 2), ("x", "y"), axis_types=(AxisType.Explicit,) * 2)
    return jax.device_put(image, NamedSharding(mesh, PartitionSpec(*axes)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("axes", "options"),
    [
        ((None, "x"), {}),
        (("x", None, "y"), {}),
        ((None, "x", "y"), {}),
        (
            (None, "x"),
            {"method": "one-pass", "structure": 0.5, "structure_map": np.linspace(0, 1, 24), "shrinkage": 0.1},
        ),
    ],
)
def test_rows_and_columns_may_be_apart(model, image, style, axes, options):
    apart = spread(image, *axes)
    result = stylize(model, apart, style, **options)
    assert result.sharding.is_equivalent_to(apart.sharding, 4)
    np.testing.assert_allclose(result, stylize(model, image, style, **options), atol=1e-3)
    own, expected = (extract_style(model, x, "relu3_1").moments["relu3_1"] for x in (apart, image))
    assert own.mean.sharding.is_equivalent_to(NamedSharding(apart.sharding.mesh, PartitionSpec(axes[0])), 2)
    np.testing.assert_allclose(own.mean, expected.mean, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_with_masks_and_a_gradient(model, image, style):
    mask = np.linspace(0, 1, 24, dtype=np.float32)
    options = {"layers": "relu1_1", "mask": [mask], "alpha_map": mask, "content_weights": mask, "passes": 2}

    def loss(x):
        return (stylize(model, x, [style], 0.5, **options) ** 2).sum()

    with jax.numpy_rank_promotion("allow"):
        (value, gradient), (expected, there) = (
            jax.jit(jax.value_and_grad(loss))(x) for x in (spread(image, None, "x"), image)
        )
    np.testing.assert_allclose(value, expected, rtol=1e-4)
    np.testing.assert_allclose(gradient, there, atol=1e-3 * float(np.abs(there).max()))


@pytest.mark.slow
@pytest.mark.core
def test_features(model, image):
    apart = spread(image, None, "x")
    own, expected = (style_swap(x, image[0, :8, :8], patch=1) for x in (apart, image))
    np.testing.assert_allclose(own, expected, atol=1e-5)
    with pytest.raises(ValueError, match="must not be spread over explicit axes of a mesh by rows or columns"):
        model.encode(apart)
