"""CFSD against float64."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from wct_jax.measures.self_similarity import self_similarity_distance


def expected(x, y):
    a, b = (
        log_softmax(f @ f.T, axis=1) for f in (np.float64(z).reshape(-1, z.shape[-1]) / z.shape[-1] for z in (x, y))
    )
    return (np.exp(a) * (a - b)).sum(1).mean()


@pytest.mark.parametrize("shape", [(1, 1, 3), (4, 5, 8), (19, 31, 16)])
@pytest.mark.parametrize("scale", [0.1, 3, 30])
def test_it_is_the_mean_divergence(rng, shape, scale):
    x, y = (scale * rng.normal(size=shape).astype(np.float32) for _ in range(2))
    found = self_similarity_distance(jnp.asarray(x), jnp.asarray(y))
    np.testing.assert_allclose(found, expected(x, y), rtol=1e-4, atol=1e-12)


def test_it_is_0_for_the_same(rng):
    x = jnp.asarray(rng.normal(size=(8, 9, 4)), jnp.float32)
    assert self_similarity_distance(x, x) == 0
    # Colours that change everywhere alike leave places as alike as they were.
    assert self_similarity_distance(x, -x) == 0
