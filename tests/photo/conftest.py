import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wct_jax.networks.grader import initial_grader


@pytest.fixture(scope="session")
def grading(model):
    """The small random model with a grader whose coefficients are small."""
    grader = initial_grader(model.widths, jax.random.key(1))
    last = {
        "kernel": 0.0008 * jax.random.normal(jax.random.key(2), grader["last"]["kernel"].shape),
        "bias": jnp.zeros(18),
    }
    return dataclasses.replace(model, grader={**grader, "last": last})


@pytest.fixture
def photo():
    """Smooth colours, an edge, and a little noise."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:60, :90].astype(np.float32) / 90
    image = np.stack([x, y, 0.7 - x * y], -1) * 0.6 + 0.2
    image[:, 40:] *= 0.5
    return (image + rng.normal(0, 0.01, image.shape)).astype(np.float32).clip(0, 1)
