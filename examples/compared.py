"""A photo by all methods: docs/baselines.jpg.

    python examples/compared.py

From the left: the photo, the picture, Gatys et al., Elad and Milanfar, one pass and the cascade.
"""

from pathlib import Path

import numpy as np

from wct_jax import Options, Session, read_image, write_image
from wct_jax.painting.options import PAINTERS

HERE = Path(__file__).parent
STYLES = ("mosaic", "waves", "ink")
SIDE = 256


def middle(picture):
    """The middle square of a picture of this short side."""
    top, left = ((side - SIDE) // 2 for side in picture.shape[:2])
    return picture[top : top + SIDE, left : left + SIDE]


def main():
    session, photo = Session("compact"), read_image(HERE / "content.jpg", SIDE)
    rows = []
    for name in STYLES:
        style = read_image(HERE / f"{name}.jpg", SIDE)
        results = [
            session.paint(photo, style, Options(method=method)).pixels
            for method in ("gatys", "elad-milanfar", *PAINTERS[::-1])
        ]
        rows.append(np.concatenate([middle(each) for each in (photo, style, *results)], axis=1))
    write_image(HERE.parent / "docs" / "baselines.jpg", np.clip(np.concatenate(rows), 0, 1))


if __name__ == "__main__":
    main()
