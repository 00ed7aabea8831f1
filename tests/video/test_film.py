"""Every frame once, when and as players show it."""

import itertools
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from wct_jax.video.files.film import open_film
from wct_jax.video.files.form import Form
from wct_jax.video.files.joining import join
from wct_jax.video.files.stream import StreamFilm

CLIPS = {
    "mmflow_demo.mp4": ((1024, 436), 50),
    "mp_fire2.mp4": ((1280, 720), 25),
    "mp_no_duration.webm": ((1280, 720), 74),
    "mp_transparent.webm": ((200, 200), 150),
    "mp_video_with_failing_audio.mp4": ((640, 360), 280),
    "tc_av1_video.mkv": ((640, 360), 125),
    "tc_bt2020_10bit.mp4": ((320, 240), 60),
    "tc_discard_first_keyframe.mp4": ((64, 64), 25),
    "tc_h265_10bits.mp4": ((200, 200), 30),
    "tc_nasa_13013.mp4": ((320, 180), 325),
    "tc_nasa_13013_hdr.mp4": ((320, 180), 325),
    "tc_nasa_13013_rotated.mp4": ((270, 480), 17),
    "tc_test_non_zero_start.mp4": ((200, 112), 12),
    "tc_testsrc2_odd_height_and_width_vp9.mp4": ((321, 241), 25),
}


def read(path, **options):
    with open_film(path, **options) as film:
        return film, list(film)


def times(path, **options):
    return [frame.time for frame in read(path, **options)[1]]


@pytest.mark.parametrize("name", CLIPS)
def test_clips_lose_no_frame_and_no_time(name, shared, monkeypatch):
    size, count = CLIPS[name]
    with av.open(str(shared / "video" / name)) as container:
        stream = container.streams.video[0]
        expected = [frame.pts * stream.time_base for frame in container.decode(stream)]
    monkeypatch.setattr(StreamFilm, "_load", lambda self, frame: (np.zeros(()), None))
    film, frames = read(shared / "video" / name)
    assert (film.width, film.height) == size
    assert [frame.time for frame in frames] == expected
    assert len(expected) == count
    assert film.frame_count in (None, count)
    assert all(frame.time + frame.duration == after.time for frame, after in itertools.pairwise(frames))


def test_clips_show_what_they_are(shared):
    film, frames = read(shared / "video/mp_transparent.webm", end=0.1)
    assert film.has_alpha
    assert frames[0].alpha.min() == 0
    assert frames[0].alpha.max() == 1
    film, _ = read(shared / "video/tc_bt2020_10bit.mp4", end=0.1)
    assert film.notes == ("The film is HDR (PQ); its colours were tone-mapped to SDR.",)
    film, _ = read(shared / "video/tc_test_non_zero_start.mp4", end=0.1)
    assert film.sample_aspect == Fraction(224, 225)
    assert read(shared / "video/tc_nasa_13013.mp4", stream=1, end=0.1)[0].width == 480


@pytest.mark.parametrize(("matrix", "share"), [(1, (0.2126, 0.0722)), (5, (0.299, 0.114)), (9, (0.2627, 0.0593))])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("format", ["yuv420p", "yuv444p10le"])
def test_colors_follow_matrix_and_range(film_file, matrix, share, full, format):
    y, u, v = 120, 100, 150
    tags = {"colorspace": matrix, "color_range": 2 if full else 1}
    planes = [value * (4 if "10" in format else 1) for value in (y, u, v)]
    _, frames = read(film_file("a.mkv", range(2), planes=planes, format=format, tags=tags))
    if full:
        # Of 10 bits the largest is 1023, not 255 * 4.
        most = 1023 / 4 if "10" in format else 255
        y, u, v = y / most, (u - 128) / most, (v - 128) / most
    else:
        y, u, v = (y - 16) / 219, (u - 128) / 224, (v - 128) / 224
    red, blue = share
    r, b = y + (2 - 2 * red) * v, y + (2 - 2 * blue) * u
    expected = [r, (y - red * r - blue * b) / (1 - red - blue), b]
    assert np.abs(frames[0].pixels - np.float32(expected)).max() < (0.2 if "10" in format else 0.51) / 255


@pytest.mark.parametrize(("size", "matrix"), [((720, 480), 5), ((1280, 64), 1), ((64, 720), 1)])
def test_colors_are_guessed_by_size(film_file, size, matrix):
    planes, tags = (120, 100, 150), {"color_range": 1}
    guessed = read(film_file("a.mkv", range(1), size=size, planes=planes, tags=tags))[1][0].pixels[0, 0]
    stated = read(film_file("b.mkv", range(1), planes=planes, tags=tags | {"colorspace": matrix}))[1][0].pixels[0, 0]
    assert np.array_equal(guessed, stated)


