"""How steady painted films are, how close to their style, how fast, and in how much memory.

    python benchmarks/video.py flow MODEL --judge VGG --flow DIR --style DIR [--method NAME]
    python benchmarks/video.py noise MODEL --photo FILE --style DIR
    python benchmarks/video.py speed MODEL [--size WxH] [--frames N]
    python benchmarks/video.py memory MODEL [--size 64x48]

`flow` paints the four frames of each shot in DIR: `final_1.png` to `final_4.png`, with the true flow from frame 2 to 3
in `gt.flo`, and what is hidden (`occ.png`) or invalid (`inv.png`) white. It prints the warping error, the mean squared
difference between frame 2 and frame 3 moved back by the true flow, less the source's own, and the style distance of
`quality.py`: frame by frame, by a moving average of half a second, by the statistics of the shot, and with flow, too.
`noise` paints a still shot with noise of 2/255 and prints the temporal standard deviation. `speed` paints a film that
pans, and prints frames per second, those of painting alone, the share of the time that painting has, and peak memory.
`memory` prints the peak memory of the command `wct-jax video` for films of 300 and of 3,000 frames.
"""

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from memory import megabytes
from PIL import Image
from quality import distances, see, seen
from scipy import ndimage

from wct_jax import Options, Session, Steadiness, open_film, read_image, stylize_video
from wct_jax.studio.frames import FramePainter
from wct_jax.studio.request import Look, Request
from wct_jax.training.data import Folder
from wct_jax.video.brush import Brush
from wct_jax.video.files.form import Form
from wct_jax.video.files.frames import Frame
from wct_jax.video.files.joining import join
from wct_jax.video.files.segments import write_segment
from wct_jax.video.survey import Shot
from wct_jax.video.turns import Turns

WAYS = {
    "frame by frame": Steadiness(0.0, follow=False),
    "moving average": Steadiness(0.5, follow=False),
    "whole shot": Steadiness(follow=False),
    "moving average and flow": Steadiness(0.5),
    "whole shot and flow": Steadiness(),
}
RATE = Fraction(1, 24)


def paint(session, frames, style, steadiness, options):
    request = Request("film", Look((style,)), options)
    turns = Turns.of(session, request, frames[0].shape[:2], ())
    shot = Shot(0, turns.painters[0].learn(frames) if steadiness.seconds is None else ())
    brush = Brush(turns, steadiness)
    frames = [Frame(frame, n * RATE, RATE) for n, frame in enumerate(frames)]
    return [brush.steady(frame, brush.paint(frame, shot)) for frame in frames]


def read_flow(path):
    values = np.fromfile(path, np.float32)
    width, height = values[1:3].view(np.int32)
    return values[3:].reshape(height, width, 2)


def warping_error(before, after, flow, valid):
    rows, columns = np.indices(valid.shape, np.float32)
    places = [rows + flow[..., 1], columns + flow[..., 0]]
    back = np.stack([ndimage.map_coordinates(after[..., i], places, order=1, mode="nearest") for i in range(3)], -1)
    return float(np.square(back - before)[valid].mean())


def report_flow(session, judge, folder, styles, options):
    rows = {name: [] for name in WAYS}
    for shot in sorted(path for path in folder.iterdir() if path.is_dir()):
        frames = [read_image(path) for path in sorted(shot.glob("final_*.png"))]
        flow = read_flow(shot / "gt.flo")
        hidden = [np.asarray(Image.open(shot / name)) > 0 for name in ("occ.png", "inv.png")]
        rows_, columns = np.indices(flow.shape[:2])
        there = [columns + flow[..., 0], rows_ + flow[..., 1]]
        inside = [(place >= 0) & (place <= side - 1) for place, side in zip(there, flow.shape[1::-1], strict=True)]
        valid = ~hidden[0] & ~hidden[1] & inside[0] & inside[1]
        floor = warping_error(frames[1], frames[2], flow, valid)
        print(f"{shot.name}: the source's own warping error is {floor:.5f}")
        for path in styles:
            style = read_image(path, 512)
            target = see(judge, jnp.asarray(style))
            for name, steadiness in WAYS.items():
                made = paint(session, frames, style, steadiness, options)
                apart = np.mean([distances(see(judge, seen(jnp.asarray(made[n]))), target) for n in (1, 2)])
                error = warping_error(made[1], made[2], flow, valid) - floor
                rows[name].append((error, float(apart)))
                print(shot.name, path.stem, name, f"{error:.5f} {apart:.4f}", flush=True)
    first = np.mean(rows["frame by frame"], 0)
    for name, values in rows.items():
        error, apart = np.mean(values, 0)
        changes = f"{error / first[0] - 1:+.0%}", f"{apart / first[1] - 1:+.1%}"
        print(f"{name}: excess {error:.5f}, {changes[0]}; style distance {apart:.4f}, {changes[1]}")


