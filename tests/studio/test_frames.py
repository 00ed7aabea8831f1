"""A session's painter of frames: as it paints photos, but for their statistics."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from wct_jax import Options, Session
from wct_jax.studio.limits import Limits
from wct_jax.studio.request import Look, Request

pytestmark = pytest.mark.usefixtures("directly")
LAYERS = ["relu2_1", "relu1_1"]


@pytest.fixture(scope="module")
def session(model):
    return Session(model)


@pytest.fixture
def pictures(tmp_path, rng):
    """A photo, a style and two grey maps."""
    paths = []
    for number in range(4):
        pixels = rng.integers(0, 256, (40, 50, 3) if number < 2 else (40, 50), np.uint8)
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


@pytest.mark.parametrize(
    "options",
    [
        Options(layers=LAYERS, strength=0.6),
        Options(layers=LAYERS, method="cascade", preserve_color="luminance"),
        Options(layers=LAYERS, structure=0.4, margin=3),
    ],
)
def test_a_frame_by_itself_is_a_photo(session, pictures, options):
    photo, style, mask, alpha_map = pictures
    request = Request(photo, Look((style, None), masks=(mask,)), options, alpha_map)
    picture = session.serve(request)
    pixels = np.asarray(Image.open(photo), np.float32) / 255
    painted, _ = session.frames(request, pixels.shape[:2]).paint(pixels)
    np.testing.assert_allclose(painted, np.clip(picture.pixels, 0, 1), atol=1e-6)


def test_a_map_of_structure(session, pictures):
    photo, style, _, structure = pictures
    request = Request(photo, Look((style,)), Options(layers=LAYERS), structure=structure)
    pixels = np.asarray(Image.open(photo), np.float32) / 255
    painted, _ = session.frames(request, pixels.shape[:2]).paint(pixels)
    np.testing.assert_allclose(painted, np.clip(session.serve(request).pixels, 0, 1), atol=1e-6)


@pytest.mark.slow
def test_a_shot_is_learned_from_some_of_its_frames(session, pictures, rng):
    painter = session.frames(Request(pictures[0], Look((pictures[1],)), Options(layers=LAYERS)), (40, 50))
    frames = rng.random((3, 40, 50, 3), np.float32)
    known = painter.learn(frames[:2])
    painted, used = painter.paint(frames[2], known=known)
    assert painted.shape == (40, 50, 3)
    assert np.abs(painted - painter.paint(frames[2])[0]).max() > 1e-3
    assert [[float(region.count) for region in level] for level in used] == [[2 * 20 * 25], [2 * 40 * 50]]


def test_masks_of_a_frame_replace_those_of_the_film(session, pictures):
    photo, style, mask, _ = pictures
    painter = session.frames(Request(photo, Look((style, None), masks=(mask,)), Options(layers=LAYERS)), (40, 50))
    pixels = np.asarray(Image.open(photo), np.float32) / 255
    none, _ = painter.paint(pixels, masks=[np.zeros((40, 50), np.float32)])
    np.testing.assert_array_equal(none, pixels)


def test_bad_requests(model, session, pictures):
    request = Request(pictures[0], Look((pictures[1],)), Options(layers=LAYERS))
    small = Session(model, Limits(tile=32))
    with pytest.raises(ValueError, match="frames of 500 x 400 pixels are too large"):
        small.frames(request, (400, 500))
    with pytest.raises(ValueError, match="`photo` changes single photos"):
        session.frames(dataclasses.replace(request, options=Options(photo=True)), (40, 50))
