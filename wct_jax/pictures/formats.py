"""The formats that are read, and names for files that are no raster pictures."""

import importlib
import io
import re
import struct
from typing import Any, BinaryIO

from PIL import Image
from PIL.ExifTags import Base as Tag

# In a folder, files with these suffixes are taken for pictures.
PICTURE_SUFFIXES = (
    *(".avif", ".bmp", ".bw", ".dib", ".gif", ".heic", ".heif", ".hif", ".ico", ".j2c", ".j2k"),
    *(".jfif", ".jp2", ".jpc", ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".mpo", ".pbm", ".pcx", ".pfm", ".pgm"),
    *(".png", ".apng", ".pnm", ".ppm", ".psd", ".ras", ".rgb", ".rgba", ".sgi", ".tga", ".tif", ".tiff", ".webp"),
)

# Pillow's modules by the formats they read, in the order in which we try them. Left out: EPS and WMF, drawings that
# other programs draw; FITS, HDF5, GRIB and BUFR, which are data; QOI and some formats of games, which Python decodes
# pixel by pixel. TGA comes last, since it has no signature.
_MODULES = {
    **dict(JPEG="Jpeg", PNG="Png", WEBP="WebP", GIF="Gif", TIFF="Tiff", BMP="Bmp", DIB="Bmp", AVIF="Avif"),
    **dict(JPEG2000="Jpeg2K", PPM="Ppm", PSD="Psd", ICO="Ico", PCX="Pcx", SGI="Sgi", SUN="Sun", HEIF="", TGA="Tga"),
}
# Files of these begin with a signature that no other file has.
_SIGNED = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "PSD")
_HEIF_BRANDS = (b"heic", b"heim", b"heis", b"heix", b"hevc", b"hevm", b"hevs", b"hevx", b"mif1", b"msf1")
_EXPECTED = "expected a raster picture such as JPEG, PNG, WebP or TIFF"

# Files that people take for pictures, by how they begin. Illustrator writes PDF.
_OTHERS = (
    (rb"%PDF-", "a PDF document"),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "a PostScript or EPS drawing"),
    (rb"\W*(<\?xml[^>]*>)?\s*(<!--.*?-->\s*)*(<!DOCTYPE svg[^>]*>)?\s*<svg\s", "an SVG drawing"),
    (rb"(?i)\s*(<!--.*?-->\s*)*<(!doctype html|html|head|body)\W", "a web page"),
    (rb"\xd7\xcd\xc6\x9a|\x01\0\0\0.{36} EMF", "a Windows metafile, which is a drawing"),
    (rb"gimp xcf", "a project of GIMP's"),
    (rb"SIMPLE  =|\x89HDF\r\n|GRIB|BUFR", "a file of scientific data"),
    (rb"v/1\x01|#\?RADIANCE|#\?RGBE", "an OpenEXR or Radiance picture"),
    (rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL picture"),
    (rb"qoif", "a QOI picture"),
    (rb"DDS |BLP[12]|FTC\0", "a game's texture"),
    (rb"....ftypcrx|FUJIFILMCCD-RAW|IIR[OS]\x08|MMOR|IIU\0|FOVb", "a camera's raw file"),
    (rb"....ftyp(isom|iso[2-9]|mp4[12]|avc1|M4[VA] |qt  |3g[p2]|dash|MSNV|mmp4|f4v )", "a video"),
    (rb"....moov|\x1aE\xdf\xa3|RIFF....AVI |FLV\x01|OggS|\0\0\x01[\xba\xb3]|0&\xb2u\x8ef\xcf\x11", "a video"),
    (rb"PK\x03\x04|\x1f\x8b|Rar!|7z\xbc\xaf|BZh|\xfd7zXZ", "an archive, or a document in one"),
    (rb"version https://git-lfs", "a pointer of Git LFS to a file that was not fetched"),
)


