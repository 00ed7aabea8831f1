"""Sessions: results as the library makes them, styles that are kept, progress, cancelling, threads."""

import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from wct_jax import Options, Session, load_model, mix_styles, read_image, stylize, synthesize, white_style
from wct_jax.painting.style import extract_style
from wct_jax.pictures.images import Picture, read_picture
from wct_jax.pictures.output import read_settings, write_picture
from wct_jax.studio import session
from wct_jax.studio.limits import Limits
from wct_jax.studio.request import Look, Texture
from wct_jax.studio.session import Cancelled

pytestmark = pytest.mark.usefixtures("directly")
ONE = Options(layers=["relu1_1"])


@pytest.fixture
def pictures(tmp_path):
    def make(name, seed):
        path = tmp_path / f"{name}.png"
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (16, 20, 3), np.uint8)).save(path)
        return path

    return [make(f"picture{number}", number) for number in range(5)]


@pytest.fixture
def model(files):
    return load_model(files / "model.safetensors")


@pytest.fixture
def open_session(model, monkeypatch):
    """A session that keeps as many styles as are said, and the pictures it has extracted them from."""
    extracted = []

    def counted(model, image, *rest, **options):
        extracted.append(image)
        return extract_style(model, image, *rest, **options)

    monkeypatch.setattr(session, "extract_style", counted)

    def make(most):
        size = session._bytes_of(extract_style(model, np.zeros((16, 20, 3), np.float32), ["relu1_1"]))
        return Session(model, Limits(styles=most * size))

    return make, extracted


def test_a_picture_is_what_the_library_makes(files, model, pictures):
    photo, a, b = read_image(files / "photo.png"), *pictures[:2]
    styles = [extract_style(model, read_image(path)) for path in (a, b)]
    room, told = Session(files / "model.safetensors"), []
    result = room.paint(files / "photo.png", a, Options(alpha=0.7), progress=lambda *step: told.append(step))
    np.testing.assert_array_equal(result.pixels, stylize(model, photo, styles[0], 0.7))
    assert told == [("style", 0, 1), ("relu3_1", 0, 3), ("relu2_1", 1, 3), ("relu1_1", 2, 3)]
    for given in (photo, Picture(photo), io.BytesIO((files / "photo.png").read_bytes())):
        for style in (styles[0], read_picture(a), read_image(a)):
            np.testing.assert_array_equal(room.paint(given, style, Options(alpha=0.7)).pixels, result.pixels)
    mixed = room.paint(photo, Look((a, b), weights=(1, 3)), ONE)
    expected = mix_styles([extract_style(model, read_image(path), ["relu1_1"]) for path in (a, b)], [1, 3])
    np.testing.assert_array_equal(mixed.pixels, stylize(model, photo, expected))
    white = room.paint(photo, options=Options(whiten_only=True))
    np.testing.assert_array_equal(white.pixels, stylize(model, photo, white_style(model)))
    texture = room.paint(Texture(20, 10, seed=3), a)
    np.testing.assert_array_equal(texture.pixels, synthesize(model, styles[0], 10, 20, seed=3))


def test_a_result_says_how_it_was_made(files, pictures, tmp_path):
    room = Session(files / "model.safetensors")
    options = Options(layers=["relu1_1"], alpha=0.25)
    write_picture(tmp_path / "a.png", room.paint(files / "photo.png", pictures[0], options))
    settings = json.loads(read_settings(tmp_path / "a.png"))
    assert Options(**settings["options"]) == options
    assert (settings["styles"], settings["model"]) == (["picture0.png"], "model.safetensors")
    again = room.paint(tmp_path / "a.png", pictures[1], Options(layers=["relu1_1"]))
    assert json.loads(again.metadata.settings)["styles"] == ["picture1.png"]
    for name in ("photo.png", "model.safetensors"):
        with pytest.raises(ValueError, match=name):
            read_settings(files / name)


