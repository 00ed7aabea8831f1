import io
import json
import os
import re
import subprocess
import sys
from contextlib import closing

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from wct_jax.training.report import MetricsLog, draw_curves, draw_grid, read_metrics

if os.name == "posix":
    import resource
    import signal


def fill(path, steps, start=0, value=0.5):
    with closing(MetricsLog(path, start)) as log:
        for step in range(start + 1, steps + 1):
            log.append({"step": step, "pixel": value / step})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "metrics.jsonl"


def test_a_line_is_a_json_object_and_comes_back_to_the_bit(path):
    with closing(MetricsLog(path)) as log:
        log.append({"pixel": np.float32(0.1), "step": np.int64(1), "feature": 1 / 3})
        log.append({"step": 2, "pixel": 1e-30, "psnr": 31})
        lines = path.read_bytes().splitlines(keepends=True)  # While it is open: nothing waits in a buffer.
    assert lines[0] == b'{"step": 1, "pixel": 0.10000000149011612, "feature": 0.3333333333333333}\n'
    assert json.loads(lines[1]) == {"step": 2, "pixel": 1e-30, "psnr": 31}
    metrics = read_metrics(path)
    np.testing.assert_array_equal(metrics["step"], [1, 2])
    assert metrics["step"].dtype.kind == "i"
    np.testing.assert_array_equal(metrics["pixel"], [np.float32(0.1), 1e-30])
    np.testing.assert_array_equal(metrics["feature"], [1 / 3, np.nan])
    np.testing.assert_array_equal(metrics["psnr"], [np.nan, 31])
    # In memory, too, also of a process that does not write.
    with closing(MetricsLog(path, 2, writes=False)) as reading:
        for kept in (log.columns, reading.columns):
            assert {name: column.dtype for name, column in kept.items()} == {n: c.dtype for n, c in metrics.items()}
            for name, column in kept.items():
                np.testing.assert_array_equal(column, metrics[name])
        reading.append({"step": 3, "pixel": 1.0})
        reading.sync()
        assert reading.columns["pixel"].tolist() == [np.float32(0.1), 1e-30, 1]
    assert path.read_bytes() == b"".join(lines)


def test_what_json_cannot_hold_is_null(path):
    with closing(MetricsLog(path)) as log:
        log.append({"step": 1, "pixel": float("nan"), "psnr": np.float32("inf")})
    assert path.read_text() == '{"step": 1, "pixel": null, "psnr": null}\n'
    np.testing.assert_array_equal(read_metrics(path)["psnr"], [np.nan])


def test_a_log_without_steps(path):
    MetricsLog(path).close()
    assert path.read_bytes() == b""
    assert list(read_metrics(path)) == ["step"]
    assert len(read_metrics(path)["step"]) == 0


@settings(max_examples=100)
@given(
    spans=st.lists(
        st.tuples(st.integers(0, 12), st.sampled_from(["save", "crash", "crash while opening"]), st.floats(0, 1)),
        max_size=8,
    )
)
def test_each_step_is_there_once_whatever_the_run_went_through(tmp_path_factory, spans):
    path = tmp_path_factory.mktemp("run") / "metrics.jsonl"
    log, saved, saved_size, expected = MetricsLog(path), 0, 0, []
    for attempt, (steps, event, part) in enumerate(spans):
        for _ in range(steps):
            expected.append(attempt)
            log.append({"step": len(expected), "attempt": attempt})
        if event == "save":
            log.sync()
            saved, saved_size = len(expected), path.stat().st_size
            continue
        log.close()
        # Of what was not synced, any part can be lost.
        os.truncate(path, saved_size + round(part * (path.stat().st_size - saved_size)))
        assert len(read_metrics(path)["step"]) >= saved
        if event == "crash while opening":
            MetricsLog(path, saved).close()
        log = MetricsLog(path, saved)
        del expected[saved:]
        assert path.stat().st_size == saved_size
    log.close()
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == list(range(1, len(expected) + 1))
    np.testing.assert_array_equal(log.columns.get("attempt", []), expected)
    np.testing.assert_array_equal(read_metrics(path).get("attempt", []), expected)


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX")
def test_a_killed_process_leaves_whole_lines(path, rng):
    program = (
        "import sys; from wct_jax.training.report import MetricsLog\n"
        "path, step = sys.argv[1], int(sys.argv[2])\n"
        "log = MetricsLog(path, step)\n"
        "print(flush=True)\n"
        "while True:\n"
        "    step += 1\n"
        "    log.append({'step': step, 'pixel': 1 / step, 'feature': step})\n"
    )
    step = 0
    for _ in range(3):
        arguments = [sys.executable, "-c", program, path, str(step)]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            opened = path.stat().st_size
            while path.stat().st_size < opened + rng.integers(1, 20_000):
                pass
            process.send_signal(signal.SIGKILL)
        metrics = read_metrics(path)
        np.testing.assert_array_equal(metrics["feature"], metrics["step"])
        assert len(metrics["step"]) > step
        step = int(rng.integers(1, len(metrics["step"]) + 1))
    MetricsLog(path, step).close()
    np.testing.assert_array_equal(read_metrics(path)["feature"], np.arange(1, step + 1))