@pytest.mark.parametrize(("transfer", "dim", "white"), [(16, 0.436, 0.581), (18, 0.5, 0.75)])
def test_high_dynamic_range_is_tone_mapped(film_file, transfer, dim, white):
    shades = []
    for value in (0, dim, white, 0.9, 1):
        tags = {"colorspace": 9, "color_primaries": 9, "color_trc": transfer, "color_range": 1}
        planes = round(64 + 876 * value), 512, 512
        film, frames = read(film_file(f"{value}.mkv", range(1), planes=planes, format="yuv420p10le", tags=tags))
        assert np.ptp(frames[0].pixels) < 1e-3
        assert "tone-mapped" in film.notes[0]
        shades.append(frames[0].pixels.mean())
    assert np.all(np.diff(shades) > -1e-4)
    assert shades[0] == 0
    assert shades[4] == pytest.approx(1, abs=0.01)
    # Paper stays light, and leaves room for highlights.
    assert 0.85 < shades[2] < 0.95


def test_a_glance_is_a_small_copy_of_the_frame(film_file):
    with open_film(film_file("film.mp4", size=(520, 260), rotate=(90,))) as film:
        for frame, glance in zip(film, film.glances(), strict=True):
            assert glance.time == frame.time
            assert glance.small.shape == (130, 65, 3)
            np.testing.assert_allclose(glance.small.mean((0, 1)), frame.pixels.mean((0, 1)), atol=0.02)
            np.testing.assert_array_equal(glance.load(), frame.pixels)


def test_wide_gamut_is_converted(film_file):
    tags = {"colorspace": 9, "color_primaries": 9, "color_trc": 14, "color_range": 1}
    grey = read(film_file("a.mkv", range(1), planes=(500, 512, 512), format="yuv420p10le", tags=tags))[1][0].pixels[
        0, 0
    ]
    assert np.allclose(grey, (500 - 64) / 876, atol=1e-3)
    red = (500, 480, 620)
    narrow = read(film_file("b.mkv", range(1), planes=red, format="yuv420p10le", tags=tags | {"color_primaries": 1}))
    wide = read(film_file("c.mkv", range(1), planes=red, format="yuv420p10le", tags=tags))
    assert np.ptp(wide[1][0].pixels[0, 0]) > np.ptp(narrow[1][0].pixels[0, 0])


@pytest.mark.parametrize(
    ("rotate", "turn"),
    [
        ((90,), lambda picture: np.rot90(picture, 1)),
        ((180,), lambda picture: np.rot90(picture, 2)),
        ((-90,), lambda picture: np.rot90(picture, -1)),
        ((0, True), lambda picture: picture[:, ::-1]),
        ((0, False, True), lambda picture: picture[::-1]),
    ],
)
def test_frames_are_turned_upright(film_file, rotate, turn):
    # Brighter to the right, greener downwards.
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[..., 0], picture[..., 1] = np.linspace(40, 200, 64), np.linspace(40, 200, 48)[:, None]
    tags = {"sample_aspect_ratio": Fraction(2)}
    film, frames = read(film_file("a.mp4", range(2), picture=picture, rotate=rotate, tags=tags, options={"crf": "1"}))
    expected = turn(picture)
    assert (film.height, film.width) == expected.shape[:2]
    assert film.sample_aspect == (Fraction(1, 2) if abs(rotate[0]) == 90 else 2)
    assert np.abs(frames[0].pixels - expected / 255).mean() < 0.02


def test_variable_rates_and_late_starts_are_kept(film_file):
    stamps = [3000, 3033, 3100, 3500, 3501]
    path = film_file("a.mp4", stamps, Fraction(1, 1000), options={"bf": "0"})
    film, frames = read(path)
    assert [frame.time * 1000 for frame in frames] == stamps
    assert film.frame_rate > 0
    assert film.duration == pytest.approx(0.541, abs=0.05)
    assert [float(frame.duration) for frame in frames[:4]] == [0.033, 0.067, 0.4, 0.001]
    assert times(path, start=3.033, end=3.5) == [Fraction(3033, 1000), Fraction(31, 10)]
    assert [frame.time * 1000 for frame in film] == stamps


def test_frames_found_by_searching_are_those_of_a_whole_reading(film_file):
    path = film_file("a.mp4", range(100), options={"g": "12"})
    late = [frame for frame in read(path)[1] if frame.time >= 2]
    film, found = read(path, start=2, end=Fraction(5, 2))
    assert [frame.time for frame in found] == [frame.time for frame in late[:13]]
    assert film.frame_count == 12
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(found, late, strict=False))


def test_frames_keep_ten_bits_and_odd_sides(film_file):
    tags = {"colorspace": 1, "color_range": 1}
    first = read(film_file("a.mkv", range(1), size=(33, 21), planes=(400, 512, 512), format="yuv420p10le", tags=tags))
    other = read(film_file("b.mkv", range(1), size=(33, 21), planes=(401, 512, 512), format="yuv420p10le", tags=tags))
    assert first[1][0].pixels.shape == (21, 33, 3)
    assert 0 < other[1][0].pixels.mean() - first[1][0].pixels.mean() < 1 / 800


