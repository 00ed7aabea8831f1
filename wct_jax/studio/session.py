"""A session: a model that serves requests and keeps the styles it has extracted."""

import dataclasses
import functools
import hashlib
import itertools
import json
import os
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

import wct_jax
from wct_jax.checks.arguments import check_kind
from wct_jax.checks.arrays import as_image, on_host
from wct_jax.kernels.canvas import canvas_sides
from wct_jax.kernels.compiler import compiler
from wct_jax.networks.model import Model
from wct_jax.networks.model_file import load_model, require_decoders
from wct_jax.painting.cascade import prepare, stylize
from wct_jax.painting.color import preserve_color
from wct_jax.painting.options import Options
from wct_jax.painting.style import Style, extract_style, mix_styles, white_style
from wct_jax.painting.style_file import is_style_file, load_style
from wct_jax.painting.texture import PASSES, noise
from wct_jax.painting.tiles.tiling import extract_style_tiled, stylize_tiled
from wct_jax.pictures.images import Picture, read_picture
from wct_jax.pictures.mask import fit_mask, mask_of
from wct_jax.pictures.source import open_source, source_name
from wct_jax.studio.kept import keep_compilations
from wct_jax.studio.limits import Limits
from wct_jax.studio.request import Look, Request, Source, Texture
from wct_jax.system.machine import usable_memory
from wct_jax.system.recent import Recent

Progress = Callable[[str, int, int], None]
"""Told a layer (or "style"), how many steps are done, and how many there are."""


class Cancelled(Exception):  # noqa: N818 (it is no error)
    """A request was cancelled before its result was there."""


