"""Films repainted: steady, segment by segment, and the same after a run was broken off."""

import itertools
import os
import runpy
import threading
from fractions import Fraction
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from wct_jax import Options, Session
from wct_jax.studio.progress import Cancelled
from wct_jax.studio.request import Look
from wct_jax.video import repainting, survey
from wct_jax.video.ahead import ahead
from wct_jax.video.brush import Steadiness
from wct_jax.video.files.film import open_film
from wct_jax.video.files.form import Form
from wct_jax.video.files.frames import Frame
from wct_jax.video.files.joining import join
from wct_jax.video.files.segments import write_segment
from wct_jax.video.repainting import stylize_video
from wct_jax.video.unfinished import Unfinished, arrays_of, statistics_from

pytestmark = pytest.mark.usefixtures("directly")
OPTIONS = Options(layers=["relu2_1", "relu1_1"])
STEADY = pytest.mark.parametrize("steadiness", [Steadiness(), Steadiness(0.2)], ids=["shots", "average"])


@pytest.fixture(scope="module")
def session(model):
    return Session(model)


@pytest.fixture(scope="module")
def pictures():
    """Two scenes of 11 frames each, the second another place, at uneven times."""
    rng = np.random.default_rng(0)
    places = rng.random((2, 8, 12, 3), np.float32).repeat(8, 1).repeat(8, 2)
    return [np.roll(place, number, 1)[:, :80] for place in places for number in range(11)]


@pytest.fixture(scope="module")
def film(pictures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("film")
    times = [Fraction(n * n, 100) / 2 for n in range(len(pictures) + 1)]
    frames = [Frame(p, t, n - t) for p, (t, n) in zip(pictures, itertools.pairwise(times), strict=True)]
    form = Form(".mkv", 80, 64, Fraction(25), Fraction(1, 1000), codec="ffv1")
    write_segment(folder / "one.mkv", frames, form)
    with open_film(folder / "one.mkv") as source:
        join([folder / "one.mkv"], source, folder / "film.mkv", form)
    return folder / "film.mkv"


@pytest.fixture
def repaint(session, film, tmp_path, pictures, monkeypatch):
    monkeypatch.setattr(survey, "_SEGMENT", 4)
    alone = Look((pictures[0] ** 2,))

    def repaint(name="out.mkv", look=alone, **options):
        target = tmp_path / name
        report = stylize_video(session, film, target, look, OPTIONS, codec="ffv1", **options)
        with open_film(target) as result:
            return report, list(result)

    return repaint


@pytest.fixture
def broken_off(repaint, monkeypatch):
    """Break off a run before it paints a frame, and go on with it."""

    def broken_off(frame, **options):
        paint, done = repainting.Brush.paint, itertools.count()

        def killed(*arguments):
            if next(done) == frame:
                raise KeyboardInterrupt
            return paint(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(repainting.Brush, "paint", killed)
            with pytest.raises(KeyboardInterrupt):
                repaint("again.mkv", **options)
        return repaint("again.mkv", resume=True, **options)

    return broken_off


def same(a, b):
    pairs = list(itertools.zip_longest(a, b))
    return all(np.array_equal(x.pixels, y.pixels) and x.time == y.time for x, y in pairs)


@STEADY
def test_every_frame_at_its_time(repaint, session, film, pictures, tmp_path, steadiness):
    seen = []
    report, frames = repaint(steadiness=steadiness, progress=lambda *done: seen.append(done))
    assert (report.frames, report.shots, report.painted) == (22, 2, 22)
    with open_film(film) as source:
        assert [frame.time for frame in frames] == [frame.time for frame in source]
    assert seen[-1] == ("frames", 22, 22)
    assert [path.name for path in tmp_path.iterdir()] == ["out.mkv"]


def test_a_shot_is_painted_by_its_own_statistics_alone(repaint, session, film, pictures, tmp_path):
    """So its first frame is that of a film which begins there."""
    _, frames = repaint()
    cut = frames[11].time
    _, later = repaint("later.mkv", start=cut)
    assert [frame.time for frame in later] == [frame.time - cut for frame in frames[11:]]
    for one, other in zip(frames[11:], later, strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)


@STEADY
@pytest.mark.parametrize("broken_at", [3, *(pytest.param(n, marks=pytest.mark.slow) for n in (0, 4, 13, 21))])
def test_a_broken_off_run_goes_on_and_ends_with_the_same_frames(repaint, broken_off, steadiness, broken_at):
    _, whole = repaint("whole.mkv", steadiness=steadiness)
    report, frames = broken_off(broken_at, steadiness=steadiness)
    assert same(frames, whole)
    assert report.painted == 22 - {0: 0, 3: 0, 4: 4, 13: 11, 21: 19}[broken_at]


@pytest.mark.slow
def test_devices_share_the_frames(repaint):
    _, alone = repaint(steadiness=Steadiness(follow=False))
    _, shared = repaint("shared.mkv", steadiness=Steadiness(follow=False), devices=jax.devices()[:3])
    assert len(jax.devices()) > 2
    assert same(alone, shared)
    # One by one where each frame's statistics need those before.
    average = Steadiness(0.5)
    assert same(repaint("a.mkv", steadiness=average)[1], repaint("b.mkv", steadiness=average, devices=jax.devices())[1])


def test_a_style_turns_into_the_next(session, film, pictures, tmp_path):
    looks = Look((pictures[0] ** 2, pictures[11] ** 0.5))
    alone = []
    for number, look in enumerate((Look(looks.files[:1]), Look(looks.files[1:]), looks)):
        at = {"style_at": (Fraction(1, 10), Fraction(1))} if number == 2 else {"steadiness": Steadiness(1.0)}
        stylize_video(session, film, tmp_path / f"{number}.mkv", look, OPTIONS, codec="ffv1", **at)
        with open_film(tmp_path / f"{number}.mkv") as result:
            alone.append(list(result))
    first, second, turned = alone
    for a, b, c in zip(first, second, turned, strict=True):
        if c.time <= 0.1:
            np.testing.assert_array_equal(c.pixels, a.pixels)
        apart = [np.abs(c.pixels - each.pixels).mean() for each in (a, b)]
        assert apart[0] <= apart[1] if c.time < 0.3 else apart[0] >= apart[1] or c.time < 0.8


@pytest.mark.parametrize(
    ("look", "times", "sentence"),
    [
        (Look(("a.png", "b.png")), (1,), "must have a time for each of 2 styles, got 1"),
        (Look(("a.png", "b.png")), (1, 1), "must increase, got 1, 1"),
        (Look(("a.png", "b.png"), (1, 2)), (1, 2), "takes one style at a time"),
    ],
)
def test_bad_times_of_styles(session, film, tmp_path, look, times, sentence):
    with pytest.raises(ValueError, match=sentence):
        stylize_video(session, film, tmp_path / "out.mkv", look, OPTIONS, style_at=tuple(map(Fraction, times)))


@pytest.mark.slow
def test_the_film_of_our_own_is_calmer_with_flow(session, pictures, tmp_path):
    """Two shots; the pan of the first moves by a whole number of pixels, so flicker is what remains of it."""
    example = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "film.py"))
    example["write"](tmp_path / "film.mp4")
    flicker, step = [], example["STEP"]
    for follow in (False, True):
        target, look, steadiness = tmp_path / f"{follow}.mkv", pictures[0] ** 2, Steadiness(follow=follow)
        report = stylize_video(session, tmp_path / "film.mp4", target, look, OPTIONS, steadiness=steadiness)
        assert (report.frames, report.shots) == (example["PAN"] + example["APPROACH"], 2)
        with open_film(target, end=Fraction(1, 2)) as result:
            moves = itertools.pairwise(frame.pixels for frame in result)
            flicker.append(np.mean([np.abs(after[:, :-step] - before[:, step:]) for before, after in moves]))
    assert flicker[1] < 0.5 * flicker[0]


