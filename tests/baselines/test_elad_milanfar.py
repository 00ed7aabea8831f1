"""Elad and Milanfar: each step against brute force, and what the whole must give."""

import numpy as np
import pytest

from wct_jax.baselines.elad_milanfar import paint_elad_milanfar, synthesized
from wct_jax.baselines.patches import Patches, aggregate, indices, places
from wct_jax.baselines.smoothing import enlarged, halved, mask_of_edges, smooth, with_colors_of


@pytest.fixture
def picture(rng):
    return rng.random((23, 19, 3), np.float32)


def windows(image, patch, gap):
    """The patches, by loops."""
    height, width = image.shape[:2]
    rows, columns = places(height, patch, gap), places(width, patch, gap)
    return np.stack([image[r : r + patch, c : c + patch].ravel() for r in rows for c in columns])


@pytest.mark.parametrize(("side", "patch", "gap"), [(23, 9, 5), (9, 9, 5), (10, 9, 5), (1, 1, 1)])
def test_patches_cover_the_side(side, patch, gap):
    starts = places(side, patch, gap)
    assert (starts[0], starts[-1]) == (0, side - patch)
    assert (np.diff(starts) <= gap).all()


def test_indices_are_those_of_patches(picture):
    found = picture.reshape(-1, 3)[indices(picture.shape[:2], 5, 3)]
    np.testing.assert_array_equal(found.reshape(len(found), -1), windows(picture, 5, 3))


def test_nearest_patches_are_those_of_brute_force(picture, rng):
    patches = Patches(picture, 5, np.random.default_rng(0))
    wanted = windows(rng.random((16, 17, 3), np.float32), 5, 2)
    known = (windows(picture, 5, 1) - patches._mean) @ patches._basis.astype(np.float64)
    values = (wanted - patches._mean) @ patches._basis.astype(np.float64)
    brute = np.square(values[:, None] - known[None]).sum(-1)
    np.testing.assert_array_equal(patches.nearest(wanted), brute.argmin(1))
    np.testing.assert_array_equal(patches.matched(wanted), windows(picture, 5, 1)[brute.argmin(1)])


def test_components_are_orthonormal_and_hold_the_variance(picture):
    patches = Patches(picture, 5, np.random.default_rng(0))
    basis, values = patches._basis.astype(np.float64), windows(picture, 5, 1) - patches._mean
    np.testing.assert_allclose(basis.T @ basis, np.eye(basis.shape[1]), atol=1e-5)
    shares = [np.square(values @ basis[:, :count]).sum() / np.square(values).sum() for count in (basis.shape[1], -1)]
    assert shares[0] >= 0.95 > shares[1]


def test_large_pictures_are_searched_in_part(monkeypatch, picture):
    monkeypatch.setattr("wct_jax.baselines.patches._MOST_PATCHES", 60)
    monkeypatch.setattr("wct_jax.baselines.patches._AT_ONCE", 100)
    patches = Patches(picture, 5, np.random.default_rng(0))
    every = windows(picture, 5, 3)
    np.testing.assert_array_equal(patches.nearest(every), np.arange(len(every)))


def test_aggregation_is_that_of_a_loop(picture, rng):
    size, gap, power = 5, 3, 0.8
    of = indices(picture.shape[:2], size, gap)
    matched = rng.random((len(of), size * size * 3), np.float32)
    x = picture.astype(np.float64)
    for _ in range(4):
        total, weight = np.zeros(x.shape), np.zeros(x.shape[:2])
        starts = [(r, c) for r in places(x.shape[0], size, gap) for c in places(x.shape[1], size, gap)]
        for (r, c), z in zip(starts, matched.reshape(-1, size, size, 3), strict=True):
            here = slice(r, r + size), slice(c, c + size)
            w = (np.square(x[here] - z).sum() + 1e-6) ** ((power - 2) / 2)
            total[here] += w * z
            weight[here] += w
        x = total / weight[..., None]
    np.testing.assert_allclose(aggregate(picture, matched, of, power, 4), x, atol=1e-5)


def test_aggregation_forgets_an_outlier(picture):
    of = indices(picture.shape[:2], 5, 1)
    matched = picture.reshape(-1, 3)[of].reshape(len(of), -1)
    matched[100] = 1 - matched[100]
    np.testing.assert_allclose(aggregate(picture, matched, of, 0.8, 10), picture, atol=1e-4)
    assert np.abs(aggregate(picture, matched, of, 2, 1) - picture).max() > 1e-2