class Session:
    """A model that paints, and keeps the styles it has extracted: each picture's once, whatever it is called.

    Several threads may use one session; it paints one result at a time.

    >>> session = Session("compact")
    >>> photo = np.full((48, 64, 3), 0.5, np.float32)
    >>> session.paint(photo, photo[:32] ** 2, Options(layers=["relu1_1"])).pixels.shape
    (48, 64, 3)
    """

    def __init__(
        self,
        model: Model | str | os.PathLike[str] = "compact",
        limits: Limits = Limits(),
        *,
        folder: str | os.PathLike[str] | None = None,
        keep_compiled: bool = False,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Load a model.

        Args:
            model: A model, or the path or name of one, see `load_model`.
            limits: How much to take.
            folder: Where unfinished images too large for memory are; None for the system's folder for such.
            keep_compiled: Keep what is compiled on disk, for other processes. It changes a setting of JAX.
            note: Told sentences that a person should know of the files.

        Raises:
            ValueError: As `load_model`.
        """
        named = not isinstance(model, Model)
        self.model_name = str(model) if named else "model"
        """What the model is called in messages."""
        self.model: Model = load_model(model) if named else model  # type: ignore[arg-type, assignment]
        self.limits = limits
        self._folder, self._note = folder, note
        self._styles: Recent[str, Style] = Recent(limits.styles, _bytes_of)
        self._photo: tuple[str, Picture] | None = None
        self._keep, self._prepared, self._dropped = keep_compiled, set[object](), compiler().dropped
        # Held while something is computed: one result at a time is as fast, and takes the memory of one.
        self._painting = threading.RLock()

    def paint(
        self,
        photo: Source | Texture,
        style: "Look | Source | Style | None" = None,
        options: Options = Options(),
        *,
        progress: Progress | None = None,
        cancel: Callable[[], bool] | None = None,
    ) -> Picture:
        """Paint a photo, or a texture, in a style.

        Args:
            photo: A path, an open file, an array `[H, W, 3]` in 0..1, or a picture; or the size of a texture.
            style: The same, a style file or a style; a `Look` for several of them; None with `whiten_only`.
            options: How.
            progress: Told of every step.
            cancel: Asked between the steps whether to stop, such as `threading.Event().is_set`.

        Returns:
            The result, with the photo's alpha and metadata, and the settings that it was made with.

        Raises:
            ValueError: What was asked for contradicts itself or cannot be read or painted.
            Cancelled: `cancel` said so.
        """
        look = style if isinstance(style, Look) else Look(() if style is None else (style,))
        return self.serve(Request(photo, look, options), progress=progress, cancel=cancel)

    def serve(
        self, request: Request, *, progress: Progress | None = None, cancel: Callable[[], bool] | None = None
    ) -> Picture:
        """Paint what a request asks for; see `paint`, which makes one.

        Args:
            request: The request.
            progress: As for `paint`.
            cancel: As for `paint`.
        """
        report = _reporter(progress, cancel)
        options = dataclasses.replace(request.options, layers=self.layers(request.options))
        if isinstance(request.photo, Texture):
            options = dataclasses.replace(options, passes=options.passes or PASSES)
        photo = self._read_photo(request.photo, options)
        sides = photo.pixels.shape[:2]
        guides: dict[str, Any] = {"mask": [self._mask(mask, sides) for mask in request.look.masks]}
        guides["alpha_map"] = None if request.alpha_map is None else self._mask(request.alpha_map, sides)
        guides["strength"] = options.strength if request.strength is None else self._mask(request.strength, sides)
        styles = self._read_styles(request.look, options)
        with self._painting:
            self._prepare(photo, request, options, styles)
            style = self._style_of(request.look, styles, options, report)
            painted = self._painted(photo, style, options, guides, report)
        metadata = dataclasses.replace(photo.metadata, settings=self._settings(request))
        return Picture(painted, photo.alpha, metadata, photo.notes)

    def style(self, look: Look, options: Options = Options(), progress: Progress | None = None) -> Style:
        """The style of a look without masks, extracted and mixed.

        Args:
            look: Its styles.
            options: Layers and the size of pictures.
            progress: As for `paint`.

        Raises:
            ValueError: They cannot be read or mixed, or are several with masks.
        """
        options = dataclasses.replace(options, layers=self.layers(options))
        styles = self._read_styles(look, options)
        with self._painting:
            style = self._style_of(look, styles, options, _reporter(progress, None))
        return check_kind("look", style, Style, "one without masks")

    def layers(self, options: Options) -> tuple[str, ...]:
        """The layers that options stand for with this model.

        Raises:
            ValueError: The model has none of them.
        """
        wanted: Sequence[str] | None = options.layers
        if wanted is None and options.whiten_only and "relu4_1" in self.model.layers:
            wanted = ["relu4_1"]  # As in the paper's figure 3.
        return require_decoders(self.model, self.model_name, wanted)

    def _read_photo(self, source: Source | Texture, options: Options) -> Picture:
        if isinstance(source, Texture):
            # Or it is refused, before its noise fills the memory.
            self._tile((source.height, source.width), "the texture", options)
            return Picture(noise(source.height, source.width, source.seed))
        key = f"{_digest(source)} {options.content_size}"
        last = self._photo
        if last is None or last[0] != key:
            last = self._photo = key, self._picture(source, options.content_size)
        return last[1]

    def _picture(self, source: Source, size: int | None = None) -> Picture:
        """Read a picture within the limits, and say what a person should know of it."""
        if isinstance(source, Picture | np.ndarray):
            given = source if isinstance(source, Picture) else Picture(source)
            return dataclasses.replace(given, pixels=on_host("picture", as_image("picture", given.pixels, single=True)))
        # If nothing was asked for, no more than there is, since a container would be killed; but small ones always.
        budget = min(self.limits.memory or max(usable_memory().free, 2**28), sys.maxsize)
        picture = read_picture(source, size, max_pixels=self.limits.max_pixels, budget=int(budget))
        for sentence in picture.notes:
            self._note(sentence)
        return picture

    def _mask(self, source: Source, sides: Sequence[int]) -> np.ndarray:
        name, mask = _name(source), mask_of(self._picture(source))
        fitting = fit_mask(name, mask, sides)
        if fitting.shape != mask.shape:
            (height, width), (rows, columns) = fitting.shape, mask.shape
            self._note(f"{name}: resized from {columns} x {rows} to {width} x {height} pixels, the size of its picture")
        return fitting

    def _read_styles(self, look: Look, options: Options) -> "list[_Reading | Style | None]":
        """For each style of a look itself, or its picture if it is not known yet."""
        masks = look.style_masks or (None,) * len(look.files)
        return [
            None if file is None else self._read_style(file, mask, options)
            for file, mask in zip(look.files, masks, strict=True)
        ]

    def _read_style(self, source: Source | Style, mask: Source | None, options: Options) -> "_Reading | Style":
        if isinstance(source, Style) or (isinstance(source, str | os.PathLike) and is_style_file(source)):
            return self._whole_style(source, mask, options)
        about = [_digest(source), "" if mask is None else _digest(mask), options.style_size, options.layers]
        key = repr([*about, options.swap_layers])
        known = self._styles.get(key)
        if known is not None:
            return known
        name, picture = _name(source), self._picture(source, options.style_size)
        if picture.alpha is not None and not picture.alpha.any():
            raise ValueError(f"{name} is wholly transparent: expected a picture with a style to take")
        if mask is not None:
            weights = self._mask(mask, picture.pixels.shape[:2])
            weights = weights if picture.alpha is None else picture.alpha * weights
            if not weights.any():
                raise ValueError(
                    f"{_name(mask)} leaves nothing of {name}: expected some white where the style is to be taken"
                )
            picture = Picture(picture.pixels, weights)
        return _Reading(key, name, picture)

    def _whole_style(self, source: Style | str | os.PathLike[str], mask: Source | None, options: Options) -> Style:
        name = "the style" if isinstance(source, Style) else os.fspath(source)
        kind = "is a style" if isinstance(source, Style) else "is a style file"
        if mask is not None:
            raise ValueError(f"{name} {kind}, which `style_mask` cannot be laid over: expected its picture")
        if options.swap_layers and not isinstance(source, Style):
            raise ValueError(f"{name} {kind}, which has no patches for `swap_layers`: expected its picture")
        style = source if isinstance(source, Style) else load_style(source)
        if style.digest != self.model.digest:
            raise ValueError(
                f"{name} was made with another encoder: its digest is {style.digest[:12]}, "
                f"that of {self.model_name} is {self.model.digest[:12]}"
            )
        if missing := [layer for layer in options.layers or () if layer not in style.moments]:
            raise ValueError(
                f"{name} has no statistics for {', '.join(missing)}: expected `layers` of {', '.join(style.moments)}"
            )
        return style

    def _prepare(
        self, photo: Picture, request: Request, options: Options, styles: "Sequence[_Reading | Style | None]"
    ) -> None:
        """Compile what a request will need, once for all requests of such sizes."""
        name = _name(request.photo)
        new = [each for each in styles if isinstance(each, _Reading)]
        tiled = self._tile(_sides(photo, options.margin), name, options) or any(
            self._tile(_sides(each.picture), each.name, options) for each in new
        )
        if self._keep:
            keep_compilations(ahead=not tiled)
            self._keep = False
        if self._dropped != compiler().dropped:
            self._dropped = compiler().dropped
            self._prepared.clear()
        if tiled:
            return
        regions = sum(style is not None for style in styles) if request.look.masks else 0
        pictures = [(each.picture.pixels.shape, each.picture.alpha is not None) for each in new]
        sizes = sorted((canvas_sides(shape[:2]), weighted) for shape, weighted in pictures)
        sides, weighted = _sides(photo, options.margin), photo.alpha is not None or options.margin > 0
        mapped = request.alpha_map is not None
        key = canvas_sides(sides), weighted, tuple(sizes), regions, mapped, options.layers, options.transform
        if key in self._prepared:
            return
        self._prepared.add(key)
        more = {"content_weighted": weighted, "regions": regions, "mapped": mapped}
        prepare(self.model, (*sides, 3), pictures, options, **more)  # type: ignore[arg-type]

    def _style_of(
        self, look: Look, styles: "Sequence[_Reading | Style | None]", options: Options, report: Progress
    ) -> Style | list[Style | None]:
        """The style of a look, mixed, or one for each region."""
        if options.whiten_only:
            return white_style(self.model, options.layers)
        each = [self._extract(style, options, report) if isinstance(style, _Reading) else style for style in styles]
        return each if look.masks else mix_styles([style for style in each if style], look.weights)

    def _extract(self, reading: "_Reading", options: Options, report: Progress) -> Style:
        known = self._styles.get(reading.key)  # Since it was read, another thread or another style may have made it.
        if known is not None:
            return known
        report("style", 0, 1)
        picture, tile = reading.picture, self._tile(_sides(reading.picture), reading.name, options)
        if tile is None:
            swap = options.swap_layers
            style = extract_style(self.model, picture.pixels, options.layers, weights=picture.alpha, swap_layers=swap)
        else:

            def tell(_: str, done: int, total: int) -> None:
                report("style", done, total)

            more: dict[str, Any] = {"tile": tile, "weights": picture.alpha, "progress": tell}
            style = extract_style_tiled(self.model, picture.pixels, options.layers, **more)
        style = self._styles.add(reading.key, style)
        self._styles.trim()
        return style

    def _painted(
        self,
        photo: Picture,
        style: Style | list[Style | None],
        options: Options,
        guides: dict[str, Any],
        report: Progress,
    ) -> np.ndarray:
        tile = self._tile(_sides(photo, options.margin), "the photo", options)
        passes = options.passes or 1
        more: dict[str, Any] = guides | {"content_weights": photo.alpha, "passes": passes}
        more |= {name: getattr(options, name) for name in ("layers", "eps", "transform", "margin")}
        if tile is None:
            begun, total = itertools.count(), len(options.layers or ()) * passes
            more |= {name: getattr(options, name) for name in ("swap_layers", "patch", "stride")}
            more["progress"] = lambda layer: report(layer, next(begun), total)
            image = np.asarray(stylize(self.model, photo.pixels, style, options.alpha, **more))
        else:
            more |= {"tile": tile, "folder": self._folder, "progress": report}
            image = stylize_tiled(self.model, photo.pixels, style, options.alpha, **more)
        if options.preserve_color:
            out = image if image.flags.writeable else None
            more = {"weights": photo.alpha, "strength": guides["strength"], "out": out}
            image = preserve_color(image, photo.pixels, options.preserve_color, **more)
        return image

    def _tile(self, sides: tuple[int, int], name: str, options: Options) -> int | None:
        """The side of the tiles to cut a picture into, or None to leave it whole."""
        tile = self.limits.tile_of(sides, name, self.model, options.layers or ())
        if tile and options.swap_layers:
            height, width = sides
            raise ValueError(
                f"{name} has {width} x {height} pixels, too many for `swap_layers`, which compares all patches and "
                "is not done in tiles: make it smaller, as with `content_size` 1024 `style_size` 1024"
            )
        return tile

    def _settings(self, request: Request) -> str:
        """What a result was made with, as JSON: its options, and the names of its styles and of the model."""
        styles = ["none" if file is None else os.path.basename(_name(file)) for file in request.look.files]
        return json.dumps(
            {
                "wct_jax": wct_jax.__version__,
                "options": dataclasses.asdict(request.options),
                "styles": styles,
                "model": os.path.basename(self.model_name),
            }
        )


@dataclass(frozen=True, eq=False)
class _Reading:
    """A picture of which the style is still to be extracted.

    Attributes:
        key: Of the style, among those that are kept.
        name: Of the picture.
        picture: The picture.
    """

    key: str
    name: str
    picture: Picture


def _bytes_of(style: Style) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(style))


def _sides(picture: Picture, margin: int = 0) -> tuple[int, int]:
    height, width = picture.pixels.shape[:2]
    return height + 2 * margin, width + 2 * margin


def _name(source: object) -> str:
    """What to call a source in messages."""
    if isinstance(source, Texture):
        return "the texture"
    if isinstance(source, Style):
        return "style"
    return "picture" if isinstance(source, Picture | np.ndarray) else source_name(source)  # type: ignore[arg-type]


def _digest(source: Source) -> str:
    """SHA-256 of a picture's file, or of its pixels.

    Raises:
        ValueError: The file cannot be read.
    """
    digest = hashlib.sha256()
    if isinstance(source, Picture | np.ndarray):
        given = source if isinstance(source, Picture) else Picture(source)
        for array in (given.pixels, given.alpha):
            digest.update(repr(None if array is None else (np.shape(array), np.asarray(array).dtype)).encode())
            digest.update(b"" if array is None else np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()
    try:
        with open_source(source) as file:
            for chunk in iter(functools.partial(file.read, 2**20), b""):
                digest.update(chunk)
    except OSError as error:
        raise ValueError(f"cannot read {source_name(source)}: {error.strerror or error}") from None
    return digest.hexdigest()


def _reporter(progress: Progress | None, cancel: Callable[[], bool] | None) -> Progress:
    """What is told of progress, and asks whether to go on."""

    def report(name: str, done: int, total: int) -> None:
        if cancel and cancel():
            raise Cancelled(f"cancelled before {name}")
        if progress:
            progress(name, done, total)

    return report
