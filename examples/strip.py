"""Draw docs/video.jpg: film.py's film, repainted, and how much its pan flickers without and with flow.

python examples/strip.py [FILE.jpg]
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from film import STEP, write
from wct_jax import Session, Steadiness, open_film, stylize_video

HERE = Path(__file__).parent
SHOWN = (6, 14, 22, 30)
WIDTH, HEIGHT, GAIN = 240, 180, 4


def rows(folder: Path) -> list[list[np.ndarray]]:
    """The film, the painted one, and the differences from frame to frame without and with flow."""
    source, session = folder / "film.mp4", Session("compact")
    write(source)
    films = [source]
    for follow in (False, True):
        films.append(folder / f"{follow}.mkv")
        stylize_video(
            session, source, films[-1], HERE / "waves.jpg", codec="ffv1", steadiness=Steadiness(follow=follow)
        )
    before, alone, painted = ([frame.pixels for frame in open_film(path)] for path in films)
    rows = [[film[number] for number in SHOWN] for film in (before, painted)]
    return rows + [[flicker(film[number - 1], film[number]) for number in SHOWN] for film in (alone, painted)]


def flicker(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """The difference of two frames of the pan, amplified, where the first is moved as far as the pan moves."""
    return np.pad(GAIN * np.abs(after[:, :-STEP] - before[:, STEP:]), ((0, 0), (0, STEP), (0, 0))).clip(0, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, nargs="?", default=HERE.parent / "docs" / "video.jpg", metavar="FILE.jpg")
    path = parser.parse_args().path
    with tempfile.TemporaryDirectory() as folder:
        drawn = rows(Path(folder))
    sheet = Image.new("RGB", (WIDTH * len(SHOWN), HEIGHT * len(drawn)))
    for row, pictures in enumerate(drawn):
        for column, pixels in enumerate(pictures):
            picture = Image.fromarray(np.uint8(np.rint(pixels * 255))).resize((WIDTH, HEIGHT))
            sheet.paste(picture, (WIDTH * column, HEIGHT * row))
    sheet.save(path, quality=78)


if __name__ == "__main__":
    main()