def report_noise(session, photo, styles, options):
    rng = np.random.default_rng(0)
    still = read_image(photo, 288)
    frames = [(still + rng.normal(0, 2 / 255, still.shape)).clip(0, 1).astype(np.float32) for _ in range(12)]
    for path in styles:
        spread = {
            name: np.std(paint(session, frames, read_image(path, 512), way, options)[4:], 0).mean()
            for name, way in WAYS.items()
        }
        first = spread["frame by frame"]
        print(path.stem, *(f"{name} {value:.5f} ({value / first:.0%})" for name, value in spread.items()), sep="  ")


def pan(size, count):
    width, height = size
    rng = np.random.default_rng(0)
    place = ndimage.zoom(rng.random((height // 16 + 1, width // 16 + 64, 3), np.float32), (16, 16, 1), order=1)
    for number in range(count):
        yield Frame(place[:height, number % 900 :][:, :width].copy(), number * RATE, RATE)


def write_pan(path, size, count):
    form = Form(".mp4", *size, 1 / RATE, RATE)
    with tempfile.TemporaryDirectory() as folder:
        segment = Path(folder) / "segment.mp4"
        write_segment(segment, pan(size, count), form)
        with open_film(segment) as film:
            join([segment], film, path, form)


def report_memory(model, size):
    with tempfile.TemporaryDirectory() as folder:
        film, style = Path(folder) / "film.mp4", Path(folder) / "style.png"
        pixels = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
        Image.fromarray(pixels).save(style)
        for count in (300, 300, 3000, 3000):  # The first of each pair compiles what the second finds on disk.
            write_pan(film, size, count)
            command = [sys.executable, "-m", "wct_jax", "video", film, "--style", style, "--model", model]
            process = subprocess.Popen([*map(str, command), "--output", film.with_name("out.mp4"), "--overwrite"])
            peak = 0
            while process.poll() is None:
                with contextlib.suppress(OSError, IndexError):  # It may just have ended.
                    peak = megabytes("VmHWM", process.pid)
                time.sleep(0.02)
            print(f"{count} frames: {peak:.0f} MB, exit status {process.returncode}", flush=True)


def report_speed(session, size, count):
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "film.mp4", Path(folder) / "out.mp4"
        write_pan(source, size, count)
        style = np.random.default_rng(0).random((256, 256, 3), np.float32)
        painter = Turns.of(session, Request("film", Look((style,)), Options()), size[::-1], ()).painters[0]
        frame = next(pan(size, 1)).pixels
        known = painter.learn([frame, frame])
        spent = []
        for _ in range(12):
            began = time.perf_counter()
            painter.paint(frame, known=known)
            spent.append(time.perf_counter() - began)
        alone, paint = 1 / np.median(spent[2:]), FramePainter.paint

        def timed(*arguments, **options):
            began = time.perf_counter()
            painted = paint(*arguments, **options)
            spent.append(time.perf_counter() - began)
            return painted

        FramePainter.paint = timed
        for name in ("frame by frame", "whole shot", "whole shot and flow"):
            spent.clear()
            report = stylize_video(session, source, target, style, steadiness=WAYS[name])
            rate, share = report.frames / report.seconds, sum(spent) / report.seconds
            print(f"{name}: {rate:.1f} frames/s, painting alone {alone:.1f}, {share:.0%} of the time", end=", ")
            print(f"peak {megabytes('VmHWM'):.0f} MB", flush=True)
            target.unlink()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("flow", "noise", "speed", "memory"))
    parser.add_argument("model")
    parser.add_argument("--judge")
    parser.add_argument("--flow", type=Path)
    parser.add_argument("--style", type=Path)
    parser.add_argument("--styles", type=int, default=5, help="number of pictures to take from the folder")
    parser.add_argument("--photo", type=Path)
    parser.add_argument("--size", default="512x512", metavar="WIDTHxHEIGHT")
    parser.add_argument("--frames", type=int, default=96)
    parser.add_argument("--method")
    arguments = parser.parse_args()
    size = tuple(map(int, arguments.size.split("x")))
    if arguments.what == "memory":
        report_memory(arguments.model, size)
        return
    session, options = Session(arguments.model), Options(method=arguments.method)
    styles = Folder(arguments.style).paths[: arguments.styles] if arguments.style else []
    if arguments.what == "flow":
        report_flow(session, Session(arguments.judge).model, arguments.flow, styles, options)
    elif arguments.what == "noise":
        report_noise(session, arguments.photo, styles, options)
    else:
        report_speed(session, size, arguments.frames)


if __name__ == "__main__":
    main()
