"""Orders: the form of a request for a picture, read and checked."""

import hashlib
import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from wct_jax.painting.options import Options
from wct_jax.pictures.pixels import resized
from wct_jax.server.bounds import Bounds
from wct_jax.server.refusal import Refused
from wct_jax.server.uploads import Form, Upload
from wct_jax.studio.request import Look, Request, Texture

FILES = ("content", "style", "mask", "alpha_map", "strength_map", "structure_map")
TEXTS = ("style_id", "weights", "options", "format", "quality", "strip", "longest", "seed", "texture")
"""The fields of the form."""

PICTURES = ("png", "jpeg")
SUFFIXES = {"png": ".png", "jpeg": ".jpg", "mp4": ".mp4"}
# Of the command line, too: beyond these a border costs more than the picture.
_MOST_MARGIN = 256
# Style swap compares each patch of the photo with each of the style, in one step that nobody can cancel.
_MOST_COMPARISONS = 2**31
# Where `relu3_1` has a quarter of the pixels on each side.
_LONGEST_TEXTURE = 20000


@dataclass(frozen=True, kw_only=True)
class Order:
    """One picture to be painted.

    Attributes:
        content: The photo, or the size of a texture.
        styles: The styles; None for a region that stays as it is.
        weights: Their shares in a mixture, or None.
        masks: White where the style of the same place goes.
        maps: By the name of a request's field, the picture that guides it.
        options: How it is painted.
        side: The length to which the short side is resized for a preview, or None.
        format: A key of `SUFFIXES`.
        quality: The quality of a JPEG.
        strip: Whether the result says nothing of the photo and of how it was made.
    """

    content: Upload | Texture
    styles: tuple[Upload | None, ...]
    weights: tuple[float, ...] | None = None
    masks: tuple[Upload, ...] = ()
    maps: dict[str, Upload]
    options: Options
    side: int | None = None
    format: str = "png"
    quality: int = 95
    strip: bool = False

    def request(self) -> Request:
        """The request, with files to read.

        Raises:
            ValueError: Its parts contradict each other.
        """
        content = self.content if isinstance(self.content, Texture) else self.content.open()
        styles = tuple(style and style.open() for style in self.styles)
        look = Look(styles, self.weights, masks=tuple(mask.open() for mask in self.masks))
        options = replace(self.options, content_size=self.side or self.options.content_size)
        return Request(content, look, options, **{name: each.open() for name, each in self.maps.items()})

    @property
    def name(self) -> str:
        """The name of the result's file."""
        content = "texture" if isinstance(self.content, Texture) else self.content.stem
        style = "+".join(style.stem if style else "none" for style in self.styles)[:60] or "white"
        return f"{content}__{style}{SUFFIXES[self.format]}"

    @property
    def digest(self) -> str:
        """SHA-256 of everything that the result depends on, in hexadecimal."""

        def known(value: Any) -> Any:
            return [value.digest, value.name] if isinstance(value, Upload) else value

        parts = {name: known(value) for name, value in vars(self).items() if name not in ("styles", "masks", "maps")}
        parts |= {"styles": [known(each) for each in self.styles], "masks": [known(each) for each in self.masks]}
        parts |= {"maps": {name: known(each) for name, each in sorted(self.maps.items())}}
        return hashlib.sha256(repr(parts).encode()).hexdigest()


def uploads_of(form: Form, styles: Iterable[Upload | None]) -> Iterator[Upload]:
    """All pictures of a request, those of kept styles included."""
    yield from (file for name, files in form.files.items() if name not in ("style", "film") for file in files)
    yield from (style for style in styles if style)


def styles_of(form: Form, kept: Callable[[str], Upload]) -> tuple[Upload | None, ...]:
    """The styles of a form: its files, then those that were kept before, by their ids.

    Raises:
        Refused: There is no such id.
    """
    ids = form.texts.get("style_id", [])
    return (*form.files.get("style", []), *(None if name == "none" else kept(name) for name in ids))


