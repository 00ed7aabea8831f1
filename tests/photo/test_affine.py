import numpy as np
import pytest

from wct_jax.photo.affine import color_moments, fit_maps, sum_cells
from wct_jax.photo.change import Change
from wct_jax.photo.tone import YCC, match

pytestmark = pytest.mark.core


def applied(maps, cell, photo):
    """Without bringing colours into the gamut."""
    hats = [
        np.maximum(0, 1 - np.abs((((np.arange(n) + 0.5) / cell - 0.5).clip(0, count - 1))[:, None] - np.arange(count)))
        for n, count in zip(photo.shape, maps.shape, strict=False)
    ]
    each = np.einsum("yi,ijab,xj->yxab", hats[0], maps, hats[1], optimize=True)
    return np.einsum("yxab,yxb->yxa", each[..., :3], photo) + each[..., 3]


def test_an_affine_change_is_reproduced_exactly(photo, rng):
    matrix, bias = rng.normal(0, 0.5, (3, 3)), rng.normal(0, 0.2, 3)
    painting = (photo @ matrix.T + bias).astype(np.float32)
    for side in (1, 4, 7):
        maps = fit_maps(sum_cells(photo, painting, side), 1e-2)
        np.testing.assert_allclose(applied(maps, side, photo), painting, atol=2e-4)


def test_sums_are_those_of_the_pixels(photo, rng):
    painting, weights = photo[::-1].copy(), rng.random(photo.shape[:2], np.float32)
    cells = sum_cells(photo, painting, 7, weights)
    assert cells.weight.shape == (9, 13)
    part, painted, counted = (each[7:14, 84:] for each in (photo, painting, weights))
    np.testing.assert_allclose(cells.weight[1, 12], counted.sum(), rtol=1e-5)
    np.testing.assert_allclose(cells.photo[1, 12], np.einsum("yx,yxc->c", counted, part), rtol=1e-5)
    np.testing.assert_allclose(cells.cross[1, 12], np.einsum("yx,yxi,yxj->ij", counted, painted, part), rtol=1e-5)
    np.testing.assert_allclose(cells.own[1, 12], np.einsum("yx,yxi,yxj->ij", counted, part, part), rtol=1e-5)


def test_a_flat_photo_takes_the_mean_of_the_painting(rng):
    photo, painting = np.full((40, 50, 3), 0.3, np.float32), rng.random((40, 50, 3), np.float32)
    maps = fit_maps(sum_cells(photo, painting, 50), 1e-4)
    np.testing.assert_allclose(applied(maps, 50, photo)[0, 0], painting.mean((0, 1)), atol=1e-4)


def test_an_edge_of_the_painting_alone_is_not_taken(photo):
    painting = np.full_like(photo, 0.3)
    painting[30:] = 0.7  # Where the photo has none.
    maps = fit_maps(sum_cells(photo, painting, 2), 1e-2)
    steps = np.abs(np.diff(applied(maps, 2, photo), axis=0))
    assert steps.max() < 0.15


def test_pixels_without_weight_do_not_count(photo):
    painting, weights = photo * 0.5, np.ones(photo.shape[:2], np.float32)
    painting[:, 60:], weights[:, 60:] = 9, 0
    maps = fit_maps(sum_cells(photo, painting, 4, weights), 1e-4)
    assert np.isfinite(maps).all()
    np.testing.assert_allclose(applied(maps, 4, photo), photo * 0.5, atol=1e-3)


def test_moments_of_a_change(photo):
    cells = sum_cells(photo, photo, 10)
    maps = np.random.default_rng(0).normal(0, 0.3, (*cells.weight.shape, 3, 4))
    each = np.kron(maps.reshape(*maps.shape[:2], 12), np.ones((10, 10, 1))).reshape(*photo.shape[:2], 3, 4)
    changed = (np.einsum("yxab,yxb->yxa", each[..., :3], photo) + each[..., 3]).reshape(-1, 3)
    mean, covariance = color_moments(cells, maps)
    np.testing.assert_allclose(mean, changed.mean(0), atol=1e-5)
    np.testing.assert_allclose(covariance, np.cov(changed.T, bias=True), atol=1e-5)


@pytest.mark.parametrize("share", [0, 0.4, 1])
def test_matched_moments(photo, rng, share):
    colors = photo.reshape(-1, 3)
    mean, covariance = colors.mean(0), np.cov(colors.T)
    root = rng.normal(0, 0.2, (3, 3))
    target = rng.random(3), root @ root.T
    found = match(mean, covariance, target, share)
    changed = colors @ found[:, :3].T + found[:, 3]
    np.testing.assert_allclose(changed.mean(0), (1 - share) * mean + share * target[0], atol=1e-5)
    if share == 0:
        np.testing.assert_allclose(changed, colors, atol=1e-6)
    if share == 1:
        np.testing.assert_allclose(np.cov(changed.T), target[1], atol=0.02)
    # Luma is a function of luma alone.
    luma = YCC[0] @ found[:, :3]
    np.testing.assert_allclose(luma, luma.sum() * YCC[0], atol=1e-6)


def test_a_large_photo_is_changed_tile_by_tile(rng):
    photo = (rng.random((530, 1030, 3), np.float32) + 1) / 3
    maps = rng.normal(0, 0.02, (53, 103, 3, 4)) + 0.9 * np.eye(3, 4)
    result = Change([maps], 10).apply(photo)
    np.testing.assert_allclose(result, applied(maps, 10, photo), atol=0.02)  # Save for the gamut.
    inside = (result > 0.1) & (result < 0.9)
    assert np.abs(result - applied(maps, 10, photo))[inside.all(-1)].max() < 1e-4