def test_a_line_is_one_write(path, monkeypatch):
    writes = []

    class Counting(io.FileIO):
        def write(self, data):
            writes.append(data)
            return super().write(data)

    monkeypatch.setattr("wct_jax.training.report.FileIO", Counting)
    fill(path, 3)
    assert writes == path.read_bytes().splitlines(keepends=True)


def test_sync_reaches_the_disk(path, monkeypatch):
    synced = []
    monkeypatch.setattr("os.fsync", lambda file: synced.append(os.fstat(file).st_ino))
    with closing(MetricsLog(path)) as log:
        log.append({"step": 1})
        assert not synced
        log.sync()
    assert synced == [path.stat().st_ino]


@pytest.mark.skipif(os.name != "posix", reason="file size limits are POSIX")
def test_a_full_disk_is_said_and_survived(path):
    fill(path, 20)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, limits[1]))
    try:
        sentence = f"^cannot write {re.escape(str(path))}: File too large$"
        with closing(MetricsLog(path, 20)) as log, pytest.raises(ValueError, match=sentence):
            log.append({"step": 21, "pixel": 0.25})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(path.read_bytes()) == len(before) + 10
    assert len(read_metrics(path)["step"]) == 20
    fill(path, 21, start=20)
    assert path.read_bytes().startswith(before)
    assert len(read_metrics(path)["step"]) == 21


def test_steps_come_in_their_order(path):
    with closing(MetricsLog(path)) as log:
        log.append({"step": 1})
        for record in ({"step": 1}, {"step": 3}, {"pixel": 0.5}):
            with pytest.raises(ValueError, match="has 1 steps: expected step 2, got"):
                log.append(record)
        log.append({"step": 2})
    assert len(read_metrics(path)["step"]) == 2


def refusal(path, step):
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        MetricsLog(path, step)
    assert (path.read_bytes() if path.is_file() else None) == before
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_log_that_lacks_steps(path):
    assert "lacks step 1: expected all steps up to 3" in refusal(path, 3)
    fill(path, 2)
    assert "lacks step 3: expected all steps up to 5" in refusal(path, 5)
    os.truncate(path, path.stat().st_size - 1)  # Whole but for its end, which is how a torn line can look.
    assert "lacks step 2" in refusal(path, 2)


@pytest.mark.parametrize(
    "content",
    [
        *(b"photos of mine\n", b"photos", b'{"loss": 3}\n', b"\xff\xfe\n", b'{"step": 1\n{"step": 2}\n'),
        *(b'{"step": 1}\n' + second + b"\n" for second in (b'{"step": 1}', b'{"step": 3}', b"[2]", b"\0\0\0")),
        b'{"step": 1}\n' + b"[" * 100_000 + b"\n",
    ],
)
def test_files_of_others(path, content):
    path.write_bytes(content)
    assert "is not the metrics of a run" in refusal(path, 2)
    if not content.startswith(b'{"step": 1'):
        assert "is not the metrics of a run" in refusal(path, 0)
    if content.endswith(b"\n"):
        with pytest.raises(ValueError, match="is not the metrics of a run: expected step"):
            read_metrics(path)


def test_what_a_power_cut_leaves_behind_the_kept_steps_is_dropped(path):
    fill(path, 2)
    before = path.read_bytes()
    path.write_bytes(before + b"\0" * 50 + b'\n{"step": 9}\n\xff')
    MetricsLog(path, 2).close()
    assert path.read_bytes() == before
    MetricsLog(path).close()
    assert path.read_bytes() == b""


def test_files_that_cannot_be_opened(tmp_path):
    assert "Is a directory" in refusal(tmp_path, 0)
    missing = tmp_path / "missing" / "metrics.jsonl"
    assert "cannot write" in refusal(missing, 0)
    with pytest.raises(ValueError, match=f"^cannot read {re.escape(str(missing))}: No such file or directory$"):
        read_metrics(missing)


def curves(path, values, title="pixel loss"):
    """The drawing of one loss: where its strong line is, `[H, W]`, without that in the legend."""
    metrics = {"step": np.arange(1, len(values) + 1), "pixel": np.array(values, np.float64)}
    draw_curves(path, metrics, {"pixel": title})
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.size == (1200, 360)
        strong = (np.asarray(image.convert("RGB")) == (0x1F, 0x77, 0xB4)).all(-1)
    assert strong[:28].any()
    strong[:28] = False
    return strong


@pytest.mark.parametrize(
    "values", [[0.5], [0.5, 0.25], [0.5] * 30, [0.0] * 30, [0.0], [np.nan] * 10 + [0.5] * 30, [0.5, 0.0, 0.25] * 9]
)
def test_curves_of_unusual_runs(tmp_path, values):
    assert curves(tmp_path / "curves.png", values).any()


