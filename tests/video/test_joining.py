"""A film written in segments is the film, repainted, and all else of the source."""

import resource
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from wct_jax.pictures.images import read_picture
from wct_jax.video.files import joining
from wct_jax.video.files.film import Frame, open_film
from wct_jax.video.files.form import Form
from wct_jax.video.files.joining import join
from wct_jax.video.files.segments import write_segment


@pytest.fixture
def repaint(tmp_path):
    """Write a film anew in segments of four frames, and return it, its form and the notes."""

    def repaint(source, name, change=lambda frame: frame, codec=None, **options):
        target = tmp_path / name
        with open_film(source, **options) as film:
            form, frames = Form.of(film, target, codec=codec), [change(frame) for frame in film]
            paths = []
            for first in range(0, len(frames), 4):
                paths.append(tmp_path / f"{first}.segment")
                write_segment(paths[-1], frames[first : first + 4], form)
            return target, form, join(paths, film, target, form)

    return repaint


def packets(path, kind):
    with av.open(str(path)) as container:
        stream = getattr(container.streams, kind)[0]
        kept = [packet for packet in container.demux(stream) if packet.size]
        return [bytes(packet) for packet in kept], [packet.pts * stream.time_base for packet in kept]


def shown(path, **options):
    return [(frame.time, frame.duration) for frame in open_film(path, **options)]


@pytest.mark.parametrize("name", ["b.mp4", "b.mov", "b.mkv", "b.webm", "c.mp4"])
def test_frames_keep_their_times(name, film_file, repaint):
    stamps = [3000, 3033, 3100, 3500, 3501, 3600, 3650, 3700, 3701]
    source = film_file("a.mkv", stamps, Fraction(1, 1000))
    target, _form, notes = repaint(source, name, codec="hevc" if name == "c.mp4" else None)
    assert shown(target) == shown(source)
    assert not notes
    with av.open(str(target)) as container:
        stream = container.streams.video[0]
        # Every segment begins anew, and no packet waits for a later one.
        kept = [packet for packet in container.demux(stream) if packet.size]
        assert [packet.is_keyframe for packet in kept][::4] == [True] * 3
        assert all(packet.pts == packet.dts for packet in kept)
        assert stream.codec_tag.strip("\0") == {"b.mp4": "avc1", "b.mov": "ap4h", "c.mp4": "hvc1"}.get(name, "")
        assert stream.codec_context.color_primaries == stream.codec_context.color_trc == 1


def test_times_finer_than_milliseconds_are_kept(film_file, repaint):
    source = film_file("a.mp4", [1001 * number for number in range(7, 15)], Fraction(1, 30000), options={"bf": "0"})
    assert shown(repaint(source, "b.mp4")[0]) == shown(source)


@pytest.mark.parametrize("name", ["b.mp4", "b.mov", "b.mkv", "b.webm", "c.mkv", "b.webp", "b%d.png"])
def test_colors_come_back(name, film_file, repaint, rng):
    colors = iter([(0, 0, 0), (1, 1, 1), (1, 0, 0), (0, 1, 0), (0, 0, 1), *rng.random((7, 3))])
    painted = []

    def paint(frame):
        painted.append(np.float32(next(colors)))
        return Frame(np.broadcast_to(painted[-1], frame.pixels.shape), frame.time, frame.duration)

    target, form, _ = repaint(film_file("a.mkv", range(12)), name, paint, "ffv1" if name == "c.mkv" else None)
    film = open_film(target, fps=25 if form.sequence else None)
    # Saturated blue cannot be told by 8-bit YUV to better than this.
    for frame, color in zip(film, painted, strict=True):
        assert np.abs(frame.pixels[8:-8, 8:-8] - color).max() < (4 if name == "b.webp" else 2.01) / 255


def test_segments_are_written_alike_again(film_file, tmp_path):
    with open_film(film_file("a.mp4")) as film:
        form, frames = Form.of(film, "b.mp4"), list(film)
    for name in "xy":
        assert write_segment(tmp_path / name, frames, form) == 5
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()


def test_all_else_is_copied(film_file, repaint, sound, subtitles):
    chapters = [
        {"id": n, "start": n * 100, "end": n * 100 + 100, "time_base": Fraction(1, 1000), "metadata": {"title": f"{n}"}}
        for n in range(2)
    ]
    source = film_file("a.mp4", tracks=[sound(), subtitles()], chapters=chapters, metadata={"title": "Dünen"})
    target, _, notes = repaint(source, "b.mp4")
    assert not notes
    for kind in ("audio", "subtitles"):
        assert packets(source, kind) == packets(target, kind)
    with av.open(str(target)) as container:
        assert [chapter["metadata"]["title"] for chapter in container.chapters()] == ["0", "1"]
        assert container.metadata["title"] == "Dünen"
        assert container.streams.audio[0].language == "deu"
        assert container.streams.subtitles[0].language == "fra"
        assert container.streams.video[0].time_base == Fraction(1, 12800)


