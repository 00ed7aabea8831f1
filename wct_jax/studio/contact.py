"""Contact sheets of photos, their styles and the results."""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from wct_jax.pictures.images import read_image
from wct_jax.studio.jobs import Job
from wct_jax.studio.request import Look
from wct_jax.system.atomic import atomic_write

# In pixels.
_CELL, _LABEL, _GAP = 240, 22, 8


def draw_sheet(path: Path, jobs: Sequence[Job], max_pixels: int | None = None) -> None:
    """Draw results small, in a row for each photo, below a row of the styles if all photos have the same.

    Args:
        path: File to write; an existing one is replaced.
        jobs: Jobs whose results exist, ordered by photo.
        max_pixels: The most pixels that a picture may have; None for the default of `read_image`.

    Raises:
        ValueError: A picture cannot be read, or the sheet cannot be written.
    """
    cell = functools.partial(_cell, max_pixels=max_pixels)
    rows: dict[Path | None, list[Job]] = {}
    for job in jobs:
        rows.setdefault(job.content, []).append(job)
    looks = [[job.look for job in row] for row in rows.values()]
    same = all(row == looks[0] for row in looks)
    table = [[cell(None, ""), *(cell(look.files[0] if look.files else None, _title(look)) for look in looks[0])]]
    if not same:
        table = []
    for content, row in rows.items():
        results = [cell(job.output, "" if same else _title(job.look)) for job in row]
        table.append([cell(content, content.stem if content else "texture"), *results])
    columns = max(map(len, table))
    size = columns * (_CELL + _GAP) + _GAP, len(table) * (_CELL + _LABEL + _GAP) + _GAP
    sheet = Image.new("RGB", size, "white")
    for i, cells in enumerate(table):
        for j, drawn in enumerate(cells):
            sheet.paste(drawn, (j * (_CELL + _GAP) + _GAP, i * (_CELL + _LABEL + _GAP) + _GAP))
    with atomic_write(path) as scratch:
        sheet.save(scratch)


def _title(look: Look) -> str:
    return " + ".join(file.stem if file else "none" for file in look.files) or "white"


def _cell(path: Path | None, label: str, max_pixels: int | None) -> Image.Image:
    """A picture in a square with its name beneath, or an empty square."""
    cell = Image.new("RGB", (_CELL, _CELL + _LABEL), "white")
    if path and path.suffix.lower() != ".safetensors":
        image = Image.fromarray(np.rint(read_image(path, max_pixels=max_pixels) * 255).astype(np.uint8))
        small = ImageOps.contain(image, (_CELL, _CELL), Image.Resampling.LANCZOS)
        cell.paste(small, ((_CELL - small.width) // 2, (_CELL - small.height) // 2))
    if label:
        font = ImageFont.load_default(14)
        while label and font.getlength(label) > _CELL:
            label = label[:-2].rstrip("…") + "…"
        ImageDraw.Draw(cell).text((_CELL / 2, _CELL + 3), label, "black", font, anchor="ma")
    return cell
