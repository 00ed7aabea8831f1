"""Pictures over HTTP: they are those of the library, and mistakes are one sentence."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from wct_jax import Options, write_image
from wct_jax.studio.request import Look


@pytest.fixture(scope="module")
def by_library(session, photo, style):
    """Paint the photo by the library: its levels."""

    def by_library(look=None, **options):
        file = io.BytesIO()
        write_image(file, session.paint(io.BytesIO(photo), look or io.BytesIO(style), Options(**options)))
        return np.asarray(Image.open(file), int)

    return by_library


@pytest.fixture
def paint(client, order, opened):
    """Paint the photo over HTTP: the picture."""

    def paint(*more, **given):
        return opened(client.post("/v1/paint", **order(*more, **given)))

    return paint


@pytest.mark.parametrize(
    "options", [{}, {"strength": 0.5}, {"method": "cascade", "passes": 2}, {"photo": True}], ids=lambda o: str([*o])
)
def test_a_picture_is_the_librarys(paint, by_library, options):
    levels = np.asarray(paint(options=json.dumps(options)), int)
    assert np.abs(levels - by_library(**options)).max() <= 1


def test_an_answer_says_what_it_is(client, order):
    answer = client.post("/v1/paint", **order())
    about = {name: answer.headers[name] for name in ("x-wct-width", "x-wct-height", "content-type", "cache-control")}
    assert list(about.values()) == ["24", "17", "image/png", "no-store"]
    assert float(answer.headers["x-wct-seconds"]) >= 0
    assert 'filename="photo__picture.png"' in answer.headers["content-disposition"]


def test_styles_are_mixed_in_their_order(client, paint, by_library, photo, style, encoded):
    other = encoded(16, 18, seed=2)
    kept = client.post("/v1/styles", files={"style": ("other.png", other)}).json()
    weights = json.dumps([0.25, 0.75])
    look = Look((io.BytesIO(style), io.BytesIO(other)), (0.25, 0.75))
    for found in (
        paint(("style", ("other.png", other)), weights=weights),
        paint(style_id=kept["id"], weights=weights),
    ):
        assert np.abs(np.asarray(found, int) - by_library(look)).max() <= 1


def test_a_region_stays_as_it_is(paint, photo):
    white, black = (np.full((17, 24), level, np.uint8) for level in (255, 0))
    mask = np.concatenate([white[:, :12], black[:, 12:]], 1)
    file = io.BytesIO()
    Image.fromarray(mask).save(file, "PNG")
    levels = np.asarray(paint(("mask", ("mask.png", file.getvalue())), style_id="none"), int)
    before = np.asarray(Image.open(io.BytesIO(photo)), int)
    assert np.abs(levels - before)[:, 12:].max() <= 1
    assert np.abs(levels - before)[:, :12].mean() > 5


@pytest.mark.parametrize("name", ["alpha_map", "strength_map", "structure_map"])
def test_maps_guide(paint, encoded, name):
    files = [(name, ("map.png", encoded(24, 17, seed=level))) for level in (3, 4)]
    one, other = (np.asarray(paint(file), int) for file in files)
    assert np.abs(one - other).max() > 1


def test_a_preview_is_small_and_its_settings_are_of_the_whole(client, paint, order, encoded):
    photo = encoded(64, 40)
    picture = paint(photo=photo, longest=32, options='{"strength": 0.5}')
    assert max(picture.size) == 32
    assert json.loads(picture.text["wct_jax"])["options"]["content_size"] is None
    assert paint(longest=32).size == (24, 17)
    assert paint(photo=photo, longest=32, options='{"content_size": 10}').size == (16, 10)


def test_formats(paint, photo):
    picture = paint(format="jpeg", quality=30)
    assert picture.format == "JPEG"
    better = paint(format="jpeg")
    assert picture.quantization[0][0] > better.quantization[0][0]


@pytest.mark.parametrize("format", ["png", "jpeg"])
def test_a_stripped_picture_says_nothing(paint, format):
    exif = Image.Exif()
    exif[0x013B] = "Somebody"
    file = io.BytesIO()
    Image.new("RGB", (24, 17), "red").save(file, "JPEG", exif=exif)
    kept, stripped = (paint(photo=file.getvalue(), format=format, strip=strip) for strip in ("false", "true"))
    assert kept.getexif()[0x013B] == "Somebody"
    assert not stripped.getexif()
    assert not getattr(stripped, "text", {})
    assert "icc_profile" not in stripped.info


def test_a_texture(paint):
    one, again, other = (paint(photo=None, texture="20x16", seed=seed) for seed in (1, 1, 2))
    assert one.size == (20, 16)
    assert one.tobytes() == again.tobytes() != other.tobytes()


def test_settings_come_back(client, order, refused):
    options = {"strength": 0.5, "method": "one-pass", "preserve_color": "coral"}
    answer = client.post("/v1/paint", **order(options=json.dumps(options)))
    found = client.post("/v1/settings", files={"picture": ("x.png", answer.content)}).json()
    assert options.items() <= found["options"].items()
    assert found["styles"] == ["picture.png"]
    sentence = refused(client.post("/v1/settings", files={"picture": ("x.png", order()["files"][0][1][1])}), 422)
    assert "does not say how it was made" in sentence


def test_the_same_again_is_not_painted_again(client, order):
    def hits():
        return client.service.metrics.counted["cache_hits"]

    before = hits()
    answers = [client.post("/v1/paint", **order(options='{"shrinkage": 0.125}')) for _ in range(2)]
    assert hits() == before + 1
    assert answers[0].content == answers[1].content
    client.post("/v1/paint", **order(options='{"shrinkage": 0.25}'))
    assert hits() == before + 1


MISTAKES = {
    "no style": (dict(style=None), 422, "expected a `style`"),
    "no photo": (dict(photo=None), 422, "expected a photo"),
    "both": (dict(texture="9x9"), 422, "got both"),
    "options": (dict(options="["), 422, "JSON object"),
    "unknown option": (dict(options='{"colour": 1}'), 422, "'colour'"),
    "bad option": (dict(options='{"alpha": 2}'), 422, "alpha must be in 0..1, got 2"),
    "nan": (dict(options='{"alpha": NaN}'), 422, "alpha must be in 0..1"),
    "deep": (dict(options="[" * 20000), 422, "JSON object"),
    "margin": (dict(options='{"margin": 1000000}'), 422, "margin must be at most 256"),
    "layers": (dict(options='{"layers": ["relu4_1"]}'), 422, "relu4_1"),
    "weights": (dict(weights="{}"), 422, "JSON list"),
    "weight": (dict(weights='["a"]'), 422, "style_weights must be a number"),
    "weights of others": (dict(weights="[1, 2]"), 422, "a weight for each style"),
    "id": (dict(style_id="nobody"), 404, "no such style"),
    "format": (dict(format="gif"), 422, "one of png, jpeg"),
    "quality": (dict(quality="101"), 422, "from 1 to 100"),
    "strip": (dict(strip="yes"), 422, "true or false"),
    "longest": (dict(longest="-1"), 422, "whole number"),
    "seed": (dict(seed="9999999999"), 422, "`seed`"),
    "texture": (dict(photo=None, texture="3"), 422, "such as 800x600"),
    "large texture": (dict(photo=None, texture="9000x9000"), 413, "megapixels"),
    "zero texture": (dict(photo=None, texture="0x9"), 422, "width"),
    "enlarged": (dict(options='{"content_size": 90000}'), 413, "more than"),
    "unknown field": (dict(path="/etc/passwd"), 422, "got 'path'"),
    "text for a file": (dict(photo=None, content="/etc/passwd"), 422, "to be a file"),
    "twice": (dict(format=["png", "png"]), 422, "expected `format` once"),
    "swap": (dict(photo="large", style="large", options='{"swap_layers": ["relu1_1"]}'), 422, "takes too long"),
}


@pytest.mark.parametrize(("given", "status", "said"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_one_sentence(client, order, refused, encoded, given, status, said):
    given = {
        name: encoded(600, 400, "JPEG", quality=30) if value == "large" else value for name, value in given.items()
    }
    assert said in refused(client.post("/v1/paint", **order(**given)), status)


def test_what_is_no_form_is_refused(client, refused):
    for content, kind, status in (
        (b"{}", "application/json", 415),
        (b"content=x", "application/x-www-form-urlencoded", 415),
        (b"--x\r\nbroken", "multipart/form-data", 400),
        (b"broken", "multipart/form-data; boundary=x", 400),
        (b"", "", 415),
    ):
        refused(client.post("/v1/paint", content=content, headers={"content-type": kind}), status)


def test_a_failure_of_ours_is_one_sentence_without_its_reason(serving, order, refused, monkeypatch, capsys):
    def broken(*_):
        raise AssertionError("/secret")

    monkeypatch.setattr("wct_jax.server.service.paint", broken)
    with serving() as client:
        sentence = refused(client.post("/v1/paint", **order()), 500)
    assert "secret" not in sentence
    assert "AssertionError: /secret" in capsys.readouterr().err


def test_a_lack_of_memory_is_the_clients(serving, order, refused, monkeypatch):
    def broken(*_):
        raise MemoryError

    monkeypatch.setattr("wct_jax.server.service.paint", broken)
    with serving() as client:
        assert "not enough memory" in refused(client.post("/v1/paint", **order()), 413)
