"""Frames of a film: painted by their own statistics, by a shot's, and by a moving average."""

import functools

import jax
import numpy as np
import pytest

from wct_jax import Options, extract_style, stylize
from wct_jax.painting.frames import stylize_frame
from wct_jax.transform.statistics import Moments, merge

pytestmark = pytest.mark.usefixtures("directly")
LAYERS = ["relu2_1", "relu1_1"]
OPTIONS = Options(layers=LAYERS, method="one-pass")
LOOKS = pytest.mark.parametrize(
    "options",
    [
        OPTIONS,
        Options(layers=LAYERS, method="cascade", passes=2, strength=0.7),
        Options(layers=LAYERS, method="one-pass", structure=0.3, alpha=(0.5, 1), margin=4, shrinkage=0.1),
    ],
    ids=["one pass", "cascade", "structure"],
)


@pytest.fixture(scope="module")
def frames():
    return np.random.default_rng(0).random((3, 66, 70, 3), np.float32) ** np.float32([[[[1]]], [[[2]]], [[[3]]]])


@LOOKS
def test_a_frame_without_others_is_a_photo(model, style, frames, options):
    names = ("layers", "method", "structure", "strength", "margin", "shrinkage")
    named = {name: getattr(options, name) for name in names} | {"passes": options.passes or 1}
    photo = stylize(model, frames[0], style, options.alpha, **named)
    painted, known = stylize_frame(model, frames[0], style, options)
    np.testing.assert_array_equal(painted, photo)
    assert len(known) == (options.passes or 1) * len(LAYERS)


@pytest.mark.slow
@LOOKS
def test_what_frames_know_together_paints_each_by_itself(model, style, frames, options):
    together, known = stylize_frame(model, frames, style, options)
    assert together.shape == frames.shape
    for frame, expected in zip(frames, together, strict=True):
        painted, used = stylize_frame(model, frame, style, options, known=known)
        np.testing.assert_allclose(painted, expected, atol=1e-5)
        jax.tree.map(np.testing.assert_array_equal, used, known)
    assert np.abs(together[0] - stylize_frame(model, frames[0], style, options)[0]).max() > 1e-3


def test_the_first_level_of_a_shot_merges_the_moments_of_its_frames(model, style, frames):
    _, known = stylize_frame(model, frames, style, OPTIONS)
    own = [stylize_frame(model, frame, style, OPTIONS)[1][0][0] for frame in frames]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), known[0][0], functools.reduce(merge, own))


def test_a_moving_average_keeps_a_share_of_the_frames_before(model, style, frames):
    _, before = stylize_frame(model, frames[0], style, OPTIONS)
    own = stylize_frame(model, frames[1], style, OPTIONS)
    fresh = stylize_frame(model, frames[1], style, OPTIONS, known=before, kept=0.0)
    np.testing.assert_allclose(fresh[0], own[0], atol=1e-5)
    _, mixed = stylize_frame(model, frames[1], style, OPTIONS, known=before, kept=0.75)
    (first,), (second,) = before[0], own[1][0]
    expected = merge(Moments(0.75 * first.count, first.mean, 0.75 * first.scatter), second)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), mixed[0][0], expected)


def test_a_shot_of_equal_frames_is_painted_like_one(model, style, frames):
    """However much of the past is kept."""
    alone, known = stylize_frame(model, frames[0], style, OPTIONS)
    again, _ = stylize_frame(model, frames[0], style, OPTIONS, known=known, kept=0.9)
    # Counts differ, and with them the divisor count - 1.
    np.testing.assert_allclose(again, alone, atol=2e-3)


@pytest.mark.slow
def test_each_region_remembers_its_own(model, style, photo, frames):
    other = extract_style(model, photo[40:] ** 0.3, LAYERS)
    left = np.zeros(frames.shape[1:3], np.float32)
    left[:, :30] = 1
    together, known = stylize_frame(model, frames, [style, other], OPTIONS, mask=[left])
    assert [len(level) for level in known] == [2, 2]
    painted, _ = stylize_frame(model, frames[2], [style, other], OPTIONS, mask=[left], known=known)
    np.testing.assert_allclose(painted, together[2], atol=1e-5)