def test_cover_pictures_are_no_films(film_file, tmp_path):
    def cover(container):
        stream = container.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "rgb24"
        stream.disposition = av.stream.Disposition.attached_pic
        frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8))
        return stream.encode(frame) + stream.encode(None)

    assert read(film_file("a.mp4", tracks=[cover]))[0].width == 64
    with pytest.raises(ValueError, match=r"stream must be below 2, the number of video streams in .*, got 2"):
        open_film(tmp_path / "a.mp4", stream=2)


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_animated_pictures_keep_durations_and_alpha(suffix, tmp_path):
    first, second = (Image.new("RGBA", (20, 10), color) for color in ((255, 0, 0, 255), (0, 255, 0, 255)))
    # Pillow leaves out the alpha of all frames if the first needs none.
    first.putpixel((0, 9), (0, 0, 0, 0))
    second.paste((0, 0, 0, 0), (0, 0, 10, 10))
    path = tmp_path / f"a{suffix}"
    how = {} if suffix == ".webp" else {"disposal": 1 if suffix == ".png" else 2}
    first.save(path, save_all=True, append_images=[second], duration=[40, 300], lossless=True, loop=0, **how)
    film, frames = read(path)
    assert [float(frame.duration) for frame in frames] == [0.04, 0.3]
    assert film.duration == 0.34
    assert [float(frame.time) for frame in frames] == [0, 0.04]
    assert film.has_alpha
    assert frames[0].alpha.sum() == 199
    assert frames[1].alpha[0, 0] == 0
    assert frames[1].alpha[0, 15] == 1
    assert np.array_equal(frames[0].pixels[0, 0], [1, 0, 0])
    assert np.array_equal(frames[1].pixels[0, 15], [0, 1, 0])
    first.save(path)
    with pytest.raises(ValueError, match="expected a film, got a picture"):
        open_film(path)


@pytest.mark.parametrize("pattern", ["frames/*.png", "frames/%d.png", "frames"])
def test_sequences_come_in_the_order_of_their_numbers(pattern, tmp_path):
    (tmp_path / "frames").mkdir()
    for number in (1, 2, 10):
        Image.new("RGB", (8, 6), (number * 20, 0, 0)).save(tmp_path / f"frames/{number}.png")
    film, frames = read(tmp_path / pattern, fps=10)
    assert [round(frame.pixels[0, 0, 0] * 255) for frame in frames] == [20, 40, 200]
    assert [frame.time for frame in frames] == [0, Fraction(1, 10), Fraction(1, 5)]
    assert film.frame_count == 3
    assert film.duration == 0.3
    Image.new("RGB", (8, 7)).save(tmp_path / "frames/11.png")
    with pytest.raises(ValueError, match=r"expected pictures of one size, 8 x 6, got .*11.png of 8 x 7"):
        read(tmp_path / pattern, fps=10)


def joined(path, target):
    with open_film(path) as film:
        join([path], film, target, Form.of(film, target))
    return target


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
def test_films_cut_short_give_their_frames_first(film_file, name, tmp_path):
    path = film_file(name, range(100))
    if name == "a.mp4":  # With its index in front, as on the web.
        path = joined(path, tmp_path / "b.mp4")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 6 // 10])
    seen = []
    with pytest.raises(ValueError, match=r"breaks off at \d\.\d\d s: the file is damaged or cut short"):
        seen.extend(frame.time for frame in open_film(path))
    assert seen == [Fraction(number, 25) for number in range(len(seen))]
    assert 20 < len(seen) < 90


def test_mistakes_are_named(film_file, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.bmp")
    (tmp_path / "a.bin").write_bytes(bytes(3000))
    film = film_file("a.mkv")
    (tmp_path / "folder").mkdir()
    for path, options, sentence in (
        (tmp_path / "none.mp4", {}, "no such file"),
        (tmp_path / "a.jpg", {}, "expected a film, got a picture"),
        (tmp_path / "a.bmp", {}, "expected a film, got a picture"),
        (tmp_path / "a.bin", {}, "it is not a film that FFmpeg knows, or it is damaged"),
        (film, {"fps": 25}, "fps is for sequences of pictures"),
        (film, {"stream": -1}, "stream must be at least 0"),
        (film, {"start": 2, "end": 1}, "end must be after start, 2 s, got 1 s"),
        (tmp_path / "folder", {}, "fps must be given for a sequence"),
        (tmp_path / "folder", {"fps": 25}, "expected pictures at"),
        (tmp_path / "*.jpg", {"fps": 25, "stream": 0}, "stream is for films of several streams"),
    ):
        with pytest.raises(ValueError, match=sentence) as raised:
            open_film(path, **options)
        assert "\n" not in str(raised.value)


def test_sound_alone_is_no_film(tmp_path, sound):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        container.mux(sound()(container))
    with pytest.raises(ValueError, match=r"expected a film, got .* without a video stream: it has audio"):
        open_film(tmp_path / "a.mp4")


def test_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.delitem(sys.modules, "wct_jax.video.files.pyav")
    with pytest.raises(ValueError, match=r'video needs PyAV: pip install "wct_jax\[video\]"'):
        __import__("wct_jax.video.files.pyav")
