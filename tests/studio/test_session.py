"""Sessions: results as the library makes them, styles that are kept, progress, cancelling, threads."""

import dataclasses
import io
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from wct_jax import Options, Session, mix_styles, read_image, read_mask, save_model, stylize, synthesize, white_style
from wct_jax.painting.style import extract_style
from wct_jax.painting.tiles.tiling import stylize_tiled
from wct_jax.photo.transfer import with_colors
from wct_jax.pictures.images import Picture, read_picture
from wct_jax.pictures.output import read_settings, write_picture
from wct_jax.pictures.picture import Metadata
from wct_jax.studio import reader, styles
from wct_jax.studio.limits import Limits
from wct_jax.studio.request import Look, Request, Texture
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


@pytest.fixture(scope="module")
def model(random_model):
    painter = random_model((4, 6, 8, 8), ("relu3_1",), 2).decoders["relu3_1"]
    return dataclasses.replace(random_model((4, 6, 8, 8), ("relu3_1", "relu2_1", "relu1_1")), painter=painter)


@pytest.fixture
def open_session(model, monkeypatch):
    """A session that keeps a given number of styles, and the pictures that it has extracted them from."""
    extracted = []

    def counted(model, image, *rest, **options):
        extracted.append(image)
        return extract_style(model, image, *rest, **options)

    monkeypatch.setattr(styles, "extract_style", counted)

    def make(most):
        picture = np.zeros((16, 20, 3), np.float32)
        size = styles._bytes_of(with_colors(extract_style(model, picture, ["relu1_1"]), picture))
        return Session(model, Limits(styles=most * size))

    return make, extracted


def pipe(path):
    """A pipe that holds a file."""
    reading, writing = os.pipe()
    with open(writing, "wb") as file:
        file.write(path.read_bytes())  # Less than a pipe holds.
    return open(reading, "rb")


@pytest.mark.slow
def test_a_picture_is_what_the_library_makes(model, pictures):
    photo, a, b = read_image(pictures[4]), *pictures[:2]
    styles = [extract_style(model, read_image(path)) for path in (a, b)]
    room, told = Session(model), []
    result = room.paint(pictures[4], a, Options(alpha=0.7), progress=lambda *step: told.append(step))
    np.testing.assert_array_equal(result.pixels, stylize(model, photo, styles[0], 0.7))
    assert told == [("style", 0, 1), ("relu3_1", 0, 3), ("relu2_1", 1, 3), ("relu1_1", 2, 3)]
    for given in (photo, jnp.asarray(photo), Picture(photo), str(pictures[4]), io.BytesIO(pictures[4].read_bytes())):
        for style in (styles[0], read_picture(a), read_image(a), jnp.asarray(read_image(a))):
            np.testing.assert_array_equal(room.paint(given, style, Options(alpha=0.7)).pixels, result.pixels)
    with pipe(pictures[4]) as given, pipe(a) as style:
        np.testing.assert_array_equal(room.paint(given, style, Options(alpha=0.7)).pixels, result.pixels)
    mixed = room.paint(photo, Look((a, b), weights=(1, 3)), ONE)
    expected = mix_styles([extract_style(model, read_image(path), ["relu1_1"]) for path in (a, b)], [1, 3])
    np.testing.assert_array_equal(mixed.pixels, stylize(model, photo, expected))
    white = room.paint(photo, options=Options(whiten_only=True))
    np.testing.assert_array_equal(white.pixels, stylize(model, photo, white_style(model)))
    texture = room.paint(Texture(20, 10, seed=3), a)
    np.testing.assert_array_equal(texture.pixels, synthesize(model, styles[0], 10, 20, seed=3))


def test_masks_are_files_or_arrays(model, pictures):
    """Of styles, of the parts of a style that are taken, of alpha and of strength."""
    photo, (a, b, mask) = read_image(pictures[4]), pictures[:3]
    grey, room, results = read_mask(mask), Session(model), []
    for one in (mask, grey, jnp.asarray(grey), read_picture(mask)):
        look = Look((a, b, None), style_masks=(one, None, None), masks=(one, grey > 0.5))
        results.append(room.serve(Request(photo, look, ONE, alpha_map=one, strength=one)).pixels)
    styles = [extract_style(model, read_image(a), ["relu1_1"], weights=grey)]
    styles += [extract_style(model, read_image(b), ["relu1_1"]), None]
    expected = stylize(model, photo, styles, mask=[grey, grey > 0.5], alpha_map=grey, strength=grey)
    for result in results:
        np.testing.assert_array_equal(result, expected)