def order_of(
    form: Form, styles: tuple[Upload | None, ...], size_of: Callable[[Upload], tuple[int, int]], bounds: Bounds
) -> Order:
    """Read the form of a request.

    Args:
        form: The form.
        styles: Its styles.
        size_of: The width and height of a picture, from its header.
        bounds: The most that may be asked for.

    Raises:
        Refused: The form contradicts itself, or asks for too much.
        ValueError: As of `Request`.
    """
    options = options_of(form)
    photo, texture, film = form.file("content"), _texture(form, bounds), form.file("film")
    content = film or photo or texture
    if not content or (photo and texture):
        raise Refused(422, "expected a photo as `content`, or `texture`, got " + ("both" if photo else "neither"))
    format = "mp4" if film else form.text("format") or "png"
    if format not in (SUFFIXES if film else PICTURES):
        raise Refused(422, f"`format` must be one of {', '.join(PICTURES)}, got {format[:40]!r}")
    longest = form.whole("longest", 16, 10**5)
    maps = {"alpha_map": "alpha_map", "strength": "strength_map", "structure": "structure_map"}
    order = Order(
        content=content,
        styles=styles,
        weights=_weights(form),
        masks=tuple(form.files.get("mask", [])),
        maps={name: file for name, field in maps.items() if (file := form.file(field))},
        options=options,
        side=_side(size_of(photo), longest, options.content_size) if photo and longest else None,
        format=format,
        quality=form.whole("quality", 1, 100) or 95,
        strip=form.switch("strip", False),
    )
    order.request()
    pixels = sum(width * height for width, height in map(size_of, uploads_of(form, styles)))
    if pixels > 2 * bounds.pixels:
        most = 2 * bounds.pixels / 1e6
        raise Refused(413, f"all pictures together have {pixels / 1e6:.0f} megapixels: expected at most {most:g}")
    _check_swap(order, size_of)
    return order


def options_of(form: Form) -> Options:
    """The options of a form."""
    options = Options.from_json(form.text("options") or "{}")
    if options.margin > _MOST_MARGIN:
        raise Refused(422, f"margin must be at most {_MOST_MARGIN}, got {options.margin}")
    return options


def _side(size: tuple[int, int], longest: int, content_size: int | None) -> int | None:
    """The short side of a preview, or None if the picture is as small."""
    whole = resized(size, content_size) if content_size else size
    if max(whole) <= longest:
        return content_size
    side = max(1, round(min(whole) * longest / max(whole)))
    return side - 1 if side > 1 and max(resized(size, side)) > longest else side


def _check_swap(order: Order, size_of: Callable[[Upload], tuple[int, int]]) -> None:
    options, content = order.options, order.content
    if not options.swap_layers or not order.styles or order.format == "mp4":
        return
    painted = (content.width, content.height) if isinstance(content, Texture) else size_of(content)
    sizes = [(painted, order.side or options.content_size)]
    sizes += [(size_of(style), options.style_size) for style in order.styles if style]
    photo, *styles = (math.prod(resized(size, side) if side else size) for size, side in sizes)
    for layer in options.swap_layers:
        level = int(layer[4]) if re.match("relu[1-5]", layer) else 1
        patches = 4 ** (level - 1) * options.stride**2
        if photo / patches * (max(styles) / patches) > _MOST_COMPARISONS:
            raise Refused(
                422,
                f"`swap_layers` {layer} would compare {photo // patches} patches with {max(styles) // patches}, which "
                "takes too long: expected a smaller `content_size` and `style_size`, or a deeper layer",
            )


def _texture(form: Form, bounds: Bounds) -> Texture | None:
    seed, text = form.whole("seed", 0, 2**32 - 1), form.text("texture")
    if not text:
        return None
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and len(text) < 20):
        raise Refused(422, f"`texture` must be a size such as 800x600, got {text[:40]!r}")
    if int(width) * int(height) > bounds.pixels or max(int(width), int(height)) > _LONGEST_TEXTURE:
        raise Refused(413, f"a texture may have {bounds.pixels / 1e6:g} megapixels, and {_LONGEST_TEXTURE} on a side")
    return Texture(int(width), int(height), seed or 0)


def _weights(form: Form) -> tuple[float, ...] | None:
    weights = form.json("weights")
    if not isinstance(weights, list | None):
        raise Refused(422, "`weights` must be a JSON list of numbers, one for each style")
    return None if weights is None else tuple(weights)
