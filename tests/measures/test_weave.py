"""Weave: seen where a photo is flat, and only beyond what photo and style have themselves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wct_jax.measures.weave import weave

SIDE = 96
rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float32)
SKY = np.broadcast_to((0.5 + 0.1 * rows / SIDE)[..., None], (SIDE, SIDE, 3))


def with_pattern(pattern, amount=0.05):
    return SKY + amount * np.float32(pattern)[..., None]


GRID = with_pattern(np.sin(np.pi * rows / 4) + np.sin(np.pi * columns / 4))
DIAGONAL = with_pattern(np.sin(np.pi * (rows + columns) / 6) + np.sin(np.pi * (rows - columns) / 6))


def noise(rng, amount=0.2):
    return rng.normal(0.5, amount, (SIDE, SIDE, 3)).astype(np.float32)


def test_a_grid_in_a_sky_is_weave_and_grain_is_none(rng):
    style = noise(rng)
    assert weave(GRID, SKY, style) > 1
    assert weave(DIAGONAL, SKY, style) > 1
    assert weave(with_pattern(rng.normal(size=rows.shape)), SKY, style) < 0.1


def test_a_sky_that_stays_has_no_weave_nor_has_what_cannot_be_seen(rng):
    assert weave(SKY, SKY, noise(rng)) == 0
    assert weave(with_pattern(np.sin(np.pi * rows / 4), 1e-5), SKY, noise(rng)) < 1e-3


def test_a_grid_that_the_style_or_the_photo_has_is_allowed(rng):
    assert weave(GRID, SKY, GRID) < 1e-3
    assert weave(GRID, GRID, noise(rng)) < 1e-3


def test_only_flat_parts_count(rng):
    assert weave(GRID + noise(rng) - 0.5, noise(rng), noise(rng)) < 1e-3


def test_sides_that_are_no_multiples_of_the_window(rng):
    part = weave(GRID[:70, :90], SKY[:70, :90], noise(rng))
    np.testing.assert_allclose(part, weave(GRID[:64, :64], SKY[:64, :64], noise(rng)), rtol=0.5)
    batch = [np.stack([x, x]) for x in (GRID, SKY, noise(rng))]
    assert weave(*batch) > 1


@pytest.mark.parametrize("result", [SKY, GRID])
@pytest.mark.slow
def test_the_gradient_is_finite_and_leads_down(rng, result):
    style = jnp.asarray(noise(rng))
    value, gradient = jax.value_and_grad(lambda x: weave(x, SKY, style))(jnp.asarray(result))
    assert np.isfinite(gradient).all()
    if value > 1e-3:
        assert weave(result - 1e-2 * gradient / np.abs(gradient).max(), SKY, style) < value
