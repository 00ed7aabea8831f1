"""Style swap against a loop over all patches."""

import jax
import numpy as np
import pytest

from wct_jax.transform import swap
from wct_jax.transform.swap import style_swap


def by_loops(content, style, patch, stride, usable=None):
    """Equations 2 and 3 of Chen and Schmidt in plain loops."""
    height, width, _ = content.shape
    patch_rows, patch_columns = min(patch, height, style.shape[0]), min(patch, width, style.shape[1])

    def starts(side, patch):
        return sorted({*range(0, side - patch + 1, stride), side - patch})

    places = [(i, j) for i in starts(style.shape[0], patch_rows) for j in starts(style.shape[1], patch_columns)]
    offered = [style[i : i + patch_rows, j : j + patch_columns] for i, j in places]
    if usable is not None:
        offered = [each for each, (i, j) in zip(offered, places, strict=True) if usable(i, j)]
    total, count = np.zeros_like(content), np.zeros((height, width, 1), content.dtype)
    for i in starts(height, patch_rows):
        for j in starts(width, patch_columns):
            here = slice(i, i + patch_rows), slice(j, j + patch_columns)
            scores = [np.vdot(content[here], each) / np.linalg.norm(each) for each in offered]
            total[here] += offered[int(np.argmax(scores))]
            count[here] += 1
    return total / count


@pytest.mark.parametrize(
    ("patch", "stride", "at_once"),
    [
        (3, 2, 1024),
        pytest.param(9, 1, 20, marks=pytest.mark.slow),
        *(
            pytest.param(*each, marks=pytest.mark.slow)
            for each in [(1, 1, 1024), (3, 1, 1024), (4, 3, 20), (9, 1, 1024)]
        ),
    ],
)
def test_patches_are_the_most_similar_ones(rng, monkeypatch, patch, stride, at_once):
    monkeypatch.setattr(swap, "_AT_ONCE", at_once)
    content, style = (rng.normal(size=size).astype(np.float32) for size in ((8, 11, 5), (7, 10, 5)))
    result = style_swap(content, style, patch=patch, stride=stride)
    np.testing.assert_allclose(result, by_loops(content, style, patch, stride), atol=1e-5)


@pytest.mark.slow
def test_a_feature_swapped_with_itself_comes_back(rng):
    feature = rng.normal(size=(9, 8, 6)).astype(np.float32)
    for patch, stride in ((3, 1), (3, 2), (5, 4)):
        np.testing.assert_allclose(style_swap(feature, feature, patch=patch, stride=stride), feature, atol=1e-5)


@pytest.mark.slow
def test_what_has_no_weight_is_not_used(rng):
    content, style = (rng.normal(size=(8, 8, 4)).astype(np.float32) for _ in range(2))
    weights = np.zeros((8, 8), np.float32)
    weights[:, :5] = 0.5
    # Patches need half the weight of the heaviest one: two of three columns.
    expected = by_loops(content, style, 3, 1, lambda i, j: j <= 3)
    np.testing.assert_allclose(style_swap(content, style, style_weights=weights), expected, atol=1e-5)


@pytest.mark.slow
def test_on_a_canvas_the_image_alone_counts(rng):
    content, style = (rng.normal(size=(9, 7, 4)).astype(np.float32) for _ in range(2))
    canvas = rng.normal(size=(16, 16, 4)).astype(np.float32)
    canvas[:9, :7] = content
    for patch, stride in ((3, 1), (3, 2)):
        result = style_swap(canvas, style, patch=patch, stride=stride, size=np.asarray([9, 7], np.int32))
        np.testing.assert_allclose(result[:9, :7], style_swap(content, style, patch=patch, stride=stride), atol=1e-5)


@pytest.mark.slow
def test_leading_dimensions(rng):
    contents, style = rng.normal(size=(2, 6, 6, 3)).astype(np.float32), rng.normal(size=(5, 5, 3)).astype(np.float32)
    together = jax.jit(style_swap)(contents, style)
    for content, result in zip(contents, together, strict=True):
        np.testing.assert_allclose(result, style_swap(content, style), atol=1e-6)


@pytest.mark.slow
def test_flat_and_single_pixels_are_no_nan():
    assert np.isfinite(style_swap(np.zeros((4, 4, 3), np.float32), np.zeros((5, 5, 3), np.float32))).all()
    one = np.ones((1, 1, 3), np.float32)
    np.testing.assert_allclose(style_swap(np.zeros((4, 4, 3), np.float32), one), 1)


def test_what_does_not_fit_is_refused(rng):
    feature = rng.normal(size=(5, 5, 3)).astype(np.float32)
    with pytest.raises(ValueError, match=r"of one C, got \(5, 5, 3\) and \(5, 5, 2\)"):
        style_swap(feature, feature[..., :2])
    with pytest.raises(ValueError, match="`stride` must be from 1 to `patch`, 3, got 4"):
        style_swap(feature, feature, stride=4)
