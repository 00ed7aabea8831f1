"""A picture in memory."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Metadata:
    """Facts about a picture that stay true of a picture made from it.

    Attributes:
        exif: An EXIF block: the camera, the exposure, the place, the author, the resolution. Not the
            orientation, the thumbnail, the maker's private note and whatever else speaks of the old pixels.
        dpi: Horizontal and vertical resolution in pixels per inch, or None where the file gives none.
        settings: JSON on how a result was made, which PNG files carry; "" for none.
    """

    exif: bytes = b""
    dpi: tuple[float, float] | None = None
    settings: str = ""


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture as the networks take it. Equal to itself alone.

    Attributes:
        pixels: sRGB colours, float32 `[H, W, 3]` in 0..1.
        alpha: Opacity, float32 `[H, W]` in 0..1, or None when the picture is wholly opaque.
        metadata: The metadata to carry into a result.
        notes: Sentences a person should be told about the file, such as that only its first frame was read.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    metadata: Metadata = Metadata()
    notes: tuple[str, ...] = ()
