"""The transform alone, on colours instead of features: docs/colours.jpg.

    python examples/colours.py

A picture is itself a feature of three channels. Whitening and coloring it gives the photo the mean and covariance of
the other picture's colours; what the networks add are strokes and shapes.
"""

from pathlib import Path

import numpy as np

from wct_jax import read_image, wct, write_image

HERE = Path(__file__).parent
STYLES = ("mosaic", "waves", "ink")
HEIGHT, WIDTH, GAP = 220, 330, 6


def cell(picture):
    """A picture in the middle of a cell, on white."""
    sheet = np.ones((HEIGHT + GAP, WIDTH + GAP, 3), np.float32)
    height, width = (min(side, most) for side, most in zip(picture.shape, (HEIGHT, WIDTH), strict=False))
    left = (WIDTH - width) // 2
    sheet[:height, left : left + width] = picture[:height, :width]
    return sheet


def main():
    content = read_image(HERE / "content.jpg", HEIGHT)
    styles = [read_image(HERE / f"{name}.jpg", HEIGHT) for name in STYLES]
    results = [np.clip(wct(content, style), 0, 1) for style in styles]
    blank = np.ones_like(content)
    rows = ([content, *styles], [blank, *results])
    sheet = np.concatenate([np.concatenate([cell(picture) for picture in row], axis=1) for row in rows])
    write_image(HERE.parent / "docs" / "colours.jpg", sheet)


if __name__ == "__main__":
    main()