def test_styles_used_last_are_kept(open_session, pictures):
    make, extracted = open_session
    room = make(2)
    a, b, c = pictures[:3]
    for path, count in [(a, 1), (b, 2), (a, 2), (c, 3), (a, 3), (b, 4), (b, 4)]:
        room.style(Look((path,)), ONE)
        assert len(extracted) == count, path
    for path in pictures * 3:
        room.style(Look((path,)), ONE)
        assert len(room._styles) <= 2


def test_a_style_is_known_by_its_content(open_session, pictures, tmp_path):
    make, extracted = open_session
    room, twin = make(9), tmp_path / "twin.png"
    twin.write_bytes(pictures[0].read_bytes())
    for source in (pictures[0], str(twin), io.BytesIO(twin.read_bytes())):
        room.style(Look((source,)), ONE)
    assert len(extracted) == 1
    twin.write_bytes(pictures[1].read_bytes())
    room.style(Look((twin,)), ONE)
    room.style(Look((twin,)), Options(layers=["relu1_1"], style_size=8))
    room.style(Look((twin,)), Options(layers=["relu2_1"]))
    assert len(extracted) == 4


def test_a_look_has_all_its_styles(open_session, pictures):
    make, extracted = open_session
    room = make(2)
    several = room.style(Look(tuple(pictures)), ONE)
    assert len(extracted) == 5
    # Some known, some dropped, some twice.
    room.style(Look((pictures[0], pictures[4], pictures[0])), ONE)
    again = room.style(Look(tuple(pictures)), ONE)
    np.testing.assert_array_equal(again.moments["relu1_1"].mean, several.moments["relu1_1"].mean)
    room.style(Look((pictures[0],)), ONE)
    assert len(room._styles) <= 2


def test_what_was_dropped_is_prepared_again(open_session, pictures, monkeypatch):
    room, dropped, prepared = open_session[0](2), [0], []
    monkeypatch.setattr(session, "compiler", lambda: SimpleNamespace(dropped=dropped[0]))
    monkeypatch.setattr(session, "prepare", lambda *arguments, **options: prepared.append(arguments))
    room._dropped = 0
    room.style(Look((pictures[0],)), ONE)
    for drops, times in [(0, 1), (0, 1), (3, 2), (3, 2)]:
        dropped[0] = drops
        room.paint(pictures[1], pictures[0], ONE)
        assert len(prepared) == times


def test_it_can_be_cancelled_between_levels(files, pictures):
    room, stop, told = Session(files / "model.safetensors"), threading.Event(), []

    def progress(name, done, total):
        told.append(name)
        if name == "relu2_1":
            stop.set()

    with pytest.raises(Cancelled, match="before relu1_1"):
        room.paint(files / "photo.png", pictures[0], progress=progress, cancel=stop.is_set)
    assert told == ["style", "relu3_1", "relu2_1"]
    stop.clear()
    assert room.paint(files / "photo.png", pictures[0], cancel=stop.is_set).pixels.shape == (17, 24, 3)


def test_threads_share_a_session(open_session, pictures):
    make, extracted = open_session
    room = make(9)
    jobs = [(photo, style) for photo in pictures[:3] for style in pictures[:3]] * 2
    expected = {job: make(9).paint(*job, ONE).pixels for job in jobs[:9]}
    extracted.clear()
    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(lambda job: room.paint(*job, ONE).pixels, jobs))
    for job, result in zip(jobs, results, strict=True):
        # In other threads the convolution is the default one.
        np.testing.assert_allclose(result, expected[job], atol=1e-5)
    assert len(extracted) == 3


@pytest.mark.parametrize(
    ("style", "options", "sentence"),
    [
        (np.zeros((4, 4)), {}, r"picture must be an image \[H, W, 3\]"),
        ("none.png", {}, "cannot read none.png: No such file"),
        ("none.png", {"layers": ["relu5_1"]}, "unknown layer 'relu5_1'"),
    ],
)
def test_mistakes(files, style, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        Session(files / "model.safetensors").paint(files / "photo.png", style, Options(**options))
