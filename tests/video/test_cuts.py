import importlib.resources
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wct_jax.video.cuts import Cuts

LENGTH = 18
SIZE = (192, 108)
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PHOTOS = importlib.resources.files("wct_jax.convert") / "photos"


@pytest.fixture(scope="module")
def pictures():
    """Ours: of the examples, and the photos that conversion needs."""
    paths = [*sorted(EXAMPLES.glob("*.jpg")), *sorted(PHOTOS.iterdir(), key=lambda path: path.name)]
    return [Image.open(io.BytesIO(path.read_bytes())) for path in paths if path.name.endswith(".jpg")]


def look(picture, x=0.0, zoom=0.6, y=0.5):
    """A part of a picture, `x` in 0..1 from its left side to its right one, as a frame."""
    height = zoom * min(picture.height, picture.width * SIZE[1] / SIZE[0])
    width = height * SIZE[0] / SIZE[1]
    left, top = x * (picture.width - width), y * (picture.height - height)
    frame = picture.resize(SIZE, Image.Resampling.BILINEAR, (left, top, left + width, top + height))
    return np.asarray(frame, np.float32) / 255


def still(picture, i, rng):
    return look(picture) + rng.normal(0, 0.04, (*SIZE[::-1], 3))


def pan(picture, i, rng):
    return look(picture, i / LENGTH)


def zoom(picture, i, rng):
    return look(picture, 0.5, 0.9 * 0.96**i)


def hand(picture, i, rng):
    x, y = rng.uniform(0.45, 0.55, 2)
    return look(picture, x, 0.8, y) + rng.normal(0, 0.01, (*SIZE[::-1], 3))


def dark(picture, i, rng):
    return 0.25 * look(picture, i / 100) + rng.normal(0, 0.005, (*SIZE[::-1], 3))


def film(shots, rng):
    frames = [shot(picture, i, rng) for picture, shot in shots for i in range(LENGTH)]
    return [np.clip(frame, 0, 1).astype(np.float32) for frame in frames]


def found(frames, cuts=None):
    cuts = cuts or Cuts()
    return [i for i, frame in enumerate(frames) if cuts.is_cut(frame)]


@pytest.mark.parametrize("seed", range(3))
def test_cuts_between_moving_noisy_and_dark_shots(pictures, seed):
    rng = np.random.default_rng(seed)
    kinds = [still, pan, zoom, hand, dark]
    frames = film([(pictures[j], kinds[(i + seed) % 5]) for i, j in enumerate(rng.permutation(len(pictures)))], rng)
    assert found(frames) == list(range(0, len(frames), LENGTH))


def test_the_cuts_that_pyscenedetect_finds(pictures):
    scenedetect = pytest.importorskip("scenedetect")
    frames = film(
        [(picture, (still, pan, zoom)[i % 3]) for i, picture in enumerate(pictures)], np.random.default_rng(0)
    )

    def theirs(detector):
        cuts = []
        for i, frame in enumerate(frames):
            levels = np.rint(frame[..., ::-1] * 255).astype(np.uint8)
            cuts += detector.process_frame(scenedetect.FrameTimecode(i, 25.0), levels)
        cuts += detector.post_process(scenedetect.FrameTimecode(len(frames) - 1, 25.0))
        return [0, *sorted(cut.frame_num for cut in cuts)]

    ours = found(frames)
    assert ours == theirs(scenedetect.AdaptiveDetector(adaptive_threshold=2))
    # With its own thresholds it misses cuts between pictures of like colours.
    assert {*ours} > {*theirs(scenedetect.ContentDetector())}


def test_a_flash_is_no_cut(pictures):
    frames = film([(picture, pan) for picture in pictures[:6]], np.random.default_rng(0))
    for start in range(0, len(frames), LENGTH):
        frames[start + 6] = np.minimum(1.4 * frames[start + 6] + 0.2, 1)
        frames[start + 12] = np.ones_like(frames[0])
    assert found(frames) == list(range(0, len(frames), LENGTH))


def test_another_picture_after_a_flash_or_black_is_a_cut(pictures):
    for between in (np.zeros, np.ones):
        frames = film([(picture, still) for picture in pictures[:2]], np.random.default_rng(0))
        frames[LENGTH:LENGTH] = [between((*SIZE[::-1], 3), np.float32)] * 3
        assert found(frames) == [0, LENGTH + 3]


def test_fades_and_dissolves_are_no_cuts(pictures):
    one, other = (look(picture) for picture in pictures[:2])
    steps = np.linspace(0, 1, 24, dtype=np.float32)
    fades = [one * (1 - step) for step in steps] + [other * step for step in steps]
    assert found(fades) == [0]
    assert found([one + (other - one) * step for step in steps]) == [0]


def test_a_cut_through_a_mixed_frame_is_one_cut(pictures):
    one, other = (look(picture) for picture in pictures[:2])
    assert len(found([one] * 8 + [(one + other) / 2] + [other] * 8)) == 2


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (9, 2), (5, 3), (1080, 2)])
def test_frames_of_any_size(size):
    frames = np.random.default_rng(0).random((6, *size, 3), np.float32)
    assert Cuts().is_cut(frames[0])
    found(frames)