@pytest.fixture
def curtains(tmp_path):
    """Masks that open from the left, and their other halves: a film, and pictures one by one."""
    (tmp_path / "masks").mkdir()

    def curtains(count=22, width=80):
        frames = []
        for n in range(count):
            grey = (np.arange(width) < 4 * n * width // 80).repeat(3).reshape(1, width, 3).repeat(64, 0)
            Image.fromarray(np.uint8(grey) * 255).save(tmp_path / f"masks/{n}.png")
            frames.append(Frame(1 - grey.astype(np.float32), Fraction(n, 25), Fraction(1, 25)))
        form = Form(".mkv", width, 64, Fraction(25), Fraction(1, 1000), codec="ffv1")
        write_segment(tmp_path / "masks.mkv", frames, form)
        return tmp_path / "masks" / "*.png", tmp_path / "masks.mkv"

    return curtains


def test_masks_move_with_the_film(repaint, film, pictures, curtains):
    """The region without a style stays as it is."""
    look = Look((pictures[0] ** 2, None), masks=curtains())
    _, frames = repaint(look=look, moving_masks=True, steadiness=Steadiness(follow=False))
    with open_film(film) as source:
        for number, (frame, before) in enumerate(zip(frames, source, strict=True)):
            curtain = min(4 * number, 80)
            np.testing.assert_allclose(frame.pixels[:, curtain:], before.pixels[:, curtain:], atol=1e-6)
            if number:
                assert np.abs(frame.pixels[:, :curtain] - before.pixels[:, :curtain]).mean() > 0.02


@pytest.mark.parametrize("broken_at", [3, 13])
def test_masks_go_on_with_the_film(repaint, broken_off, curtains, pictures, broken_at):
    options = {"look": Look((pictures[0] ** 2, pictures[11]), masks=curtains()), "moving_masks": True}
    _, whole = repaint("whole.mkv", **options)
    assert same(broken_off(broken_at, **options)[1], whole)


@pytest.mark.parametrize(
    ("count", "width", "given", "sentence"),
    [
        (21, 80, {}, r"a frame for each of the film's, got .*png, which ends before the film's frame at 2.21 s"),
        (23, 80, {}, r"a frame for each of the film's, got .*png, which goes on after the film's last"),
        (22, 60, {}, r"must have the proportions of its picture, 80 x 64 pixels, got 60 x 64"),
        (22, 80, {"style_at": (Fraction(0), Fraction(1))}, "expected no `mask`"),
    ],
)
def test_masks_that_do_not_fit_the_film(repaint, curtains, pictures, tmp_path, count, width, given, sentence):
    look = Look((pictures[0], pictures[11]), masks=curtains(count, width))
    with pytest.raises(ValueError, match=sentence):
        repaint(look=look, moving_masks=True, **given)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["masks", "masks.mkv"]


def test_a_cancelled_run_leaves_no_result(repaint, tmp_path):
    asked = itertools.count()
    with pytest.raises(Cancelled, match="cancelled at frames"):
        repaint(cancel=lambda: next(asked) > 30)
    assert not (tmp_path / "out.mkv").exists()


def test_other_settings_begin_anew(repaint, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(repainting, "join", lambda *_: (_ for _ in ()).throw(ValueError("no space")))
        with pytest.raises(ValueError, match="no space"):
            repaint()
    assert (tmp_path / ".out.mkv.unfinished").is_dir()
    assert not (tmp_path / "out.mkv").exists()
    with pytest.raises(ValueError, match=r"cannot resume .*out\.mkv: the unfinished one has another steadiness"):
        repaint(steadiness=Steadiness(1.0), resume=True)
    report, _ = repaint(steadiness=Steadiness(1.0))
    assert report.painted == 22
    assert report.notes == (f"{tmp_path / 'out.mkv'} was begun anew: the unfinished one has another steadiness.",)
    assert not (tmp_path / ".out.mkv.unfinished").exists()


def test_a_film_is_not_written_over_itself(session, film, tmp_path):
    os.link(film, tmp_path / "hard.mkv")
    os.symlink(film, tmp_path / "soft.mkv")
    for target in (film, tmp_path / "hard.mkv", tmp_path / "soft.mkv"):
        with pytest.raises(ValueError, match=r"cannot write .*: it is .*film.mkv, which is read"):
            stylize_video(session, film, target, None, OPTIONS)


@pytest.mark.parametrize(("source", "target"), [("*.png", "%d.png"), (".", "%06d.png"), ("*.png", "")])
def test_pictures_are_not_written_over_themselves(session, tmp_path, source, target):
    for number in range(2):
        Image.new("RGB", (32, 24)).save(tmp_path / f"{number:06d}.png")
    with pytest.raises(ValueError, match="which is read"):
        stylize_video(session, tmp_path / source, tmp_path / target, None, OPTIONS, fps=5)


def test_nothing_to_resume(repaint, tmp_path):
    with pytest.raises(ValueError, match=r"cannot resume .*out\.mkv: there is no unfinished one"):
        repaint(resume=True)
    assert not list(tmp_path.iterdir())


def test_statistics_as_arrays(session, pictures):
    from wct_jax.studio.request import Request

    painter = session.frames(Request("film", Look((pictures[0],)), OPTIONS), pictures[0].shape[:2])
    known = painter.learn(pictures[:2])
    found = statistics_from(arrays_of(known, "3/"), "3/")
    assert [len(level) for level in found] == [1, 1]
    for level, expected in zip(found, known, strict=True):
        for name in ("count", "mean", "scatter"):
            np.testing.assert_array_equal(getattr(level[0], name), getattr(expected[0], name))
    assert statistics_from({}) == []


def test_an_unfinished_film_that_cannot_be_begun(tmp_path):
    with pytest.raises(ValueError, match=r"cannot write .*: No such file or directory"):
        Unfinished(tmp_path / "none" / "film.mp4", {})


@pytest.mark.parametrize("seconds", [-1, "long"])
def test_a_steadiness_of_no_time(seconds):
    with pytest.raises(ValueError, match="seconds must be"):
        Steadiness(seconds)


def test_items_ahead():
    threads = set()

    def items(count):
        for number in range(count):
            threads.add(threading.current_thread())
            yield number
        raise RuntimeError("broken")

    made = ahead(items(9), 2)
    assert list(itertools.islice(made, 9)) == list(range(9))
    with pytest.raises(RuntimeError, match="broken"):
        next(made)
    endless = ahead(itertools.count(), 2)
    assert next(endless) == 0
    endless.close()
    assert threading.current_thread() not in threads
