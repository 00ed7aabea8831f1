"""What a Pillow image of any mode and colour profile shows: float32 sRGB values and alpha."""

import io
import struct

import numpy as np
from PIL import Image, ImageCms
from PIL.ExifTags import Base as Tag


def to_srgb(image: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    """The colours and the opacity of a loaded image.

    8-bit modes are read as Pillow converts them. Grey of 16 bits keeps them: Pillow would clip it. Grey of
    32 bits, integer or float, has no agreed white: values within 0..65535, or 0..1 for floats, are read
    on that scale, and any others are stretched from their own minimum and maximum to 0..1; NaN is the minimum.

    An embedded profile takes the colours to sRGB unless it is broken or made for another kind of colour.

    Args:
        image: Any mode; its `info` may hold a profile and a transparent colour, as Pillow reads them.

    Returns:
        The colours, float32 `[H, W, 3]` in 0..1, and the alpha, float32 `[H, W]` in 0..1, or None where
        the image has no transparency.
    """
    alpha = None
    if image.mode == "F" or image.mode.startswith("I"):
        if "transparency" in image.info:
            alpha = (np.asarray(image) != image.info["transparency"]).astype(np.float32)
        return _grey_to_srgb(_deep_grey(image), image.info.get("icc_profile")), alpha

    grey = image.mode in ("1", "L", "LA", "La")
    if image.has_transparency_data:
        image = image.convert("LA" if grey else "RGBA")
        alpha = _unit(image.getchannel("A"))
    image = image.convert("L" if grey else image.mode if image.mode in ("CMYK", "LAB") else "RGB")
    profile = image.info.get("icc_profile")
    if grey:
        return _grey_to_srgb(_unit(image), profile), alpha
    in_srgb = _through_profile(image, profile, ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")), "RGB")
    return _unit(image.convert("RGB") if in_srgb is None else in_srgb), alpha


def _unit(image: Image.Image) -> np.ndarray:
    unit: np.ndarray = np.divide(np.asarray(image), 255, dtype=np.float32)
    return unit


def _deep_grey(image: Image.Image) -> np.ndarray:
    """The grey levels of a mode of more than 8 bits, in 0..1."""
    # Pillow hands a TIFF's numbers on as they are stored, and with them the task of reading these tags.
    tags = getattr(image, "tag_v2", {})
    levels = np.asarray(image)
    white = 65535
    if image.mode == "F":
        white = 1
    elif image.mode.startswith("I;16"):
        white = 2 ** tags.get(Tag.BitsPerSample, (16,))[0] - 1
    elif tags.get(Tag.BitsPerSample) == (32,) and tags.get(Tag.SampleFormat, (1,)) == (1,):
        levels = levels.view(np.uint32)

    with np.errstate(invalid="ignore"):  # A signalling NaN.
        levels = levels.astype(np.float64)
    finite = levels[np.isfinite(levels)]
    low, high = (finite.min(), finite.max()) if finite.size else (0, 1)
    np.nan_to_num(levels, copy=False, nan=low, posinf=high, neginf=low)
    if low >= 0 and high <= white:
        low, high = 0, white
    levels = (levels - low) / ((high - low) or 1)
    if tags.get(Tag.PhotometricInterpretation) == 0:  # White is zero.
        levels = 1 - levels
    grey: np.ndarray = levels.astype(np.float32)
    return grey


def _grey_to_srgb(grey: np.ndarray, profile: bytes | None) -> np.ndarray:
    # A grey profile is one curve: taken at every 16-bit level, it serves a picture of any depth.
    ramp = Image.fromarray(np.arange(65536, dtype=np.uint16)[None])
    # Without the last flag the curve is resampled, and near black it is a whole 8-bit level off.
    curve = _through_profile(ramp, profile, _srgb_grey(), "I;16", ImageCms.Flags.NOOPTIMIZE)
    if curve is not None:
        levels = np.divide(np.asarray(curve)[0], 65535, dtype=np.float32)
        grey = levels[np.rint(grey * 65535).astype(np.uint16)]
    return np.repeat(grey[..., None], 3, axis=2)


def _through_profile(
    image: Image.Image,
    profile: bytes | None,
    target: ImageCms.ImageCmsProfile,
    mode: str,
    flags: ImageCms.Flags = ImageCms.Flags.NONE,
) -> Image.Image | None:
    """The image in the target's colours, or None if the profile is missing, broken or of another colour space."""
    if not profile:
        return None
    try:
        return ImageCms.profileToProfile(
            image,
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            target,
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode=mode,
            flags=flags | ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (OSError, ImageCms.PyCMSError):
        return None


def _srgb_grey() -> ImageCms.ImageCmsProfile:
    """The profile of grey with the tone curve of sRGB, which Pillow cannot make (ICC.1:2010, 8.4 and 10.16)."""

    def fixed(*values: float) -> bytes:
        return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))

    d50 = fixed(0.9642, 1, 0.8249)
    white_point = b"XYZ " + bytes(4) + d50
    curve = b"para" + bytes(4) + struct.pack(">2H", 3, 0) + fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    tags = ((b"wtpt", white_point), (b"kTRC", curve))
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags:
        table += name + struct.pack(">2I", 128 + 4 + 12 * len(tags) + len(body), len(data))
        body += data
    size = 128 + len(table) + len(body)
    header = struct.pack(">3I", size, 0, 0x04200000) + b"mntrGRAYXYZ " + bytes(12) + b"acsp"
    return ImageCms.ImageCmsProfile(io.BytesIO(header.ljust(68, b"\0") + d50.ljust(60, b"\0") + table + body))


SIDEWAYS = (5, 6, 7, 8)


def upright(array: np.ndarray, orientation: int) -> np.ndarray:
    """Turn a stored picture the way it is to be looked at.

    Args:
        array: `[H, W]` or `[H, W, C]`, as stored.
        orientation: The EXIF orientation, 1 to 8; any other value changes nothing.

    Returns:
        The same values, `[W, H]` or `[W, H, C]` for a picture that lay on its side.
    """
    if orientation in SIDEWAYS:
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return np.ascontiguousarray(array)


def resize(pixels: np.ndarray, alpha: np.ndarray | None, short_side: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Resample so that the shorter side has the length asked for, and the other follows.

    Args:
        pixels: sRGB colours, float32 `[H, W, 3]` in 0..1.
        alpha: Opacity, float32 `[H, W]` in 0..1, or None.
        short_side: The new length, at least 1.

    Returns:
        Colours and alpha of the new size, in 0..1.
    """
    height, width = pixels.shape[:2]
    short = min(height, width)
    if short == short_side:
        return pixels, alpha
    size = (max(1, round(width * short_side / short)), max(1, round(height * short_side / short)))

    def resample(array: np.ndarray) -> np.ndarray:
        return np.array(Image.fromarray(array).resize(size, Image.Resampling.LANCZOS))

    # Multiplied by alpha, so that the colour of a pixel counts as far as it can be seen.
    visible = alpha is not None and bool(alpha.any())
    if alpha is not None and visible:
        pixels = pixels * alpha[..., None]
    pixels = np.stack([resample(pixels[..., channel]) for channel in range(3)], axis=-1)
    if alpha is not None:
        alpha = resample(alpha)
        if visible:
            pixels /= np.where(alpha > 0, alpha, 1)[..., None]
        alpha = np.where(alpha < 0.5 / 255, 0, alpha.clip(max=1))  # Less than 8 bits can tell is nothing.
    return pixels.clip(0, 1), alpha


def show_hidden(pixels: np.ndarray, alpha: np.ndarray) -> None:
    """Give wholly transparent pixels, in place, the colour of the nearest one that can be seen.

    Args:
        pixels: Colours, float32 `[H, W, 3]`; kept as they are if no pixel can be seen.
        alpha: Opacity, float32 `[H, W]`.
    """
    hidden = alpha == 0
    if hidden.all() or not hidden.any():
        return
    from scipy import ndimage  # Slow to import, and few pictures are transparent.

    rows, columns = ndimage.distance_transform_edt(hidden, return_distances=False, return_indices=True)
    pixels[hidden] = pixels[rows[hidden], columns[hidden]]
