"""The distance of colours against sorted samples in float64."""

import numpy as np
import pytest

from wct_jax.measures.colors import color_distance


def test_it_is_that_of_sorted_projections(rng):
    x, y = rng.random((64, 48, 3)), rng.random((64, 48, 3)) ** 2
    directions = np.random.default_rng(0).normal(size=(3, 64))
    directions /= np.linalg.norm(directions, axis=0)
    a, b = (np.sort(z.reshape(-1, 3) @ directions, axis=0) for z in (x, y))
    assert color_distance(x, y) == pytest.approx(np.abs(a - b).mean(), rel=1e-3)


def test_places_and_sizes_do_not_matter(rng):
    x = rng.random((20, 30, 3))
    assert color_distance(x, rng.permutation(x.reshape(-1, 3)).reshape(30, 20, 3)) < 1e-12
    assert color_distance(x, np.tile(x, (2, 3, 1))) < 1e-3


def test_a_shift_counts_by_its_length():
    black, white = np.zeros((4, 4, 3)), np.ones((5, 3, 3))
    # The mean of |u . (1, 1, 1)| over directions u is half the length.
    assert color_distance(black, white) == pytest.approx(3**0.5 / 2, rel=0.1)
    assert color_distance(black, white / 2) == pytest.approx(color_distance(black, white) / 2)