def test_what_a_container_cannot_hold_is_named(film_file, repaint, sound, subtitles):
    source = film_file("a.mp4", tracks=[sound(), subtitles()])
    target, _, notes = repaint(source, "b.webm")
    assert notes == (
        "A sound stream (aac) was left out: .webm files cannot hold it.",
        "A subtitle stream (mov_text) was left out: .webm files cannot hold it.",
    )
    with av.open(str(target)) as container:
        assert len(container.streams) == 1


def test_damaged_sound_is_left_out(film_file, repaint, sound, monkeypatch):
    source = film_file("a.mp4", tracks=[sound()])
    demuxed = joining._packets

    def damaged(container, streams):
        for packet in demuxed(container, streams):
            if packet.stream.type == "audio" and packet.pts > 9000:
                packet.dts = -10  # Earlier than the one before.
            yield packet

    monkeypatch.setattr(joining, "_packets", damaged)
    target, _, notes = repaint(source, "b.mp4")
    assert notes == ("A sound stream (aac) was left out: it is damaged (Invalid argument).",)
    assert shown(target) == shown(source)


@pytest.mark.parametrize("name", ["b.mp4", "b.webm", "b.mkv", "b.mov", "b.gif", "b.webp"])
def test_a_last_frame_is_shown_for_as_long(name, film_file, repaint):
    def hold(frame):
        return Frame(frame.pixels, frame.time, frame.duration + (3 if frame.time == Fraction(4, 25) else 0))

    assert shown(repaint(film_file("a.mkv"), name, hold)[0])[-1] == (Fraction(4, 25), Fraction(76, 25))


def test_attachments_go_to_matroska(tmp_path, film_file, repaint):
    source = film_file("a.mkv", tracks=[lambda container: [container.add_attachment("f.ttf", "font/ttf", b"123")][:0]])
    with av.open(str(repaint(source, "b.mkv")[0])) as container:
        assert container.streams.attachments[0].data == b"123"
    assert repaint(source, "b.mp4")[2] == ("The attachments were left out: .mp4 files cannot hold them.",)


def test_a_part_begins_at_nought(film_file, repaint, sound):
    chapters = [
        {"id": n, "start": n, "end": n + 1, "time_base": Fraction(1), "metadata": {"title": f"{n}"}} for n in range(3)
    ]
    source = film_file("a.mp4", range(75), tracks=[sound()], chapters=chapters)
    target, _, _ = repaint(source, "b.mp4", start=0.2, end=0.8)
    assert [float(time) for time, _ in shown(target)] == [number / 25 for number in range(15)]
    (all_data, all_times), (data, times) = packets(source, "audio"), packets(target, "audio")
    assert data == [each for each, time in zip(all_data, all_times, strict=True) if 0.2 <= time < 0.8]
    assert times == [time - Fraction(1, 5) for time in all_times if 0.2 <= time < 0.8]
    with av.open(str(target)) as container:
        (chapter,) = container.chapters()
        assert [chapter[side] * chapter["time_base"] for side in ("start", "end")] == [0, Fraction(3, 5)]


@pytest.mark.parametrize("name", ["b.mp4", "b.webm", "b.mov"])
def test_odd_sides_lose_nothing(name, film_file, repaint):
    source = film_file("a.mkv", size=(33, 21))
    target, form, notes = repaint(source, name)
    frames, results = list(open_film(source)), list(open_film(target))
    assert results[0].pixels.shape == ((22, 34, 3) if name == "b.mp4" else (21, 33, 3))
    assert notes == form.notes
    assert "34 x 22 of 33 x 21" in notes[0] if name == "b.mp4" else not notes
    assert np.abs(results[0].pixels[:21, :33] - frames[0].pixels).mean() < 0.01
    assert np.abs(results[0].pixels[-1] - results[0].pixels[20]).max() < 0.05


@pytest.mark.parametrize("name", ["b.mp4", "b.mkv", "b.mov", "b.webm", "b.gif"])
def test_pixels_keep_their_aspect(name, film_file, repaint):
    source = film_file("a.mp4", tags={"sample_aspect_ratio": Fraction(4, 3)})
    film = open_film(repaint(source, name)[0])
    assert film.width * film.sample_aspect / film.height == pytest.approx(64 * 4 / 3 / 48, abs=0.01)


@pytest.mark.parametrize("name", ["b.webm", "b.mov", "b.mkv", "b.gif", "b.webp", "b%d.png", "b.mp4"])
def test_alpha_is_kept_where_it_can_be(name, film_file, repaint):
    def veil(frame):
        alpha = np.ones(frame.pixels.shape[:2], np.float32)
        alpha[:, :32] = 0
        return Frame(frame.pixels, frame.time, frame.duration, alpha)

    source = film_file("a.mkv", format="yuva420p")
    target, form, _ = repaint(source, name, veil, "ffv1" if name == "b.mkv" else None)
    film = open_film(target, fps=25 if form.sequence else None)
    frames = list(film)
    if name == "b.mp4":
        assert not film.has_alpha
        assert frames[0].pixels[:, :30].min() > 0.97
    else:
        assert film.has_alpha
        assert frames[0].alpha[:, :30].max() < 0.02
        assert frames[0].alpha[:, 34:].min() > 0.98
    assert len(frames) == 5