@pytest.mark.slow
def test_one_pass(model, pictures):
    """With structure, a map of it, and shrinkage; whole and in tiles; without a style, and from a painter alone."""
    photo, style = read_image(pictures[4]), extract_style(model, read_image(pictures[0]))
    map_of, told = read_mask(pictures[2]), []
    options = Options(method="one-pass", structure=(0.1, 0.5, 0.9), shrinkage=0.05)
    expected = {"method": "one-pass", "shrinkage": 0.05}
    for one in (model, dataclasses.replace(model, decoders={})):
        room = Session(one)
        resolved = room.resolve(Request(photo, Look((style,)), options))
        assert resolved.layers == ("relu3_1", "relu2_1", "relu1_1")
        result = room.paint(photo, pictures[0], options, progress=lambda *step: told.append(step))
        np.testing.assert_array_equal(
            result.pixels, stylize(model, photo, style, structure=[0.1, 0.5, 0.9], **expected)
        )
        assert told == [("style", 0, 1), ("relu3_1", 0, 3), ("relu2_1", 1, 3), ("relu1_1", 2, 3)]
        told.clear()
    result = room.serve(Request(photo, Look((pictures[0],)), options, structure=pictures[2]))
    mapped = stylize(model, photo, style, structure=1, structure_map=map_of, **expected)
    np.testing.assert_array_equal(result.pixels, mapped)
    assert json.loads(result.metadata.settings)["structure_map"] == "picture2.png"
    room.paint(Texture(20, 10, seed=3), pictures[0], Options(method="one-pass"))
    wide = np.random.default_rng(0).random((150, 170, 3), np.float32)
    tiled = Session(model, Limits(tile=96)).paint(wide, style, options, progress=lambda *step: told.append(step))
    whole = stylize_tiled(model, wide, style, tile=96, structure=options.structure, **expected)
    np.testing.assert_array_equal(tiled.pixels, whole)
    assert [done for _, done, _ in told] == list(range(1, told[-1][2] + 1))
    with pytest.raises(ValueError, match="the painter of model paints relu3_1, relu2_1, relu1_1, got relu4_1"):
        room.paint(photo, style, Options(method="one-pass", layers=["relu4_1"]))
    with pytest.raises(ValueError, match="the model model has no painter of one pass"):
        Session(dataclasses.replace(model, painter={})).paint(photo, style, options)


@pytest.mark.slow
def test_tiles(model, pictures):
    photo, told = np.random.default_rng(0).random((90, 70, 3), np.float32), []
    room, style = Session(model, Limits(tile=48)), extract_style(model, read_image(pictures[0]), ["relu1_1"])
    result = room.paint(photo, pictures[0], ONE, progress=lambda *step: told.append(step))
    np.testing.assert_array_equal(result.pixels, stylize_tiled(model, photo, style, tile=48))
    total = len(told) - 1
    assert total > 4
    assert told == [("style", 0, 1), *(("relu1_1", done, total) for done in range(1, total + 1))]
    told.clear()
    with pytest.raises(Cancelled, match="at relu1_1"):
        room.paint(photo, pictures[0], ONE, progress=lambda *step: told.append(step), cancel=lambda: len(told) > 2)
    assert told[-1] == ("relu1_1", 3, total)
    with pytest.raises(ValueError, match="`swap_layers`, which compares all patches"):
        room.paint(photo, pictures[0], Options(layers=["relu1_1"], swap_layers=["relu1_1"]))
    room.paint(pictures[1], photo, ONE, progress=lambda *step: told.append(step))
    assert [name for name, *_ in told].count("style") > 4


def test_a_result_says_how_it_was_made(model, pictures, tmp_path):
    save_model(tmp_path / "model.safetensors", model)
    room, options = Session(tmp_path / "model.safetensors"), Options(layers=["relu1_1"], alpha=0.25)
    with open(pictures[1], "rb") as file:
        looks = Look((pictures[0], file, read_image(pictures[2]), None), masks=(pictures[0],) * 3)
        result = room.paint(pictures[4], looks, options)
    for suffix in ("png", "jpg", "webp", "tif"):
        write_picture(tmp_path / f"a.{suffix}", result)
    text = read_settings(tmp_path / "a.png")
    assert str(tmp_path) not in text
    settings = json.loads(text)
    assert Options(**settings["options"]) == dataclasses.replace(options, method="one-pass")
    assert settings["styles"] == ["picture0.png", "picture1.png", "picture", "none"]
    assert (settings["masks"], settings["model"]) == (["picture0.png"] * 3, "model.safetensors")
    assert not {"texture", "style_weights", "strength_map"} & set(settings)
    again = room.paint(tmp_path / "a.png", pictures[1], ONE)
    assert json.loads(again.metadata.settings)["styles"] == ["picture1.png"]
    texture = room.paint(Texture(9, 8, seed=7), Look(tuple(pictures[:2]), weights=(1, 2)), ONE)
    settings = json.loads(texture.metadata.settings)
    assert (settings["texture"], settings["style_weights"]) == ({"width": 9, "height": 8, "seed": 7}, [1, 2])
    for name in ("picture0.png", "model.safetensors", "a.jpg", "a.webp", "a.tif"):
        with pytest.raises(ValueError, match=name):
            read_settings(tmp_path / name)
        assert b"picture0" not in (tmp_path / name).read_bytes()


