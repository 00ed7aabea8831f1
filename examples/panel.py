"""Rows of labelled pictures, for the pages in docs/guide."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

GAP, FONT, PAD = 4, 22, 6

Cell = tuple[str, np.ndarray]


def draw(path: Path, rows: Sequence[Sequence[Cell]], size: tuple[int, int] = (320, 214)) -> None:
    """Write rows of pictures, each with a label in its corner and cut to fill its cell, as a JPEG.

    Args:
        path: The file.
        rows: Labels, which may be empty, and pictures `[H, W, 3]` in 0..1.
        size: Width and height of a cell in pixels.
    """
    width, height = (side + GAP for side in size)
    sheet = Image.new("RGB", (max(map(len, rows)) * width - GAP, len(rows) * height - GAP), "white")
    for row, cells in enumerate(rows):
        for column, (label, pixels) in enumerate(cells):
            picture = Image.fromarray(np.uint8(np.rint(np.clip(pixels, 0, 1) * 255)))
            cell = ImageOps.fit(picture, size, Image.Resampling.LANCZOS)
            sheet.paste(_labelled(cell, label), (column * width, row * height))
    sheet.save(path, quality=76, optimize=True, progressive=True)


def _labelled(picture: Image.Image, label: str) -> Image.Image:
    if not label:
        return picture
    font = ImageFont.load_default(FONT)
    ascent, descent = font.getmetrics()
    shade = Image.new("RGBA", picture.size)
    pen = ImageDraw.Draw(shade)
    pen.rectangle((0, 0, pen.textlength(label, font) + 2 * PAD, ascent + descent + PAD), fill=(0, 0, 0, 180))
    pen.text((PAD, PAD // 2), label, font=font, fill="white")
    return Image.alpha_composite(picture.convert("RGBA"), shade).convert("RGB")
