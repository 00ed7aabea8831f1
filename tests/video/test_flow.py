import importlib.resources
import io
import itertools
import sys

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from wct_jax.video import flow
from wct_jax.video.flow import Motion, opencv

SIDES = (96, 128)
# Pixels down and right between two frames.
STEP = (1, 3)


@pytest.fixture(scope="module")
def photo():
    data = (importlib.resources.files("wct_jax.convert") / "photos" / "village.jpg").read_bytes()
    return np.asarray(Image.open(io.BytesIO(data)), np.float32) / 255


@pytest.fixture
def pan(photo):
    """The frames of a pan, and paintings that keep their colours and have a new texture in each frame."""
    rng = np.random.default_rng(0)
    sources = [photo[STEP[0] * i :, STEP[1] * i :][: SIDES[0], : SIDES[1]].copy() for i in range(12)]
    textures = [gaussian_filter(rng.normal(0, 0.5, (*SIDES, 1)), (1, 1, 0)) for _ in sources]
    return sources, [
        (1 - source + texture).astype(np.float32) for source, texture in zip(sources, textures, strict=True)
    ]


def jumps(frames):
    """Mean square difference between frames along the pan."""
    ahead, back = np.s_[STEP[0] :, STEP[1] :], np.s_[: -STEP[0], : -STEP[1]]
    return np.mean([((one[ahead] - two[back]) ** 2).mean() for one, two in itertools.pairwise(frames)])


def detail(frame):
    return sum((np.diff(frame, axis=axis) ** 2).mean() for axis in (0, 1))


def test_steady_along_a_pan_and_still_sharp(pan):
    motion = Motion()
    frames = [motion.steady(*each) for each in zip(*pan, strict=True)]
    assert jumps(frames) < 0.2 * jumps(pan[1])
    assert 0.6 < detail(frames[-1]) / detail(pan[1][-1]) < 1.3


def test_the_first_frame_of_a_shot_is_its_painting(pan):
    sources, paintings = pan
    motion = Motion()
    for start in (0, 5):
        motion.reset()
        np.testing.assert_array_equal(motion.steady(sources[start], paintings[start]), paintings[start])
        assert np.abs(motion.steady(sources[start + 1], paintings[start + 1]) - paintings[start + 1]).mean() > 0.05


def test_a_new_source_is_painted_anew(pan, photo):
    other = np.ascontiguousarray(1 - photo[-SIDES[0] :, -SIDES[1] :])
    motion = Motion()
    motion.steady(pan[0][0], pan[1][0])
    kept = np.abs(motion.steady(other, 1 - other) - (1 - other)).mean() / np.abs(pan[1][0] - (1 - other)).mean()
    assert kept < 0.1


def test_places_that_were_hidden_are_painted_anew(photo):
    """A square moves by half its side over a still background."""
    sources = []
    for left in (30, 46):
        sources.append(photo[: SIDES[0], : SIDES[1]].copy())
        sources[-1][32:64, left : left + 32] = photo[128:160, 128:160]
    motion = Motion()
    motion.steady(sources[0], np.zeros_like(photo[: SIDES[0], : SIDES[1]]))
    result = motion.steady(sources[1], np.full_like(sources[1], 0.1))
    assert result[36:60, 33:42].mean() > 2 * result[:24].mean()


def test_stale_colours_give_way(pan):
    motion = Motion()
    motion.steady(pan[0][0], np.zeros_like(pan[0][0]))
    result = motion.steady(pan[0][1], np.ones_like(pan[0][1]))
    assert result.mean() > 0.95


def test_resumed_anywhere_is_the_same(pan):
    whole, resumed = Motion(), Motion()
    for source, painted in zip(*pan, strict=True):
        resumed = Motion.from_state({name: array.copy() for name, array in resumed.state().items()})
        np.testing.assert_array_equal(resumed.steady(source, painted), whole.steady(source, painted))
    whole.reset()
    assert whole.state() == {}


@pytest.mark.parametrize("sides", [(1, 1), (5, 40), (17, 1100), (16, 16)])
def test_frames_of_any_size(sides):
    rng = np.random.default_rng(0)
    motion = Motion()
    for _ in range(3):
        result = motion.steady(*rng.random((2, *sides, 3), np.float32))
        assert result.shape == (*sides, 3)
        assert np.isfinite(result).all()


def test_without_opencv(monkeypatch):
    opencv.cache_clear()
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ValueError, match=r'^following motion needs OpenCV: pip install "wct_jax\[video\]"$'):
        Motion()


def test_what_comes_in_at_the_border_is_not_trusted(pan):
    sources, _ = pan
    back, trust = flow._back(sources[0], sources[1])
    middle = np.s_[10:-10, 10:-10]
    np.testing.assert_allclose(back[middle].mean((0, 1)), STEP[::-1], atol=0.1)
    assert trust[middle].mean() > 0.8
    assert trust[:, -2:].max() == 0
