"""The metadata that a picture passes on to a picture made from it."""

import contextlib
from typing import Any

from PIL import Image
from PIL.ExifTags import IFD
from PIL.ExifTags import Base as Tag

from wct_jax.pictures.picture import Metadata

_LASTING_TAGS = (
    *(Tag.DocumentName, Tag.ImageDescription, Tag.Make, Tag.Model, Tag.Software, Tag.DateTime, Tag.Artist),
    *(Tag.HostComputer, Tag.Rating, Tag.RatingPercent, Tag.Copyright),
    *(Tag.XPTitle, Tag.XPComment, Tag.XPAuthor, Tag.XPKeywords, Tag.XPSubject),
)
# These describe the shape, coding, colour space or positions of the old pixels. The maker's note holds
# offsets into the old file, and often a preview.
_SUBJECT_AREA = 0x9214
_STALE_EXIF_TAGS = (
    *(Tag.ExifImageWidth, Tag.ExifImageHeight, Tag.SubjectLocation, _SUBJECT_AREA, Tag.ComponentsConfiguration),
    *(Tag.CompressedBitsPerPixel, Tag.FocalPlaneXResolution, Tag.FocalPlaneYResolution),
    *(Tag.FocalPlaneResolutionUnit, Tag.ExifInteroperabilityOffset, Tag.Gamma, Tag.MakerNote),
)


def lasting_metadata(image: Image.Image, sideways: bool) -> Metadata:
    """Collect the metadata that a result inherits from a loaded image, stored upright or `sideways`."""
    # EXIF can be broken in countless ways; broken EXIF counts as none.
    with contextlib.suppress(Exception):
        exif = image.getexif()
        dpi = _dpi(image, exif, sideways)
        return Metadata(_lasting_exif(exif, dpi), dpi)
    return Metadata()


def _lasting_exif(exif: Image.Exif, dpi: tuple[float, float] | None) -> bytes:
    """Keep the part of an EXIF block that holds for an upright sRGB picture of any size."""
    lasting = Image.Exif()
    lasting.update({tag: as_stored(exif[tag]) for tag in _LASTING_TAGS if tag in exif})
    if shot := {tag: value for tag, value in exif.get_ifd(IFD.Exif).items() if tag not in _STALE_EXIF_TAGS}:
        lasting[IFD.Exif] = shot | {Tag.ColorSpace: 1}
    if place := exif.get_ifd(IFD.GPSInfo):
        lasting[IFD.GPSInfo] = place
    if dpi:
        lasting.update({Tag.XResolution: dpi[0], Tag.YResolution: dpi[1], Tag.ResolutionUnit: 2})
    block = lasting.tobytes() if len(lasting) else b""
    return block if len(block) <= 65533 else b""  # A JPEG holds no more.


def as_stored(value: Any) -> Any:
    """Return a tag's value as it is written: text as the bytes that it was read from."""
    # Most files hold UTF-8, which Pillow reads as Latin-1 and would write as ASCII.
    return value.encode("latin-1") if isinstance(value, str) else value


def _dpi(image: Image.Image, exif: Image.Exif, sideways: bool) -> tuple[float, float] | None:
    # From the EXIF of a JPEG Pillow reports one axis only, and for a TIFF without a resolution it reports 1.
    unit = {2: 1, 3: 2.54}.get(exif.get(Tag.ResolutionUnit, 2), 0)
    x, y = (float(exif.get(tag, 0)) * unit for tag in (Tag.XResolution, Tag.YResolution))
    if not (x > 0 and y > 0):
        x, y = (float(value) for value in image.info.get("dpi", (0, 0)))
    if not (1 < x <= 65535 and 1 < y <= 65535):
        return None
    return (y, x) if sideways else (x, y)
