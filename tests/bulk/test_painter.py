"""The worker: rows in, rows out, whatever the files are."""

import gc
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import wct_jax
from wct_jax.bulk.attempts import MOST, Attempts
from wct_jax.bulk.painter import Painter
from wct_jax.bulk.photos import Photo, Photos
from wct_jax.cli import stylize
from wct_jax.painting.options import Options
from wct_jax.pictures.output import read_settings
from wct_jax.studio.limits import Limits
from wct_jax.studio.request import Look

pytest.importorskip("pyarrow")


@pytest.fixture(scope="module")
def painter(kept):
    return Painter(kept / "picture.png", model=kept / "model.safetensors")


def columns(photos, **more):
    return {"source": np.array([str(path) for path in photos]), **more}


def test_it_is_public_under_its_room():
    assert wct_jax.bulk.Painter is wct_jax.Painter is Painter


@pytest.mark.slow
def test_results_are_those_of_the_command_line(painter, photos, look, run, tmp_path):
    files = sorted(photos.rglob("*.png"))
    targets = np.array([str(tmp_path / "out" / f"{number}.png") for number in range(len(files))])
    made = painter(columns(files, target=targets, mine=np.arange(5)))
    assert set(made) == {"source", "target", "mine", "status", "error", "width", "height", "seconds"}
    assert list(made["status"]) == ["done"] * 5
    assert list(made["mine"]) == list(range(5))
    assert {(int(w), int(h)) for w, h in zip(made["width"], made["height"], strict=True)} == {(20, 18), (16, 30)}
    returned = painter(columns(files))
    for file, target, painted in zip(files, targets, returned["painted"], strict=True):
        run(stylize.main, "--content", file, *look, "--output", tmp_path / "one.png", "--overwrite")
        assert (tmp_path / "one.png").read_bytes() == Path(target).read_bytes() == painted
    assert json.loads(read_settings(io.BytesIO(painted)))["styles"] == ["picture.png"]


@pytest.mark.slow
def test_looks_options_and_formats_are_chosen(kept, photos, monkeypatch):
    for name in ("PJRT_NPROC", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "")  # Which a worker sets in its process.
    Image.new("RGB", (30, 20)).save(photos / "large.png")
    looks = [kept / "picture.png", Look((kept / "picture.png", photos / "a.png"), (1.0, 3.0))]
    named = {"model": kept / "model.safetensors", "suffix": ".jpg", "source": photos, "cores": 1}
    painter = Painter(looks, Options(content_size=9), limits=Limits(max_pixels=500), **named)
    made = painter({"source": ["c.png", "c.png", "large.png"], "look": [0, 1, 1]})
    assert list(made["status"]) == ["done", "done", "failed"]
    assert "it claims more than 500 pixels" in made["error"][2]
    assert made["painted"][0] != made["painted"][1]
    assert Image.open(io.BytesIO(made["painted"][0])).format == "JPEG"


def test_encoded_pictures_need_no_file(painter, photos):
    image = (photos / "c.png").read_bytes()
    made = painter({"image": [image, {"bytes": image, "path": "x"}, "text"], "id": [7, 8, 9]})
    assert "image" not in made
    assert list(made["id"]) == [7, 8, 9]
    assert made["painted"][0] == made["painted"][1] == painter(columns([photos / "c.png"]))["painted"][0]
    assert made["error"][2] == "expected the bytes of an encoded picture, got str"


