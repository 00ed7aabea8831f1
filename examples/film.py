"""Make a film of two shots from content.jpg: a pan along the harbour with a balloon before it, and a way towards it.

python examples/film.py FILE.mp4
"""

import argparse
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

WIDTH, HEIGHT, RATE = 320, 240, Fraction(24)
PAN, APPROACH = 32, 16
# Pixels by which the pan moves from frame to frame.
STEP = 5


def frames() -> Iterator[Image.Image]:
    """The frames, upright RGB of 320 x 240 pixels."""
    picture = Image.open(Path(__file__).parent / "content.jpg")
    for number in range(PAN):
        left = 20 + STEP * 480 / WIDTH * number
        view = picture.resize((WIDTH, HEIGHT), box=(left, 90, left + 480, 450))
        # Nearer than the shore, so it passes faster, and rises.
        yield balloon(view, 250 - 6.5 * number, 92 - 0.8 * number, 34, 0.05 * number)
    for number in range(APPROACH):
        width = 400 * 0.985**number
        left, top = 400 - width / 2, 230 - width * 3 / 8
        yield picture.resize((WIDTH, HEIGHT), box=(left, top, left + width, top + width * 3 / 4))


def balloon(view: Image.Image, x: float, y: float, radius: float, turned: float) -> Image.Image:
    """A striped sphere over a picture, lit from the left.

    Args:
        view: The picture.
        x: Column of its middle.
        y: Row of its middle.
        radius: Its radius in pixels.
        turned: By how much it is turned, in radians.
    """
    rows, columns = np.indices((HEIGHT, WIDTH))
    across, down = (columns - x) / radius, (rows - y) / radius
    distance = np.hypot(across, down)
    towards = np.sqrt(np.maximum(1 - distance**2, 0))
    stripe = np.sin(8 * (np.arctan2(across, towards) + turned)) > 0
    color = np.where(stripe[..., None], (0.85, 0.2, 0.12), (0.95, 0.85, 0.6))
    light = np.clip(0.45 - 0.45 * across - 0.3 * down + 0.35 * towards, 0.15, 1.1)
    opacity = np.clip((1 - distance) * radius + 0.5, 0, 1)[..., None]
    below = np.asarray(view, float) / 255
    return Image.fromarray(np.uint8(255 * np.clip(below + opacity * (color * light[..., None] - below), 0, 1)))


def write(path: Path) -> None:
    """Write the film as H.264 in MP4."""
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "14"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for frame in frames():
            container.mux(stream.encode(av.VideoFrame.from_image(frame)))
        container.mux(stream.encode(None))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, metavar="FILE.mp4")
    write(parser.parse_args().path)