@pytest.mark.parametrize("patch", [5, 9, 19])
def test_texture_from_itself_gives_itself(picture, patch):
    of = indices(picture.shape[:2], patch, 3)
    found = synthesized(picture, Patches(picture, patch, np.random.default_rng(0)), of)
    np.testing.assert_allclose(found, picture, atol=1e-6)


def test_colors_are_the_pictures(picture, rng):
    photo = rng.random((30, 40, 3), np.float32) ** 2
    found = with_colors_of(photo, picture)
    for channel in range(3):
        order = np.argsort(photo[..., channel], axis=None)
        assert (np.diff(found[..., channel].ravel()[order]) >= 0).all()
        quantiles = [np.quantile(each[..., channel], np.linspace(0, 1, 9)) for each in (found, picture)]
        np.testing.assert_allclose(*quantiles, atol=0.02)
    np.testing.assert_allclose(with_colors_of(picture, picture), picture, atol=1e-6)
    flat = with_colors_of(np.full((4, 5, 3), 0.3, np.float32), picture)
    assert len(np.unique(flat.reshape(-1, 3), axis=0)) == 1


def test_smoothing_stops_at_edges(rng):
    image = np.full((30, 40, 3), 0.2, np.float32)
    image[:, 20:] = 0.8
    noisy = image + rng.normal(0, 0.02, image.shape).astype(np.float32)
    found = smooth(noisy)
    assert np.abs(found - image).mean() < 0.4 * np.abs(noisy - image).mean()
    assert np.abs(found - image).max() < 0.06
    np.testing.assert_allclose(smooth(image[:, :20]), image[:, :20], atol=1e-6)
    np.testing.assert_allclose(found.swapaxes(0, 1).shape, smooth(noisy.swapaxes(0, 1)).shape)


def test_mask_is_where_edges_are():
    photo = np.full((80, 90, 3), 0.5, np.float32)
    assert not mask_of_edges(photo).any()
    photo[20:50, 30:60] = 0.1
    mask = mask_of_edges(photo)
    assert mask[35, 45] > 0.99
    assert mask[20, 30] > 0.9
    assert not mask[:10].any()
    assert not mask[70:].any()


def test_pyramid_goes_down_and_up():
    ramp = np.broadcast_to(np.linspace(0, 1, 41, dtype=np.float32)[:, None, None], (41, 37, 3))
    small = halved(ramp)
    assert small.shape == (21, 19, 3)
    np.testing.assert_allclose(enlarged(small, 41, 37)[8:-8], ramp[8:-8], atol=1e-3)


@pytest.mark.parametrize("sides", [(1, 1), (3, 40), (70, 68)])
def test_any_size_is_painted_alike_each_time(sides, rng):
    photo, picture = rng.random((*sides, 3), np.float32), rng.random((20, 30, 3), np.float32)
    reports = []
    first = paint_elad_milanfar(photo, picture, seed=3, progress=lambda *report: reports.append(report))
    assert first.shape == photo.shape
    assert first.dtype == np.float32
    assert first.min() >= 0
    assert first.max() <= 1
    assert [done for done, _ in reports] == list(range(reports[0][1]))
    np.testing.assert_array_equal(first, paint_elad_milanfar(photo, picture, seed=3))


def test_photo_stays_where_it_is_kept(rng):
    photo, picture = rng.random((40, 40, 3), np.float32), rng.random((40, 40, 3), np.float32)
    mask = np.zeros((40, 40))
    mask[:, :20] = 1
    found = paint_elad_milanfar(photo, picture, mask=mask, fidelity=20)
    apart = np.abs(found - with_colors_of(photo, picture)).mean((0, 2))
    assert apart[:15].mean() < 0.5 * apart[25:].mean()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"mask": np.full((9, 9), 2.0)}, "mask"),
        ({"mask": np.zeros((3, 4))}, "mask"),
        ({"fidelity": -1}, "fidelity"),
        ({"seed": -1}, "seed"),
    ],
)
def test_wrong_arguments_are_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        paint_elad_milanfar(np.zeros((9, 9, 3), np.float32), np.zeros((9, 9, 3), np.float32), **options)