def test_a_broken_file_is_a_row_like_others(painter, photos, tmp_path):
    picture = (photos / "c.png").read_bytes()
    jpeg = io.BytesIO()
    Image.open(photos / "c.png").save(jpeg, "JPEG")
    transparent = io.BytesIO()
    Image.new("RGBA", (8, 8)).save(transparent, "PNG")
    broken = {
        "empty.png": (b"", "the file is empty"),
        "text.jpg": (b"hello", "is not a picture Pillow can read"),
        "page.png": (b"<!doctype html><html>", "it is a web page"),
        "paper.jpg": (b"%PDF-1.7 ...", "it is a PDF document"),
        "film.png": (b"\0\0\0\x18ftypmp42", "it is a video"),
        "half.png": (picture[: len(picture) // 2], "it is cut short or damaged"),
        "half.jpg": (jpeg.getvalue()[:300], "it is cut short or damaged"),
        "flipped.png": (picture[:60] + bytes(200) + picture[260:], "it is cut short or damaged"),
        "pointer.png": (b"version https://git-lfs.github.com/spec/v1", "a pointer of Git LFS"),
        "archive.png": (b"PK\x03\x04" + bytes(64), "it is an archive"),
        "drawing.png": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "it is an SVG drawing"),
        "bomb.png": (_claiming(picture, 10**5), "it claims more than"),
    }
    for name, (content, _) in broken.items():
        (tmp_path / name).write_bytes(content)
    made = painter(columns([tmp_path / name for name in broken] + [tmp_path / "none.png", tmp_path, photos / "c.png"]))
    assert list(made["status"]) == ["failed"] * (len(broken) + 2) + ["done"]
    for name, error, (_, reason) in zip(broken, made["error"], broken.values(), strict=False):
        assert str(tmp_path / name) in error
        assert reason in error
        assert "\n" not in error
    assert made["error"][-3].endswith("none.png: No such file or directory")
    assert made["error"][-2].endswith(": Is a directory")
    assert made["painted"][0] == b""


def _claiming(png, side):
    """A PNG whose header claims another size."""
    import zlib

    header = b"IHDR" + side.to_bytes(4, "big") * 2 + png[24:29]
    return png[:12] + header + zlib.crc32(header).to_bytes(4, "big") + png[33:]


@pytest.mark.parametrize(
    ("raised", "sentence"),
    [
        (MemoryError(), "there is not enough memory for {}: expected a `content_size`, such as 512"),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory"), "there is not enough memory for {}: expected a `content"),
        (RuntimeError("CUDA_ERROR\nat line 3"), "cannot paint {}: RuntimeError: CUDA_ERROR at line 3"),
    ],
)
def test_nothing_is_raised(painter, photos, monkeypatch, raised, sentence):
    def serve(request):
        raise raised

    monkeypatch.setattr(painter.session, "serve", serve)
    made = painter(columns([photos / "c.png"]))
    assert made["error"][0].startswith(sentence.format(photos / "c.png"))


def test_a_full_disk_leaves_nothing_half_written(painter, photos, tmp_path, monkeypatch):
    def write(path, content):
        with open(path, "wb") as file:
            file.write(content[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", write)
    made = painter(columns([photos / "c.png"], target=[str(tmp_path / "out" / "c.png")]))
    assert made["error"][0] == f"cannot write {tmp_path / 'out' / 'c.png'}: No space left on device"
    assert list((tmp_path / "out").iterdir()) == []


def test_what_another_worker_made_is_left(painter, photos, tmp_path):
    target = tmp_path / "c.png"
    target.write_bytes(b"made")
    for once, left in ((True, True), (False, False)):
        made = painter(columns([photos / "c.png"], target=[str(target)], once=[once]))
        assert made["status"][0] == "done"
        assert (target.read_bytes() == b"made") == left


def test_a_file_that_ends_its_worker_is_given_up(kept, photos):
    """Workers that end are played by an exception that nothing catches."""
    attempts, tried = Attempts(), []
    named = {"model": kept / "model.safetensors", "attempts": lambda method, row: getattr(attempts, method)(row)}
    painter = Painter(kept / "picture.png", **named)
    serve = painter.session.serve

    def deadly(request):
        tried.append(request.photo.name)
        if request.photo.name.endswith("z.png"):
            raise SystemExit("killed")
        return serve(request)

    painter.session.serve = deadly
    files = [photos / name for name in ("a.png", "b/z.png", "c.png", "b/a.png")]
    batch = columns(files, row=[10, 11, 12, 13])
    for _ in range(1 + MOST):
        with pytest.raises(SystemExit):
            painter(batch)
    tried.clear()
    made = painter(batch)
    assert list(made["status"]) == ["done", "failed", "done", "done"]
    assert made["error"][1].startswith(f"cannot paint {files[1]}: the process that works on it ends each time")
    assert str(files[1]) not in tried
    made = painter(columns(files[2:], row=[20, 21]))
    assert list(made["status"]) == ["done", "done"]


def test_photos_of_one_canvas_come_together(tmp_path):
    sizes = [(200, 150), (64, 70), (150, 200), (198, 147), (66, 71), (200, 150)]
    for number, size in enumerate(sizes):
        image, exif = Image.new("RGB", size), Image.Exif()
        exif[0x0112] = 6 if number == 5 else 1  # On its side.
        image.save(tmp_path / f"{number}.jpg", exif=exif)
    (tmp_path / "6.jpg").write_bytes(b"broken")
    photos = [Photo(f"{number}.jpg") for number in range(7)] + [Photo("film.mp4")]
    reader = Photos(tmp_path, "image")
    assert reader.ordered(photos, None) == [6, 7, 1, 4, 0, 3, 2, 5]
    assert reader.ordered(photos[:2], None) == [0, 1]
    assert reader.ordered(photos, 100)[:2] == [6, 7]


def test_a_film_is_repainted_as_a_whole(kept, tmp_path):
    pytest.importorskip("av")
    from fractions import Fraction

    from wct_jax.video.files.film import open_film
    from wct_jax.video.files.form import Form
    from wct_jax.video.files.frames import Frame
    from wct_jax.video.files.joining import join
    from wct_jax.video.files.segments import write_segment

    pixels = np.random.default_rng(0).random((6, 8, 3), np.float32).repeat(8, 0).repeat(8, 1)
    frames = [Frame(np.roll(pixels, n, 1), Fraction(n, 10), Fraction(1, 10)) for n in range(3)]
    form = Form(".mp4", 64, 48, Fraction(10), Fraction(1, 10))
    write_segment(tmp_path / "part.mp4", frames, form)
    with open_film(tmp_path / "part.mp4") as source:
        join([tmp_path / "part.mp4"], source, tmp_path / "film.mp4", form)
    (tmp_path / "broken.mp4").write_bytes(b"hello")
    named = {"model": kept / "model.safetensors", "source": tmp_path, "target": tmp_path / "out"}
    painter = Painter(kept / "picture.png", Options(layers=["relu1_1"]), **named)
    made = painter({"source": ["film.mp4", "broken.mp4"], "target": ["a/film.mp4", "a/broken.mp4"]})
    assert list(made["status"]) == ["done", "failed"]
    assert (made["width"][0], made["height"][0]) == (64, 48)
    with open_film(tmp_path / "out" / "a" / "film.mp4") as film:
        assert len(list(film)) == 3
    assert [path.name for path in (tmp_path / "out" / "a").iterdir()] == ["film.mp4"]


def test_its_folder_goes_with_it(kept, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    painter = Painter(kept / "picture.png", model=kept / "model.safetensors")
    assert list(tmp_path.glob("wct_jax-scratch-*"))
    del painter
    gc.collect()
    assert not list(tmp_path.glob("wct_jax-scratch-*"))
