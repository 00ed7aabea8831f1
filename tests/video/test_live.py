"""Live pictures: the newest frame only, at a size that holds the rate, to films and browsers."""

import http.client
import itertools
import threading
import time
from fractions import Fraction

import numpy as np
import pytest

from wct_jax import Options, Session
from wct_jax.studio.request import Look
from wct_jax.video.files.film import open_film
from wct_jax.video.files.frames import Frame
from wct_jax.video.live import easel
from wct_jax.video.live.broadcast import Broadcast
from wct_jax.video.live.camera import Camera, Device, Player, Seen
from wct_jax.video.live.live import Live
from wct_jax.video.live.newest import Newest
from wct_jax.video.live.outlets import Recording, VirtualCamera
from wct_jax.video.live.pace import SIZES, Pace

OPTIONS = Options(layers=["relu1_1"])
SIZE = 64, 48


class Clock:
    """Goes on only while somebody waits."""

    def __init__(self):
        self.time = 100.0

    def now(self):
        return self.time

    def wait(self, seconds):
        self.time += seconds


class Pictures(Camera):
    """A camera that gives each picture as soon as it may."""

    name, size, frame_rate = "pictures", SIZE, Fraction(25)

    def __init__(self, pictures, before=lambda number: None, error=None):
        self._pictures, self._before, self._error = pictures, before, error

    def frames(self, stopped):
        for number, pixels in enumerate(self._pictures):
            self._before(number)
            if stopped.is_set():
                return
            yield Seen(pixels, Fraction(number, 25), time.monotonic())
        if self._error:
            raise self._error

    def close(self):
        pass


class Shown(list):
    """An outlet that keeps what it is shown, and calls a function after each frame."""

    def __init__(self, after=lambda number: None):
        self._after, self.closed = after, False

    def show(self, pixels, time):
        self.append((pixels, time))
        self._after(len(self))

    def close(self):
        self.closed = True


@pytest.fixture(scope="module")
def session(model):
    return Session(model)


@pytest.fixture
def live(session, directly, pictures):
    """A live picture of a camera in two styles, one black and one white."""

    def live(camera, **given):
        flat = [np.full((24, 32, 3), value, np.float32) for value in (0, 1)]
        return Live(session, camera, flat, OPTIONS, **{"follow": False, **given})

    return live


def in_turn():
    """A camera and an outlet that wait for each other."""
    done = [threading.Event() for _ in range(99)]
    return lambda number: number == 0 or done[number].wait(60), lambda count: done[count].set()


def test_a_film_plays_a_camera(film_file):
    clock = Clock()
    with Player(film_file("film.mp4", times=(0, 1, 4, 9)), clock.now, clock.wait) as player:
        seen = list(player.frames(threading.Event()))
        assert (player.size, player.frame_rate) == (SIZE, player._film.frame_rate)
    assert [frame.time for frame in seen] == [Fraction(n, 25) for n in (0, 1, 4, 9)]
    np.testing.assert_allclose([frame.captured - 100 for frame in seen], [0, 0.04, 0.16, 0.36], atol=1e-9)


def test_frames_that_come_too_late_are_left_out(film_file):
    clock, times = Clock(), []
    with Player(film_file("film.mp4", times=range(10)), clock.now, clock.wait) as player:
        for frame in player.frames(threading.Event()):
            times.append(frame.time * 25)
            if frame.time == 0:
                clock.time += 0.17  # More than four frames.
    assert times == [0, 4, 5, 6, 7, 8, 9]


def test_a_film_is_seen_in_square_pixels(film_file):
    with Player(film_file("film.mp4", tags={"sample_aspect_ratio": Fraction(2)})) as player:
        assert player.size == (128, 48)
        stopped = threading.Event()
        frames = player.frames(stopped)
        next(frames)
        stopped.set()
        assert list(frames) == []


def test_a_transparent_film_is_seen_on_white(film_file, monkeypatch):
    player = Player(film_file("film.mp4"))
    alpha = np.linspace(0, 1, 4, dtype=np.float32)[None]
    monkeypatch.setattr(player, "_film", [Frame(np.zeros((1, 4, 3), np.float32), Fraction(0), Fraction(1), alpha)])
    (seen,) = player.frames(threading.Event())
    np.testing.assert_array_equal(seen.pixels[..., 0], 1 - alpha)


