"""Render the example pictures beside this file: content.jpg and the styles mosaic.jpg, waves.jpg and ink.jpg."""

from pathlib import Path

import numpy as np
from PIL import Image

from ink import ink
from mosaic import mosaic
from scene import Setting, render
from waves import waves


def main() -> None:
    folder = Path(__file__).parent
    for name, picture in (("content", render(Setting())), ("mosaic", mosaic()), ("waves", waves()), ("ink", ink())):
        Image.fromarray(np.uint8(np.round(picture * 255))).save(folder / f"{name}.jpg", quality=90)


if __name__ == "__main__":
    main()
