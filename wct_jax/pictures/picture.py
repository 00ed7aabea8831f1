"""A picture in memory."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Metadata:
    """Metadata that a picture passes on to a picture made from it.

    Attributes:
        exif: An EXIF block with camera, exposure, place, author and resolution, but without orientation, thumbnail,
            maker's note or anything else that describes the old pixels.
        dpi: Horizontal and vertical resolution in pixels per inch, or None where the file gives none.
        settings: JSON on how a result was made, which PNG files carry, or "".
    """

    exif: bytes = b""
    dpi: tuple[float, float] | None = None
    settings: str = ""


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture as the networks take it. Pictures compare by identity.

    Attributes:
        pixels: sRGB colours, float32 `[H, W, 3]` in 0..1.
        alpha: Opacity, float32 `[H, W]` in 0..1, or None for an opaque picture.
        metadata: The metadata to carry into a result.
        notes: Sentences to show to a person, such as that only the first frame was read.
        bits: Bits per value: 16 where the file had more than 8. PNG and TIFF files are written with as many.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    metadata: Metadata = Metadata()
    notes: tuple[str, ...] = ()
    bits: int = 8
