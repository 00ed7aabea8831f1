"""A Pillow image of any mode and colour profile as float32 sRGB values and alpha."""

import functools
import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from PIL import Image, ImageCms
from PIL.ExifTags import Base as Tag

from wct_jax.pictures.profiles import srgb_grey
from wct_jax.pictures.sixteen import joined

# Colours `[h, w, 3]` or grey `[h, w]`, and alpha `[h, w]` where there may be transparency.
Shown = tuple[np.ndarray, np.ndarray | None]
# The rows converted together, their colours and alpha.
Strip = tuple[slice, np.ndarray, np.ndarray | None]

# Pixels converted at a time, so that the steps from stored values to the result take little memory.
_AT_ONCE = 2**20


def to_srgb(
    image: Image.Image, orientation: int = 1, short_side: int | None = None, low: Image.Image | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Convert a loaded image to upright sRGB colours and alpha.

    Pillow converts 8-bit modes. 16-bit grey keeps all its bits, which Pillow would clip. 32-bit grey, integer or float,
    has no agreed white: values within 0..65535, or 0..1 for floats, are read on that scale, and any others are
    stretched from their minimum and maximum to 0..1; NaN becomes the minimum.

    An embedded profile converts the colours to sRGB unless it is broken or made for another kind of colour.

    Args:
        image: An image of any mode; its `info` may hold a profile and a transparent colour, as Pillow reads them.
        orientation: The EXIF orientation, 1 to 8, that the stored pixels have.
        short_side: The length to resample the shorter side to, or None to keep the size.
        low: The low bytes of 16-bit colours that are sRGB, where `image` has the high ones.

    Returns:
        Colours, float32 `[H, W, 3]` in 0..1, and alpha, float32 `[H, W]` in 0..1, or None for an opaque image.
    """
    strips = functools.partial(_strips, image, orientation, _shower(image), low)
    width, height = image.size[::-1] if orientation in SIDEWAYS else image.size
    transparent = image.has_transparency_data
    if short_side is not None and short_side != min(width, height):
        return _resized(strips, (width, height), short_side, transparent)
    pixels = np.empty((height, width, 3), np.float32)
    opacity = np.empty((height, width), np.float32) if transparent else None
    for rows, colors, alpha in strips():
        pixels[rows] = colors if colors.ndim == 3 else colors[..., None]
        if opacity is not None:
            opacity[rows] = alpha
    return pixels, opacity if opacity is not None and opacity.min() < 1 else None


def _strips(
    image: Image.Image, orientation: int, show: Callable[[Image.Image], Shown], deep: Image.Image | None = None
) -> Iterator[Strip]:
    """Convert an image strip by strip, upright."""
    sideways = orientation in SIDEWAYS
    width, height = image.size[::-1] if sideways else image.size
    step = max(1, _AT_ONCE // width)
    for top in range(0, height, step):
        bottom = min(top + step, height)
        low, high = (height - bottom, height - top) if orientation in _UPSIDE_DOWN else (top, bottom)
        box = (low, 0, high, width) if sideways else (0, low, width, high)
        part = image if step >= height else image.crop(box)
        colors, alpha = show(part)
        if deep is not None:
            colors = joined(part, deep if step >= height else deep.crop(box))
        yield slice(top, bottom), upright(colors, orientation), None if alpha is None else upright(alpha, orientation)


def _resized(
    strips: Callable[[], Iterator[Strip]],
    size: tuple[int, int],
    short_side: int,
    transparent: bool,
    visible: bool = True,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Resample strips: each row as it is read, then the columns."""
    width, height = resized(size, short_side)
    narrow: list[np.ndarray] = []
    faint, strong = 1.0, 0.0
    for rows, colors, alpha in strips():
        planes = [colors] if colors.ndim == 2 else [colors[..., i] for i in range(3)]
        if alpha is not None:
            faint, strong = min(faint, alpha.min()), max(strong, alpha.max())
            # Weight by alpha, so that a colour counts as far as it is visible.
            planes = [*(plane * alpha if visible else plane for plane in planes), alpha]
        if not narrow:
            narrow = [np.empty((size[1], width), np.float32) for _ in planes]
        for plane, into in zip(planes, narrow, strict=True):
            into[rows] = _resample(plane, (width, len(plane)))
    if transparent and visible and not strong:
        return _resized(strips, size, short_side, transparent, visible=False)
    opacity = _resample(narrow.pop(), (width, height)) if transparent else None
    planes = [_resample(plane, (width, height)) for plane in narrow]
    pixels = np.stack(planes if len(planes) == 3 else planes * 3, axis=-1)
    if opacity is not None and faint < 1:
        if visible:
            pixels /= np.where(opacity > 0, opacity, 1)[..., None]
        opacity = np.where(opacity < 0.5 / 255, 0, opacity.clip(max=1))  # Below half an 8-bit level.
    return pixels.clip(0, 1), opacity if faint < 1 else None


def resized(size: tuple[int, int], short_side: int) -> tuple[int, int]:
    """Scale both sides so that the shorter one becomes `short_side`."""
    short = min(size)
    first, second = (max(1, round(side * short_side / short)) for side in size)
    return first, second


def _resample(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.array(Image.fromarray(plane).resize(size, Image.Resampling.LANCZOS))


def _shower(image: Image.Image) -> Callable[[Image.Image], Shown]:
    """Return the function that converts an image, or a part of it, to colours and alpha."""
    profile = image.info.get("icc_profile")
    if image.mode == "F" or image.mode.startswith("I"):
        return functools.partial(_show_deep, levels=_deep_levels(image), curve=_grey_curve(profile))
    if image.mode in ("1", "L", "LA", "La"):
        return functools.partial(_show_grey, curve=_grey_curve(profile))
    mode = image.mode if image.mode in ("CMYK", "LAB") and not image.has_transparency_data else "RGB"
    return functools.partial(_show_colors, mode=mode, transform=_transform(profile, mode, _srgb(), "RGB"))


def _show_deep(part: Image.Image, levels: Callable[[np.ndarray], np.ndarray], curve: np.ndarray | None) -> Shown:
    stored, alpha = np.asarray(part), None
    if "transparency" in part.info:
        alpha = (stored != part.info["transparency"]).astype(np.float32)
    return _through(curve, levels(stored)), alpha


def _show_grey(part: Image.Image, curve: np.ndarray | None) -> Shown:
    alpha = None
    if part.has_transparency_data:
        part = _converted(part, "LA")
        alpha = _unit(part.getchannel("A"))
    return _through(curve, _unit(_converted(part, "L"))), alpha


def _show_colors(part: Image.Image, mode: str, transform: ImageCms.ImageCmsTransform | None) -> Shown:
    alpha = None
    if part.has_transparency_data:
        part = _converted(part, "RGBA")
        alpha = _unit(part.getchannel("A"))
    part = _converted(part, mode)
    part = _converted(part, "RGB") if transform is None else transform.apply(part)
    return _unit(part), alpha


def _converted(image: Image.Image, mode: str) -> Image.Image:
    return image if image.mode == mode else image.convert(mode)


def _unit(image: Image.Image) -> np.ndarray:
    unit: np.ndarray = np.divide(np.asarray(image), 255, dtype=np.float32)
    return unit


def _deep_levels(image: Image.Image) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function that scales the values of a mode of more than 8 bits to 0..1."""
    # Pillow returns a TIFF's numbers as they are stored, and leaves these tags to us.
    tags = getattr(image, "tag_v2", {})
    white, unsigned = 65535, False
    if image.mode == "F":
        white = 1
    elif image.mode.startswith("I;16"):
        white = 2 ** tags.get(Tag.BitsPerSample, (16,))[0] - 1
    else:
        unsigned = tags.get(Tag.BitsPerSample) == (32,) and tags.get(Tag.SampleFormat, (1,)) == (1,)

    def values(stored: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):  # A signalling NaN.
            return (stored.view(np.uint32) if unsigned else stored).astype(np.float64)

    low, high = np.inf, -np.inf
    for _, part, _ in _strips(image, 1, lambda part: (values(np.asarray(part)), None)):
        finite = part[np.isfinite(part)]
        if finite.size:
            low, high = min(low, finite.min()), max(high, finite.max())
    if low > high:
        low, high = 0, 1
    ends = low, high
    if low >= 0 and high <= white:
        low, high = 0, white

    def levels(stored: np.ndarray) -> np.ndarray:
        unit = values(stored)
        np.nan_to_num(unit, copy=False, nan=ends[0], posinf=ends[1], neginf=ends[0])
        unit = (unit - low) / ((high - low) or 1)
        if tags.get(Tag.PhotometricInterpretation) == 0:  # White is zero.
            unit = 1 - unit
        grey: np.ndarray = unit.astype(np.float32)
        return grey

    return levels


def _grey_curve(profile: bytes | None) -> np.ndarray | None:
    """Return the sRGB level of every 16-bit level of a grey profile; the curve serves pictures of any depth."""
    # Without NOOPTIMIZE the curve is resampled, and near black it is a whole 8-bit level off.
    transform = _transform(profile, "I;16", _opened(srgb_grey()), "I;16", ImageCms.Flags.NOOPTIMIZE)
    if transform is None:
        return None
    ramp = transform.apply(Image.fromarray(np.arange(65536, dtype=np.uint16)[None]))
    curve: np.ndarray = np.divide(np.asarray(ramp)[0], 65535, dtype=np.float32)
    return curve


def _through(curve: np.ndarray | None, grey: np.ndarray) -> np.ndarray:
    return grey if curve is None else curve[np.rint(grey * 65535).astype(np.uint16)]


def is_srgb(image: Image.Image) -> bool:
    """Whether an image has no profile, or one that changes no 8-bit colour by more than a level."""
    transform = _transform(image.info.get("icc_profile"), "RGB", _srgb(), "RGB")
    if transform is None:
        return True
    steps = np.linspace(0, 255, 9).astype(np.uint8)
    colors = Image.fromarray(np.stack(np.meshgrid(steps, steps, steps), -1).reshape(27, 27, 3))
    apart = np.asarray(transform.apply(colors), int) - np.asarray(colors, int)
    return bool(abs(apart).max() <= 1)


def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _opened(profile: bytes) -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(io.BytesIO(profile))


def _transform(
    profile: bytes | None,
    mode: str,
    target: ImageCms.ImageCmsProfile,
    target_mode: str,
    flags: ImageCms.Flags = ImageCms.Flags.NONE,
) -> Any:
    """Build the transform from a profile to `target`; None if the profile is missing, broken or of another space."""
    if not profile:
        return None
    try:
        return ImageCms.buildTransform(
            _opened(profile),
            target,
            mode,
            target_mode,
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=flags | ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (OSError, ImageCms.PyCMSError):
        return None


SIDEWAYS = (5, 6, 7, 8)
_UPSIDE_DOWN = (3, 4, 7, 8)


def upright(array: np.ndarray, orientation: int) -> np.ndarray:
    """Turn a stored picture, `[H, W]` or `[H, W, C]`, upright; orientations other than EXIF's 2 to 8 change nothing."""
    if orientation in SIDEWAYS:
        array = array.swapaxes(0, 1)
    if orientation in _UPSIDE_DOWN:
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return np.ascontiguousarray(array)


def show_hidden(pixels: np.ndarray, alpha: np.ndarray) -> None:
    """Give wholly transparent pixels, in place, the colour of the nearest visible pixel, if there is one.

    Args:
        pixels: Colours, float32 `[H, W, 3]`.
        alpha: Opacity, float32 `[H, W]` in 0..1.
    """
    hidden = alpha == 0
    if hidden.all() or not hidden.any():
        return
    from scipy import ndimage  # Slow to import, and few pictures are transparent.

    rows, columns = ndimage.distance_transform_edt(hidden, return_distances=False, return_indices=True)
    step = max(1, _AT_ONCE // hidden.shape[1])
    for top in range(0, len(hidden), step):
        strip = slice(top, top + step)
        here = hidden[strip]
        pixels[strip][here] = pixels[rows[strip][here], columns[strip][here]]