def identify(file: BinaryIO, name: str, beyond: bool = False) -> Image.Image:
    """Read the header of a picture with Pillow's reader of its format.

    Args:
        file: The encoded picture, at its start.
        name: The file's name in messages.
        beyond: Whether to read pictures beyond Pillow's own limit on pixels, too.

    Raises:
        ValueError: The file is empty, or of no format that we read.
        Exception: Pillow's readers raise exceptions of every kind for damaged files.
    """
    head = file.read(1024)
    if not head:
        raise ValueError(f"cannot read {name}: the file is empty")
    for format in _MODULES:
        # Not `Image.open`, which compares the size with a limit of the whole process.
        reader, accepts = _reader(format, head, name)
        try:
            if reader is None or (accepts and accepts(head[:16].ljust(16)) is not True):
                continue
            file.seek(0)
            image = reader(_SlowStart(file.read()) if beyond and format == "WEBP" else file, "")
        except (SyntaxError, IndexError, TypeError, struct.error):
            if format in _SIGNED:
                raise ValueError(f"cannot read {name}: it is a {format} of an unknown kind, or damaged") from None
            continue
        if format == "TIFF":
            _check_tiff(image, name)
        if format == "ICO" and image.ico.getimage(image.size).size != image.size:
            raise ValueError(f"cannot read {name}: its icon has another size than it says")
        return image
    for pattern, kind in _OTHERS:
        if re.match(pattern, head, re.DOTALL):
            raise ValueError(f"cannot read {name}: it is {kind}; {_EXPECTED}")
    raise ValueError(f"{name} is not a picture Pillow can read")


def _reader(format: str, head: bytes, name: str) -> tuple[Any, Any]:
    """Return Pillow's reader of a format and its test of a file's first bytes."""
    if format == "HEIF" and head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
        try:
            importlib.import_module("pillow_heif").register_heif_opener()
        except ImportError:
            raise ValueError(f"{name} is a HEIC picture; to read those, pip install pillow-heif") from None
    elif format not in Image.OPEN and _MODULES[format]:
        importlib.import_module(f"PIL.{_MODULES[format]}ImagePlugin")
    return Image.OPEN.get(format, (None, None))


class _SlowStart(io.BytesIO):
    """A file whose first read is too short for Pillow to compare the size of a WebP with its limit."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(size, 20) if size and size > 0 else size)


def _check_tiff(image: Any, name: str) -> None:
    """Mend or refuse a TIFF that Pillow, up to 13.0, would misread."""
    tags, (width, height) = image.tag_v2, image.size
    if Tag.DNGVersion in tags or _CANON in tags or (tags.get(Tag.NewSubfileType, 0) & 1 and Tag.SubIFDs in tags):
        raise ValueError(f"cannot read {name}: it is a camera's raw file; {_EXPECTED}")
    bits, photometric = tags.get(Tag.BitsPerSample, (1,)), tags.get(Tag.PhotometricInterpretation, 0)
    raw, planes = image.info.get("compression") == "raw", tags.get(Tag.PlanarConfiguration, 1) == 2 and len(bits) > 1
    stored = sum(tags.get(Tag.StripByteCounts) or tags.get(Tag.TileByteCounts) or ())
    kind = ""
    if tags.get(Tag.SampleFormat, (1,))[0] == 2 and max(bits) <= 8:
        kind = "signed values of 8 bits"
    elif planes and (photometric not in (2, 5, 6) or 1 in tags.get(Tag.ExtraSamples, ()) or (raw and photometric == 6)):
        kind = "a plane for each channel, and these are not red, green, blue or inks"
    elif raw and photometric == 6 and len(bits) == 3 and 0 < stored < width * height * 3:
        kind = "colours at fewer places than brightness, without compression"
    if kind:
        raise ValueError(f"cannot read {name}: it is a TIFF with {kind}")

    def mended(mode: str) -> str:
        if planes and raw and max(bits) == 16:
            # Pillow takes each byte of a 16-bit number for a number.
            return f"{mode};16{'B' if tags.prefix == b'MM' else 'L'}"
        # libtiff has already put the bytes in the machine's order.
        return mode if raw else {"I;16BS": "I;16NS", "I;32BS": "I;32NS", "F;32BF": "F;32NF"}.get(mode, mode)

    image.tile = [tile._replace(args=(mended(tile.args[0]), *tile.args[1:])) for tile in image.tile]


_CANON = 0xC640  # CR2 describes the layout of its raw pixels here.