def test_gif_keeps_durations(film_file, repaint):
    source = film_file("a.mkv", [0, 40, 100, 500, 520, 540], Fraction(1, 1000))
    assert shown(repaint(source, "b.gif")[0]) == shown(source)
    fast = film_file("c.mkv", range(0, 60, 10), Fraction(1, 1000), rate=100)
    target, _, notes = repaint(fast, "d.gif")
    assert notes == ("GIF holds at most 50 frames a second: this film, which has more, plays slower.",)
    assert [frame.time for frame in open_film(target)] == [Fraction(number, 50) for number in range(6)]


def test_pictures_are_written_one_by_one(film_file, repaint, tmp_path):
    (tmp_path / "out").mkdir()
    repaint(film_file("a.mkv"), "out/")
    assert sorted(path.name for path in (tmp_path / "out").glob("0*")) == [f"{n:06d}.png" for n in range(1, 6)]
    repaint(film_file("a.mkv"), "new/%02d.jpg")
    assert read_picture(tmp_path / "new/05.jpg").pixels.shape == (48, 64, 3)


def test_animated_pictures_become_films(repaint, tmp_path):
    frames = [Image.new("RGB", (16, 10), (50 * number, 0, 0)) for number in range(4)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=[40, 100, 20, 300])
    assert shown(repaint(tmp_path / "a.gif", "b.mp4")[0]) == shown(tmp_path / "a.gif")


def test_a_full_disk_leaves_nothing(film_file, tmp_path):
    source = film_file("a.mkv", range(9))
    with open_film(source) as film:
        form, frames = Form.of(film, "b.mkv", codec="ffv1"), list(film)
        write_segment(tmp_path / "x", frames, form)
        before = sorted(tmp_path.iterdir())
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
        try:
            with pytest.raises(ValueError, match=r"cannot write .*: File too large"):
                write_segment(tmp_path / "y", frames, form)
            with pytest.raises(ValueError, match=r"cannot write .*: File too large"):
                join([tmp_path / "x"], film, tmp_path / "b.mkv", form)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted(tmp_path.iterdir()) == before


def test_mistakes_are_named(film_file, tmp_path):
    with open_film(film_file("a.mkv")) as film:
        frames, form = list(film), Form.of(film, "b.mp4")
        for options, sentence in (
            ({"target": "b.avi"}, r"a film's suffix must be one of \.mp4, .*, got '\.avi'"),
            ({"target": "b.png"}, "got '.png'"),
            ({"target": "b.mp4", "codec": "vp9"}, "the codec of a .mp4 film must be one of h264, hevc, got 'vp9'"),
            ({"target": "b.mp4", "quality": 101}, "quality must be at most 100, got 101"),
        ):
            with pytest.raises(ValueError, match=sentence):
                Form.of(film, **options)
        with pytest.raises(ValueError, match="expected at least one frame, got none"):
            write_segment(tmp_path / "x", [], form)
        with pytest.raises(ValueError, match=r"expected frames of shape \[48, 64, 3\], got \[24, 64, 3\]"):
            write_segment(tmp_path / "x", [Frame(frames[0].pixels[::2], Fraction(0), Fraction(1))], form)
        with pytest.raises(ValueError, match="expected at least one segment, got none"):
            join([], film, tmp_path / "b.mp4", form)
        write_segment(tmp_path / "x", frames[:2], form)
        write_segment(tmp_path / "y", frames[2:], Form.of(film, "b.mp4", size=(64, 48), quality=10))
        write_segment(tmp_path / "z", frames[:2], form)
        with pytest.raises(ValueError, match=r"expected segments of one form, got .*y, which differs from the first"):
            join([tmp_path / "x", tmp_path / "y"], film, tmp_path / "b.mp4", form)
        with pytest.raises(ValueError, match=r"expected segments in order, got a frame at 0 s in .*z"):
            join([tmp_path / "x", tmp_path / "z"], film, tmp_path / "b.mp4", form)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mkv", "x", "y", "z"]


@pytest.mark.parametrize("name", ["tc_nasa_13013.mp4", "tc_test_non_zero_start.mp4", "tc_nasa_13013_rotated.mp4"])
def test_clips_come_through(name, shared, repaint):
    source = shared / "video" / name
    end = 9 if "start" in name else 0.5
    target, _, notes = repaint(source, "b.mp4", end=end)
    assert shown(target) == shown(source, end=end)
    assert not notes
    if name == "tc_nasa_13013.mp4":
        data, times = packets(target, "audio")
        assert (data, times) == tuple(each[: len(data)] for each in packets(source, "audio"))
        assert len(data) > 2
