"""Photos in the styles of pictures, by the model in the box: docs/strip.jpg and docs/compact.jpg.

python examples/compact.py
"""

from pathlib import Path

import numpy as np

from wct_jax import extract_style, load_model, read_image, stylize, write_image

HERE = Path(__file__).parent
PHOTOS = (
    HERE / "content.jpg",
    *(HERE.parent / f"wct_jax/convert/photos/{name}.jpg" for name in ("lighthouse", "tree")),
)
STYLES = ("mosaic", "waves", "ink")
SIDE, WIDTH, GAP = 256, 384, 6


def cell(picture):
    """A picture in the middle of a cell, on white, and no wider than that."""
    sheet = np.ones((SIDE + GAP, WIDTH + GAP, 3), np.float32)
    picture = np.clip(picture, 0, 1)[:SIDE]
    spare = picture.shape[1] - WIDTH
    picture = picture[:, max(spare, 0) // 2 :][:, :WIDTH]
    left = max(-spare, 0) // 2
    sheet[: picture.shape[0], left : left + picture.shape[1]] = picture
    return sheet


def write_strip(model):
    """A photo, a picture, and the photo in its style, at the size of the files."""
    photo, picture = read_image(HERE / "content.jpg", 320), read_image(HERE / "waves.jpg", 320)
    result = np.asarray(stylize(model, photo, extract_style(model, picture))).clip(0, 1)
    gap = np.ones((320, GAP, 3), np.float32)
    write_image(HERE.parent / "docs" / "strip.jpg", np.concatenate([photo, gap, picture, gap, result], axis=1))


def main():
    model = load_model("compact")
    write_strip(model)
    styles = [read_image(HERE / f"{name}.jpg", SIDE) for name in STYLES]
    rows = [[np.ones_like(styles[0]), *styles]]
    for path in PHOTOS:
        photo = read_image(path, SIDE)
        rows.append([photo, *(np.asarray(stylize(model, photo, extract_style(model, style))) for style in styles)])
    sheet = np.concatenate([np.concatenate([cell(picture) for picture in row], axis=1) for row in rows])
    write_image(HERE.parent / "docs" / "compact.jpg", sheet)


if __name__ == "__main__":
    main()
