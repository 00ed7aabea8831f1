"""What each control does to a photo, by the command line: docs/controls/*.jpg.

python examples/controls.py
"""

import tempfile
from pathlib import Path

import numpy as np

from wct_jax import read_image, write_image
from wct_jax.cli.stylize import main as stylize

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs" / "controls"
PHOTO, WAVES, MOSAIC, INK = (HERE / f"{name}.jpg" for name in ("content", "waves", "mosaic", "ink"))
SIDE, GAP = 256, 6
REPAINT = ["--content", PHOTO, "--content-size", SIDE]


def masks(folder):
    """The sky and the hills behind a soft line, and a strength that grows from left to right."""
    height, width = read_image(PHOTO).shape[:2]
    y, x = np.mgrid[:height, :width] / height
    for name, values in (("far", (0.46 - y) / 0.04 + 0.5), ("ramp", x / x.max())):
        write_image(folder / f"{name}.png", np.repeat(values.clip(0, 1)[..., None], 3, -1).astype(np.float32))


def strips(folder):
    """Name of each picture, and what it shows from left to right: pictures, or arguments of the command."""
    far, ramp = folder / "far.png", folder / "ramp.png"
    style = ["--style", WAVES, "--style-size", SIDE]
    mosaic = ["--style", MOSAIC, "--style-size", SIDE]
    both = ["--style", WAVES, INK, "--style-size", SIDE]
    texture = ["--synthesize", "320x256", "--style-size", SIDE]
    return {
        "weights": [[*both, "--style-weights", a, b] for a, b in ((1, 0), (2, 1), (1, 2), (0, 1))],
        "masks": [
            far,
            ["--style", INK, WAVES, "--style-size", SIDE, "--mask", far],
            ["--style", "none", MOSAIC, "--style-size", SIDE, "--mask", far],
        ],
        "structure": [
            [*style, "--method", "cascade"],
            *([*style, "--one-pass", "--structure", k] for k in (0, 0.2, 0.5, 1)),
        ],
        "strength": [[*mosaic, "--strength", strength] for strength in (0.25, 0.5, 0.75, 1)],
        "strength_map": [ramp, [*mosaic, "--strength", ramp], mosaic],
        "preserve_color": [style, *([*style, "--preserve-color", how] for how in ("luminance", "histogram", "coral"))],
        "synthesize": [
            *([*texture, "--style", path] for path in (WAVES, MOSAIC, INK)),
            [*texture, "--style", WAVES, MOSAIC],
        ],
        "transform": [[*mosaic, "--transform", how] for how in ("zca", "ot", "cholesky", "adain")],
        "swap": [mosaic, [*mosaic, "--swap-layers", "relu5_1"], [*mosaic, "--swap-layers", "relu4_1", "relu3_1"]],
        "whiten_only": [PHOTO, ["--whiten-only"], ["--whiten-only", "--layers", "relu2_1"]],
        "passes": [[*mosaic, "--passes", n] for n in (1, 2, 4)],
    }


def show(what, folder):
    """A picture, or what the command makes."""
    if isinstance(what, Path):
        return read_image(what, SIDE)
    output = folder / "result.png"
    arguments = what if "--synthesize" in what else [*REPAINT, *what]
    stylize([*map(str, arguments), "--output", str(output), "--overwrite"])
    return read_image(output)


def main():
    DOCS.mkdir(exist_ok=True)
    gap = np.ones((SIDE, GAP, 3), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        masks(Path(folder))
        for name, cells in strips(Path(folder)).items():
            pictures = [show(cell, Path(folder)) for cell in cells]
            row = [part for picture in pictures for part in (picture, gap)][:-1]
            write_image(DOCS / f"{name}.jpg", np.concatenate(row, axis=1))
    with tempfile.TemporaryDirectory() as folder:
        grid = ["--content", HERE.parent / "wct_jax/convert/photos/[lt]*.jpg", "--style", HERE / "[imw]*.jpg"]
        sizes = ["--content-size", SIDE, "--style-size", SIDE, "--overwrite"]
        stylize([*map(str, [*grid, *sizes, "--output", folder, "--sheet", DOCS / "sheet.jpg"])])


if __name__ == "__main__":
    main()