def test_curves_go_on_over_steps_without_a_value(tmp_path):
    values = np.full(300, 0.5)
    values[100:200:7] = np.nan
    columns = np.flatnonzero(curves(tmp_path / "curves.png", values).any(0))
    assert (np.diff(columns) == 1).all()


@pytest.mark.core
def test_curves_of_a_whole_training(tmp_path, rng):
    steps = np.arange(1, 15_001)
    strong = curves(tmp_path / "curves.png", 0.1 * steps**-0.5 * np.exp(rng.normal(0, 0.3, len(steps))))
    columns = strong.any(0)
    assert columns.sum() > 1000
    heights = strong.argmax(0)[columns]
    assert heights[0] < heights[len(heights) // 2] < heights[-1]


def test_the_axis_is_logarithmic(tmp_path):
    strong = curves(tmp_path / "curves.png", 10.0 ** -np.arange(10))
    heights = strong.argmax(0)[strong.any(0)]
    np.testing.assert_allclose(heights, np.linspace(heights[0], heights[-1], len(heights)), atol=4)
    assert heights[-1] - heights[0] > 200


@pytest.mark.parametrize("odd", [0, 500, -1])
def test_the_median_does_not_follow_one_step(tmp_path, odd):
    values = np.full(1000, 0.5)
    values[odd] = 1e-3
    strong = curves(tmp_path / "curves.png", values)
    assert np.ptp(np.flatnonzero(strong.any(1))) < 5


def test_a_panel_for_each_loss(tmp_path):
    metrics = {"step": np.arange(1, 31), "pixel": np.linspace(1, 0.1, 30), "feature": np.full(30, 7.0)}
    draw_curves(tmp_path / "curves.png", metrics, {"pixel": "pixel loss", "feature": "feature loss"})
    with Image.open(tmp_path / "curves.png") as image:
        assert image.size == (1200, 720)


def test_drawing_touches_nothing_global_and_the_module_needs_no_matplotlib(tmp_path):
    program = (
        "import sys; import numpy as np; from wct_jax.training.report import draw_curves\n"
        "assert not {'matplotlib', 'jax'} & sys.modules.keys()\n"
        "draw_curves(sys.argv[1], {'step': np.arange(1, 4), 'x': np.ones(3)}, {'x': 'x'})\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program, tmp_path / "curves.png"], check=True)


def test_pictures_that_cannot_be_written(tmp_path):
    target, photos = tmp_path / "missing" / "picture.png", np.zeros((1, 8, 8, 3))
    metrics = {"step": np.ones(1), "x": np.ones(1)}
    for draw, arguments in ((draw_curves, (metrics, {"x": "x"})), (draw_grid, (photos, photos))):
        with pytest.raises(ValueError, match=f"^cannot write {re.escape(str(target))}: the directory"):
            draw(target, *arguments)


def grid(path, photos, reconstructions):
    draw_grid(path, photos, reconstructions)
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image)


@pytest.mark.parametrize(("count", "rows", "columns"), [(1, 1, 1), (4, 1, 4), (5, 2, 4), (8, 2, 4), (11, 2, 4)])
def test_each_reconstruction_is_beneath_its_photo(tmp_path, count, rows, columns):
    photos = np.zeros((count, 16, 16, 3), np.uint8)
    photos[..., 0] = 20 * np.arange(count)[:, None, None]
    reconstructions = photos / np.float32(255)
    reconstructions[..., 2] = 1
    image = grid(tmp_path / "grid.png", photos, reconstructions)
    assert image.shape == (10 + rows * (2 * 256 + 2 + 10), 10 + columns * (256 + 10), 3)
    for i in range(min(count, 8)):
        y, x = 10 + i // 4 * 524, 10 + i % 4 * 266
        assert (image[y : y + 256, x : x + 256] == (20 * i, 0, 0)).all()
        assert (image[y + 256 : y + 258, x : x + 256] == 255).all()
        assert (image[y + 258 : y + 514, x : x + 256] == (20 * i, 0, 255)).all()


def test_photos_of_any_size_and_kind(tmp_path, rng):
    wide, tall = np.full((300, 600, 3), 40, np.uint8), np.full((1, 2, 3), 1.5).swapaxes(0, 1)
    image = grid(tmp_path / "grid.png", [wide, tall], [wide / 255, np.full_like(tall, np.nan)])
    assert image.shape == (10 + 514 + 10, 10 + 256 + 10 + 128 + 10, 3)
    assert (image[10:138, 10:266] == 40).all()
    assert (image[140:268, 10:266] == 40).all()
    assert (image[268:, 10:266] == 255).all()
    assert (image[10:266, 276:404] == 255).all()
    assert (image[268:524, 276:404] == 0).all()


def test_a_grid_needs_pairs(tmp_path):
    for photos, reconstructions in ((0, 0), (2, 1)):
        with pytest.raises(ValueError, match=f"as many reconstructions, got {photos} and {reconstructions}"):
            draw_grid(tmp_path / "grid.png", np.zeros((photos, 8, 8, 3)), np.zeros((reconstructions, 8, 8, 3)))
    assert not os.listdir(tmp_path)