def test_styles_used_last_are_kept(open_session, pictures):
    make, extracted = open_session
    room = make(2)
    a, b, c = pictures[:3]
    for path, count in [(a, 1), (b, 2), (a, 2), (c, 3), (a, 3), (b, 4), (b, 4)]:
        room.style(Look((path,)), ONE)
        assert len(extracted) == count, path
    for path in pictures * 3:
        room.style(Look((path,)), ONE)
        assert len(room._styles.kept) <= 2


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
    assert len(room._styles.kept) <= 2


def test_the_photo_read_last_is_not_decoded_again(model, pictures, monkeypatch):
    decoded = []

    def counted(*path, **most):
        decoded.append(path)
        return read_picture(*path, **most)

    monkeypatch.setattr(reader, "read_picture", counted)
    room = Session(model)
    for photo, count in [(pictures[0], 1), (io.BytesIO(pictures[0].read_bytes()), 1), (pictures[1], 2)]:
        room._reader.photo(photo, None)
        assert len(decoded) == count
    # An array can change, and pictures of the same pixels can say different things of themselves.
    frame = np.full((9, 9, 3), 0.25, np.float32)
    assert room._reader.photo(frame, None).pixels.max() == 0.25
    before, frame[:] = frame.copy(), 0.75
    assert room._reader.photo(before, None).pixels.max() == 0.25
    for dpi in ((9, 9), (8, 8)):
        assert room._reader.photo(Picture(frame, metadata=Metadata(dpi=dpi)), None).metadata.dpi == dpi


@pytest.mark.parametrize(("last", "count"), [("relu2_1", 3), (("relu3_1", 3, 6), 5)], ids=["levels", "passes"])
def test_it_can_be_cancelled_between(model, pictures, last, count):
    room, stop, told = Session(model), threading.Event(), []

    def progress(*step):
        told.append(step)
        if last in (step, step[0]):
            stop.set()

    options = Options(passes=1 if count == 3 else 2)
    with pytest.raises(Cancelled, match="at relu"):
        room.paint(pictures[4], pictures[0], options, progress=progress, cancel=stop.is_set)
    layers = ["relu3_1", "relu2_1", "relu1_1"] * options.passes
    assert told == [("style", 0, 1), *((layer, done, len(layers)) for done, layer in enumerate(layers))][:count]
    with pytest.raises(Cancelled, match="at the start"):
        room.paint("missing.png", pictures[0], cancel=stop.is_set)
    stop.clear()
    assert room.paint(pictures[4], pictures[0], cancel=stop.is_set).pixels.shape == (16, 20, 3)


def test_it_can_be_cancelled_while_others_are_painted(model, pictures):
    room, read, stop = Session(model), threading.Event(), threading.Event()

    def cancelled():
        read.set()
        return stop.is_set()

    with ThreadPoolExecutor(1) as thread:
        with room._painting:
            waiting = thread.submit(room.paint, pictures[0], pictures[1], ONE, cancel=cancelled)
            assert read.wait(60)
            stop.set()
        assert isinstance(waiting.exception(), Cancelled)


def test_threads_share_a_session(open_session, pictures):
    make, extracted = open_session
    room = make(9)
    sources = [io.BytesIO(path.read_bytes()) for path in pictures[:3]]  # With a position that all share, too.
    jobs = [(photo, style) for photo in sources for style in (sources[0], *pictures[1:3])] * 2
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
        (["a.png", "b.png"], {}, "several styles must be in a Look, which mixes them or puts each in its place"),
        (
            np.zeros((4, 5, 3), np.float32),
            {"style_size": 8},
            "only files are resized to a short side of 8 ",
        ),
        ("none.png", {}, "cannot read none.png: No such file"),
        ("none.png", {"layers": ["relu5_1"]}, "unknown layer 'relu5_1'"),
    ],
)
def test_mistakes(model, pictures, style, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        Session(model).paint(pictures[4], style, Options(**options))
