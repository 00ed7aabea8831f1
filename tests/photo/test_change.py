import jax
import numpy as np
import pytest

from wct_jax.photo.cells import CELL, TERMS, Photo
from wct_jax.photo.change import Change, Grading
from wct_jax.photo.tone import Toning, into_gamut
from wct_jax.transform.statistics import moments

pytestmark = pytest.mark.core


@pytest.fixture
def large(rng):
    """A photo of several tiles."""
    return ((rng.random((530, 1030, 3), np.float32) + 1) / 3).astype(np.float32)


@pytest.fixture
def cells(rng):
    return rng.normal(0, 0.1, (-(-530 // CELL), -(-1030 // CELL), 3, TERMS)).astype(np.float32)


@pytest.mark.slow
def test_a_grading_is_the_change_of_its_coefficients(large, cells, rng):
    toning = Toning.of(moments(large), moments(rng.random((9, 9, 3), np.float32) ** 2))
    expected = jax.jit(lambda x, cells: into_gamut(Photo(x, toning).graded(cells)))(large, cells)
    found = Change([Grading.of(cells, toning)], CELL).apply(large)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_without_coefficients_means_and_covariances_are_matched(large, rng):
    picture = (rng.random((40, 50, 3), np.float32) * (0.3, 0.2, 0.1) + 0.3).astype(np.float32)
    toning = Toning.of(moments(large), moments(picture))
    result = Change([Grading.of(np.zeros((-(-530 // CELL), -(-1030 // CELL), 3, TERMS)), toning)], CELL).apply(large)
    np.testing.assert_allclose(result.mean((0, 1)), picture.mean((0, 1)), atol=1e-3)
    covariances = [np.cov(image.reshape(-1, 3).T) for image in (result, picture)]
    np.testing.assert_allclose(*covariances, atol=2e-3)


def test_coarse_cells_of_a_large_photo(large, cells, rng):
    """A photo twice as large, with cells twice as large, is changed alike."""
    toning = Toning.of(moments(large), moments(large**2))
    small = np.repeat(np.repeat(rng.random((53, 103, 3), np.float32), 5, 0), 5, 1)[:264, :512]
    twice = small.repeat(2, 0).repeat(2, 1)
    change = Change([Grading.of(cells[: 264 // CELL + 1, : 512 // CELL], toning)], CELL)
    coarse = Change([Grading.of(cells[: 264 // CELL + 1, : 512 // CELL], toning)], 2 * CELL)
    means = coarse.apply(twice).reshape(264, 2, 512, 2, 3).mean((1, 3))
    np.testing.assert_allclose(means, change.apply(small), atol=5e-3)


def test_where_no_region_is_the_photo_stays(large, cells):
    toning = Toning.of(moments(large), moments(large**2))
    share = np.zeros(large.shape[:2], np.float32)
    share[:, :300] = 0.5
    result = Change([Grading.of(cells, toning)], CELL, [share]).apply(large)
    np.testing.assert_array_equal(result[:, 300:], large[:, 300:])
    whole = Change([Grading.of(cells, toning)], CELL).apply(large)
    np.testing.assert_allclose(result[:, :300], (large[:, :300] + whole[:, :300]) / 2, atol=1e-6)
