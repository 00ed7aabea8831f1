"""A photo in three styles by all methods, with their names: docs/comparison.jpg.

    python examples/compared.py VGG19

VGG19 is a model file of the authors' VGG-19 with its decoders to relu3_1, which `convert_vgg.py` makes.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from wct_jax import Options, Session, read_image, write_image

HERE = Path(__file__).parent
STYLES = ("mosaic", "waves", "ink")
SIDE = 256
LABEL = 28


def methods(vgg19):
    """The methods by name: who paints, and with which options."""
    compact = Session("compact")
    return {
        "cascade": (compact, Options(method="cascade")),
        "one pass": (compact, Options()),
        "one pass, structure 0.5": (compact, Options(structure=0.5)),
        "cascade, OT": (compact, Options(method="cascade", transform="ot")),
        "cascade, AdaIN": (compact, Options(method="cascade", transform="adain")),
        "cascade, swap relu3_1": (compact, Options(method="cascade", swap_layers=("relu3_1",))),
        "cascade, VGG-19 to relu3_1": (vgg19, Options(method="cascade")),
        "Gatys et al., VGG-19": (vgg19, Options(method="gatys")),
        "Gatys et al.": (compact, Options(method="gatys")),
        "Elad and Milanfar": (compact, Options(method="elad-milanfar")),
    }


def tile(picture, name=""):
    """The middle square of a picture of this short side, below its name."""
    top, left = ((side - SIDE) // 2 for side in picture.shape[:2])
    label = Image.new("RGB", (SIDE, LABEL), "white")
    draw = ImageDraw.Draw(label)
    draw.text((SIDE / 2, LABEL / 2), name, "black", ImageFont.load_default(18), "mm")
    return np.concatenate([np.asarray(label, np.float32) / 255, picture[top : top + SIDE, left : left + SIDE]])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("vgg19", type=Path)
    painters = methods(Session(parser.parse_args().vgg19))
    photo, rows = read_image(HERE / "content.jpg", SIDE), []
    for name in STYLES:
        style = read_image(HERE / f"{name}.jpg", SIDE)
        tiles = [tile(photo, "photo"), tile(style, "style")]
        tiles += [tile(session.paint(photo, style, how).pixels, told) for told, (session, how) in painters.items()]
        rows += [np.concatenate(tiles[:6], axis=1), np.concatenate(tiles[6:], axis=1)]
    write_image(HERE.parent / "docs" / "comparison.jpg", np.clip(np.concatenate(rows), 0, 1))


if __name__ == "__main__":
    main()