def test_the_newest_item_is_the_only_one():
    newest = Newest()
    assert newest.after(0, 0) is None
    for item in range(5):
        newest.put(item)
    assert newest.after(0) == newest.after(3) == (5, 4)
    newest.end(ValueError("broken"))
    assert newest.after(4) == (5, 4)
    with pytest.raises(ValueError, match="broken"):
        newest.after(5)


def test_a_slow_painter_misses_frames_and_never_queues_them(live, pictures):
    """The camera gives the second to the ninth frame while the first is painted; then comes the ninth."""
    nine, first = threading.Event(), threading.Event()

    def before(number):
        if number == 1:
            assert first.wait(60)
        if number == 9:
            nine.set()

    def after(count):
        first.set()
        assert nine.wait(60)

    shown = Shown(after)
    report = live(Pictures(pictures(9) + pictures(1), before)).run([shown])
    times = [time * 25 for _, time in shown]
    assert times[0] == 0
    assert times[1] >= 8
    assert times[-1] == 9 or len(times) == 2
    assert report.frames + report.missed == 10
    assert report.sizes == {48: report.frames}
    assert shown.closed


def test_frames_that_come_sooner_than_wanted_are_left_out(live, pictures):
    before, after = in_turn()
    shown = Shown(after)
    camera = Pictures(pictures(8), lambda number: number % 2 or before(number // 2))
    live(camera, fps=12.5).run([shown])
    assert len(shown) == 4
    assert all(later - sooner > Fraction(1, 25) for (_, sooner), (_, later) in itertools.pairwise(shown))


def test_a_switch_takes_effect_with_the_next_frame(live, pictures):
    before, after = in_turn()
    painted = live(Pictures(pictures(8), before))

    def switch(count):
        if count == 2:
            painted.switch(1)
        if count == 5:
            painted.step(1)
        after(count)

    shown = Shown(switch)
    report = painted.run([shown])
    assert (report.frames, report.missed, report.style) == (8, 0, 1)
    levels = [pixels.mean() for pixels, _ in shown]
    first, second = levels[0], levels[2]
    assert abs(first - second) > 1
    np.testing.assert_allclose(levels, [first] * 2 + [second] * 3 + [first] * 3, atol=1)
    with pytest.raises(ValueError, match="style must be at most 1, got 2"):
        painted.switch(2)


def test_a_frame_after_a_switch_is_painted_afresh(live, pictures):
    before, after = in_turn()
    frames = pictures(4)
    painted = live(Pictures(frames, before))
    shown = Shown(lambda count: (count == 2 and painted.switch(1), after(count)))
    painted.run([shown])
    fresh = live(Pictures(frames[2:3]))
    fresh.switch(1)
    alone = Shown()
    fresh.run([alone])
    np.testing.assert_array_equal(shown[2][0], alone[0][0])


def test_a_stopped_picture_leaves_a_whole_film(live, pictures, tmp_path):
    before, after = in_turn()
    painted = live(Pictures(itertools.cycle(pictures(3)), before))
    shown = Shown(lambda count: painted.stop() if count == 6 else after(count))
    report = painted.run([Recording(tmp_path / "out.mp4", painted.size, painted.frame_rate), shown])
    assert report.frames == 6
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
    with open_film(tmp_path / "out.mp4") as film:
        assert [frame.time for frame in film] == [Fraction(n, 25) for n in range(6)]


def test_an_error_leaves_the_film_so_far(live, pictures, tmp_path):
    before, after = in_turn()
    painted = live(Pictures(pictures(3), before, ValueError("camera 0 gives no more pictures")))
    target = tmp_path / "out.mkv"
    with pytest.raises(ValueError, match="gives no more pictures"):
        painted.run([Recording(target, painted.size, painted.frame_rate, codec="ffv1"), Shown(after)])
    with open_film(target) as film:
        assert len(list(film)) == 3


def test_a_film_that_cannot_be_encoded(tmp_path):
    recording = Recording(tmp_path / "out.mp4", SIZE, Fraction(25), quality=50)

    def show():
        for number in itertools.count():
            recording.show(np.zeros((4, 4, 3), np.uint8), Fraction(number))

    with pytest.raises(ValueError, match="expected frames of shape"):
        show()
    with pytest.raises(ValueError, match="expected frames of shape"):
        recording.close()
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match=r"the directory .* does not exist"):
        Recording(tmp_path / "none" / "out.mp4", SIZE, Fraction(25))


def test_a_picture_of_one_size_for_all_outlets(live, pictures):
    shown = Shown()
    painted = live(Pictures(pictures(1)))
    painted._easel.pace = Pace.of(48, 25, 32)
    report = painted.run([shown])
    assert (report.size, report.sizes) == ((43, 32), {32: 1})
    assert shown[0][0].shape == (48, 64, 3)


def test_flow_if_it_costs_nothing(live, pictures, monkeypatch):
    took = {True: 0.02, False: 0.01}
    monkeypatch.setattr(
        easel.Easel, "_timed", lambda self, size: (self._known.add(size), took[self.follow] * (size / 48) ** 2)[1]
    )
    for cost, follows in ((0.02, True), (0.05, False)):
        took[True] = cost
        assert live(Pictures(pictures(1)), follow=None).run([]).follow is follows


def test_another_size_is_compiled_beside(live, pictures, monkeypatch):
    """Frames go on at the size before, and a size for which there is no memory is left alone."""
    painted = live(Pictures(pictures(1)))._easel
    painted.pace = Pace((24, 48), 1, 24)
    painted.measure()
    assert painted.pace.size == 48
    painted.pace = Pace((48, 96, 192), 1, 48, (0.15,) * 9, 99)
    asked, go = [], threading.Event()

    def timed(size):
        asked.append(size)
        assert go.wait(60)
        if size > 96:
            raise MemoryError
        painted._known.add(size)
        return 0.0

    monkeypatch.setattr(painted, "_timed", timed)
    for _ in range(3):
        painted.took(0.15)
        assert painted.pace.size == 48
    go.set()
    painted._ahead[1].result()
    painted.took(0.01)
    assert painted.pace.size == 96
    for _ in range(9):
        painted.took(0.01)
    assert painted._ahead[1].exception()
    painted.took(0.01)
    assert (painted.pace.size, painted.pace.sizes, asked) == (96, [48, 96], [96, 192])
    painted.close()


class TestPace:
    def test_the_sizes(self):
        assert Pace.of(48, 25).sizes == (48,)
        assert Pace.of(240, 25).sizes == (96, 144, 192, 240)
        assert Pace.of(2160, 25).sizes == SIZES
        assert (Pace.of(2160, 25, 300).sizes, Pace.of(2160, 25, 300).size) == ((300,), 300)

    @pytest.mark.parametrize(("seconds", "size"), [(1.0, 96), (0.03, 192), (0.0302, 144), (0.001, 1024), (0.0135, 256)])
    def test_the_largest_that_fits(self, seconds, size):
        assert Pace.of(2160, 25).fitting(seconds) == size

    def test_it_goes_down_at_once_and_up_with_patience(self):
        pace = Pace.of(2160, 25)
        for _ in range(9):
            assert pace.size == 192
            pace = pace.after(0.08)
        assert (pace.size, pace.patience) == (96, 4)
        for _ in range(100):
            assert pace.size == 96
            pace = pace.after(0.01)
        assert pace.size == 144

    def test_a_few_slow_frames_change_nothing(self):
        pace = Pace.of(2160, 25)
        for number in range(500):
            pace = pace.after(0.2 if number % 9 < 4 else 0.03)
        assert pace.size == 192

    def test_it_settles(self):
        """Where one size is too slow and the one below has room, the larger is tried ever more rarely."""
        pace, sizes = Pace.of(2160, 25), []
        for _ in range(10_000):
            pace = pace.after({192: 0.05, 144: 0.01}.get(pace.size, 0.001))
            sizes.append(pace.size)
        assert sum(a != b for a, b in itertools.pairwise(sizes)) < 20
        assert set(sizes) <= {144, 192}


@pytest.fixture
def broadcast():
    switched = []
    server = Broadcast(0, ["one", "<two>"], switched.append, lambda: {"frames": 3})
    server.switched = switched
    yield server
    server.close()


@pytest.fixture
def ask(broadcast):
    connections = []

    def ask(path, method="GET", **headers):
        connection = http.client.HTTPConnection("127.0.0.1", broadcast.port, timeout=60)
        connections.append(connection)
        connection.request(method, path, headers=headers)
        return connection.getresponse()

    yield ask
    for connection in connections:
        connection.close()


def test_a_stream_for_browsers(broadcast, ask):
    import cv2

    answer = ask("/stream")
    assert answer.getheader("Content-Type") == "multipart/x-mixed-replace; boundary=frame"
    for level in (50, 200):
        broadcast.show(np.full((48, 64, 3), (level, 0, 0), np.uint8), Fraction(0))
        assert answer.readline() == b"--frame\r\n"
        assert answer.readline() == b"Content-Type: image/jpeg\r\n"
        length = int(answer.readline().removeprefix(b"Content-Length: "))
        assert answer.readline() == b"\r\n"
        pixels = cv2.imdecode(np.frombuffer(answer.read(length), np.uint8), cv2.IMREAD_COLOR)
        np.testing.assert_allclose(pixels[..., ::-1].mean((0, 1)), (level, 0, 0), atol=3)
        assert answer.readline() == b"\r\n"
    broadcast.pictures.end()
    assert answer.read() == b""


def test_a_client_that_takes_nothing_slows_nobody(broadcast, ask, rng):
    answer = ask("/stream")
    noise = rng.integers(0, 255, (480, 640, 3), dtype=np.uint8)
    for _ in range(50):  # More than any buffer between us.
        broadcast.show(noise, Fraction(0))
    assert ask("/stats").read() == b'{"frames": 3}'
    assert answer.status == 200


def test_the_page_and_the_styles(broadcast, ask):
    page = ask("/").read().decode()
    assert 'src="/stream"' in page
    assert '<button value="2">&lt;two&gt;</button>' in page
    assert ask("/style/2", "POST").status == 200
    assert broadcast.switched == [1]
    for path, method in (("/style/3", "POST"), ("/style/0", "POST"), ("/style/1", "GET"), ("/none", "GET")):
        assert ask(path, method).status == 404
    assert broadcast.switched == [1]


def test_pages_of_others_are_refused(broadcast, ask):
    port = broadcast.port
    for host in ("evil.example", f"evil.example:{port}", f"127.0.0.1:{port + 1}", ""):
        assert ask("/stats", Host=host).status == 403
        assert ask("/style/1", "POST", Host=host).status == 403
    for origin in ("http://evil.example", "null", f"https://127.0.0.1:{port}"):
        assert ask("/style/1", "POST", Origin=origin).status == 403
    assert not broadcast.switched
    assert ask("/style/1", "POST", Host=f"localhost:{port}", Origin=f"http://localhost:{port}").status == 200


def test_a_port_in_use(broadcast):
    with pytest.raises(ValueError, match=f"cannot serve at port {broadcast.port} of 127.0.0.1: Address already in use"):
        Broadcast(broadcast.port, [], print, dict)


class FakeDevice:
    """OpenCV's capture of a camera that gives two pictures after the first."""

    there = True

    def __init__(self, number):
        self.left, self.open = 3, self.there

    def isOpened(self):  # noqa: N802
        return self.open

    def read(self):
        self.left -= 1
        return self.left >= 0, np.full((48, 64, 3), (200, 100, 0), np.uint8)

    def set(self, *_):
        return True

    def get(self, what):
        import cv2

        return {cv2.CAP_PROP_FRAME_WIDTH: 64.0, cv2.CAP_PROP_FRAME_HEIGHT: 48.0, cv2.CAP_PROP_FPS: 30.0}[what]

    def release(self):
        self.open = False


def test_a_device(monkeypatch):
    monkeypatch.setattr("cv2.VideoCapture", FakeDevice)
    with Device(3) as camera:
        assert (camera.size, camera.frame_rate) == (SIZE, 24)
        frames = camera.frames(threading.Event())
        assert next(frames).pixels[0, 0].tolist() == [0, 100, 200]
        next(frames)
        with pytest.raises(ValueError, match="camera 3 gives no more pictures"):
            next(frames)
    monkeypatch.setattr(FakeDevice, "there", False)
    with pytest.raises(ValueError, match="there is no camera 7 that gives pictures"):
        Device(7)


def test_a_virtual_camera_needs_its_package(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyvirtualcam", None)
    with pytest.raises(ValueError, match="needs pyvirtualcam: pip install pyvirtualcam"):
        VirtualCamera(SIZE, Fraction(24))


def test_a_mask_is_refused(session, pictures):
    mask = np.ones((4, 4), np.float32)
    with pytest.raises(ValueError, match="styles without `mask`"):
        Live(session, Pictures(pictures(1)), [Look((mask[..., None].repeat(3, 2),), masks=(mask,))], OPTIONS)
