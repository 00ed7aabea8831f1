"""One photo by every control at several values, and in styles that suit it and styles that do not.

    python examples/choosing.py

Writes docs/guide/choosing/*.jpg.
"""

from pathlib import Path

import numpy as np

from panel import Cell, draw
from wct_jax import Options, Session, read_image
from wct_jax.networks.vgg import LAYERS

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs" / "guide" / "choosing"
OTHERS = HERE.parent / "wct_jax" / "convert" / "photos"
SIDE = 384


class Easel:
    """The photo, and the paintings of it that were asked for."""

    def __init__(self) -> None:
        self.session = Session("compact")

    def paint(self, label: str, style: str | np.ndarray = "waves", **options: object) -> Cell:
        """The photo painted in the style of one of the examples, or of a picture, with a label."""
        options = {"content_size": SIDE, **options}
        if isinstance(style, str):
            style, options = HERE / f"{style}.jpg", {"style_size": SIDE, **options}
        return label, self.session.paint(HERE / "content.jpg", style, Options(**options)).pixels

    def vary(self, name: str, values: tuple, style: str = "waves", **options: object) -> list[Cell]:
        """The photo painted with one option at several values, which are the labels."""
        return [self.paint(str(value), style, **{name: value}, **options) for value in values]


def panels(easel: Easel) -> dict[str, list[list[Cell]]]:
    """Rows of pictures by the names of their files."""
    photo = read_image(HERE / "content.jpg", SIDE)
    good = {name: read_image(HERE / f"{name}.jpg", SIDE) for name in ("waves", "mosaic", "ink")}
    poor = {
        "a photo": read_image(OTHERS / "dusk.jpg", SIDE),
        "large smooth shapes": read_image(OTHERS / "cushions.jpg", SIDE),
        "nearly empty": good["ink"][-140:, 60:270],
    }
    layers = {"relu1_1": LAYERS[:1], "relu1_1 ... relu3_1": LAYERS[:3], "all five": LAYERS}
    return {
        "good": [list(good.items()), [easel.paint("", name) for name in good]],
        "poor": [list(poor.items()), [easel.paint("", picture) for picture in poor.values()]],
        "method": [[("the photo", photo), easel.paint("one pass"), easel.paint("cascade", method="cascade")]],
        "photo": [
            [
                easel.paint("waves", photo=True, strength=1.0),
                easel.paint("ink", "ink", photo=True, strength=1.0),
                easel.paint("a photo", poor["a photo"], photo=True, strength=1.0),
            ]
        ],
        "structure": [easel.vary("structure", (0, 0.15, 0.3)), easel.vary("structure", (0.5, 0.8, 1))],
        "strength": [easel.vary("strength", (0.3, 0.6, 1), "mosaic")],
        "style_size": [easel.vary("style_size", (128, 256, 512), "mosaic")],
        "content_size": [easel.vary("content_size", (160, 256, 512))],
        "preserve_color": [easel.vary("preserve_color", ("luminance", "histogram", "coral"))],
        "layers": [[easel.paint(label, method="cascade", layers=names) for label, names in layers.items()]],
        "transform": [easel.vary("transform", ("ot", "cholesky", "adain"), "mosaic")],
        "passes": [easel.vary("passes", (1, 2, 4), method="cascade")],
    }


def main() -> None:
    DOCS.mkdir(parents=True, exist_ok=True)
    for name, rows in panels(Easel()).items():
        draw(DOCS / f"{name}.jpg", rows)


if __name__ == "__main__":
    main()
