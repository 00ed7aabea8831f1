"""Sessions: a model that serves requests and keeps the styles it has extracted."""

import dataclasses
import itertools
import json
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

import wct_jax
from wct_jax.checks.arguments import check_kind
from wct_jax.networks.model import Model
from wct_jax.networks.model_file import load_model, require_decoders
from wct_jax.painting.color import preserve_color
from wct_jax.painting.options import Options
from wct_jax.painting.style import Style, extract_style, mix_styles, white_style
from wct_jax.painting.style_file import is_style_file, load_style
from wct_jax.painting.stylization import stylize
from wct_jax.painting.texture import PASSES, noise
from wct_jax.painting.tiles.tiling import extract_style_tiled, stylize_tiled
from wct_jax.photo.lut import Lut, fit_lut
from wct_jax.photo.transfer import layers_of_photo, transfer_photo, with_colors
from wct_jax.pictures.picture import Picture
from wct_jax.studio.kept import keep_compilations
from wct_jax.studio.limits import Limits
from wct_jax.studio.reader import Reader
from wct_jax.studio.request import Look, Request, Texture
from wct_jax.studio.sources import Source, held, name_of
from wct_jax.system.recent import Recent

Progress = Callable[[str, int, int], None]
"""Called with a layer or "style", the number of steps done and the number of steps in all."""


class Cancelled(Exception):  # noqa: N818 (it is no error)
    """A request was cancelled before its result was finished."""


class Session:
    """A model that paints and keeps the styles it has extracted, so that each picture is encoded once.

    Pictures are known by their content, not their names. Several threads may use one session; it paints one result at a
    time.

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
            limits: The memory and the pixels that a result may take.
            folder: Folder for unfinished images that are too large for memory; None for the system's temporary folder.
            keep_compiled: Whether compiled code is kept on disk for other processes, which changes a setting of JAX.
            note: Called, in the thread that paints, with sentences that a person should know about the files.

        Raises:
            ValueError: The model file is missing, damaged or of another kind.
        """
        named = not isinstance(model, Model)
        self.model_name = str(model) if named else "model"
        """The model's name in messages."""
        self.model: Model = load_model(model) if named else model  # type: ignore[arg-type, assignment]
        self.limits = limits
        self._folder, self._reader = folder, Reader(limits, note)
        self._styles: Recent[str, Style] = Recent(limits.styles, _bytes_of)
        if keep_compiled:
            keep_compilations()
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
            style: A photo's kinds of source, a style file or a style; a `Look` for several; None with `whiten_only`.
            options: Options of the painting.
            progress: Called before each layer, or after each tile.
            cancel: Called between layers and tiles to ask whether to stop, such as `threading.Event().is_set`.

        Returns:
            The result, with the photo's alpha and metadata and the settings that it was made with.

        Raises:
            ValueError: The request contradicts itself, or cannot be read or painted.
            Cancelled: `cancel` returned True.
        """
        if isinstance(style, list | tuple):
            raise ValueError("several styles must be in a Look, which mixes them or puts each in its place, got a list")
        look = style if isinstance(style, Look) else Look(() if style is None else (style,))
        return self.serve(Request(photo, look, options), progress=progress, cancel=cancel)

    def serve(
        self, request: Request, *, progress: Progress | None = None, cancel: Callable[[], bool] | None = None
    ) -> Picture:
        """Paint a request; `paint` makes one and explains the rest.

        Args:
            request: The request.
            progress: As for `paint`.
            cancel: As for `paint`.

        Raises:
            ValueError: As `paint`.
            Cancelled: As `paint`.
        """
        stop, report = _reporter(None, cancel), _reporter(progress, cancel)
        stop("the start", 0, 0)
        options = dataclasses.replace(request.options, layers=self.layers(request.options))
        if isinstance(request.photo, Texture):
            options = dataclasses.replace(options, passes=options.passes or PASSES)
        photo = self._read_photo(request.photo, options)
        sides = photo.pixels.shape[:2]
        read = self._reader.mask
        guides: dict[str, Any] = {"mask": [read(mask, sides) for mask in request.look.masks]}
        guides["alpha_map"] = None if request.alpha_map is None else read(request.alpha_map, sides)
        guides["strength"] = options.strength if request.strength is None else read(request.strength, sides)
        styles = self._read_styles(request.look, options)
        with self._painting:
            stop("its turn", 0, 0)  # Others may have taken long.
            style = self._style_of(request.look, styles, options, report)
            painted = self._painted(photo, style, options, guides, report)
        metadata = dataclasses.replace(photo.metadata, settings=self._settings(request))
        return Picture(painted, photo.alpha, metadata, photo.notes, photo.bits if options.photo else 8)

    def look_up(self, request: Request, lut: Lut) -> Picture:
        """Change a photo by a table.

        Args:
            request: The photo, its options, of which size and strength count, and the name of the table as its style.
            lut: The table.
        """
        photo, share = self._read_photo(request.photo, request.options), np.float32(request.options.strength)
        changed = lut.apply(photo.pixels)
        if share != 1:
            changed = photo.pixels + share * (changed - photo.pixels)
        metadata = dataclasses.replace(photo.metadata, settings=self._settings(request))
        return Picture(changed, photo.alpha, metadata, photo.notes, photo.bits)

    def lut_of(self, request: Request, result: Picture) -> Lut:
        """The table that comes closest to the change which `serve` made for a request."""
        photo = self._read_photo(request.photo, request.options)
        return fit_lut(photo.pixels, result.pixels, weights=photo.alpha)

    def style(self, look: Look, options: Options = Options(), progress: Progress | None = None) -> Style:
        """The style of a look without masks, extracted and mixed.

        Args:
            look: The styles.
            options: Options; layers, swap layers and the size of pictures count.
            progress: As for `paint`.

        Raises:
            ValueError: The styles cannot be read or mixed, or have masks.
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
        if options.photo:
            return layers_of_photo(self.model, self.model_name, options.layers)
        wanted: Sequence[str] | None = options.layers
        if wanted is None and options.whiten_only and "relu4_1" in self.model.layers:
            wanted = ["relu4_1"]  # As in the paper's figure 3.
        return require_decoders(self.model, self.model_name, wanted)

    def _read_photo(self, source: Source | Texture, options: Options) -> Picture:
        if isinstance(source, Texture):
            # Or it is refused, before its noise fills the memory.
            self._tile((source.height, source.width), "the texture", options)
            return Picture(noise(source.height, source.width, source.seed))
        return self._reader.photo(source, options.content_size)

    def _read_styles(self, look: Look, options: Options) -> "list[_Reading | Style | None]":
        """The styles of a look, with the pictures of those that are still to be extracted."""
        masks = look.style_masks or (None,) * len(look.files)
        return [
            None if file is None else self._read_style(file, mask, options)
            for file, mask in zip(look.files, masks, strict=True)
        ]

    def _read_style(self, source: Any, mask: Any, options: Options) -> "_Reading | Style":
        if isinstance(source, Style) or (isinstance(source, str | os.PathLike) and is_style_file(source)):
            return self._whole_style(source, mask, options)
        source, mask = held(source), held(mask)
        digests = [None if each is None else self._reader.digest(each) for each in (source, mask)]
        key = repr([*digests, options.style_size, options.layers, options.swap_layers, options.photo])
        known = self._styles.get(key)
        if known is not None:
            return known
        name, picture = _name(source), self._reader.picture(source, options.style_size)
        if picture.alpha is not None and not picture.alpha.any():
            raise ValueError(f"{name} is wholly transparent: expected a picture with a style to take")
        if mask is not None:
            weights = self._reader.mask(mask, picture.pixels.shape[:2])
            weights = weights if picture.alpha is None else picture.alpha * weights
            if not weights.any():
                where = name_of(mask, "the mask")
                raise ValueError(
                    f"{where} leaves nothing of {name}: expected some white where the style is to be taken"
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

    def _style_of(
        self, look: Look, styles: "Sequence[_Reading | Style | None]", options: Options, report: Progress
    ) -> Style | list[Style | None]:
        """The styles of a look, mixed into one or one for each region."""
        if options.whiten_only:
            return white_style(self.model, options.layers)
        each = [self._extract(style, options, report) if isinstance(style, _Reading) else style for style in styles]
        return each if look.masks else mix_styles([style for style in each if style], look.weights)

    def _extract(self, reading: "_Reading", options: Options, report: Progress) -> Style:
        known = self._styles.get(reading.key)  # Another thread, or the same picture before, may have made it.
        if known is not None:
            return known
        report("style", 0, 1)
        picture, tile = reading.picture, self._tile(_sides(reading.picture), reading.name, options)
        if tile is None:
            swap = options.swap_layers
            style = extract_style(self.model, picture.pixels, options.layers, weights=picture.alpha, swap_layers=swap)
        else:
            more: dict[str, Any] = {"progress": lambda _, done, total: report("style", done, total)}
            more |= {"tile": tile, "weights": picture.alpha}
            style = extract_style_tiled(self.model, picture.pixels, options.layers, **more)
        if options.photo:
            style = with_colors(style, picture.pixels, picture.alpha)
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
        if options.photo:
            names = ("structure", "layers", "protect", "eps", "shrinkage", "transform")
            more: dict[str, Any] = {name: getattr(options, name) for name in names}
            more |= {"strength": guides["strength"], "mask": guides["mask"], "content_weights": photo.alpha}
            return transfer_photo(self.model, photo.pixels, style, options.alpha, **more)
        tile = self._tile(_sides(photo, options.margin), "the photo", options)
        passes = options.passes or 1
        more = guides | {"content_weights": photo.alpha, "passes": passes}
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
        """The side of the tiles that a picture is painted in, or None to leave it whole."""
        tile = self.limits.tile_of(sides, name, self.model, options.layers or ())
        if tile and options.swap_layers:
            height, width = sides
            raise ValueError(
                f"{name} has {width} x {height} pixels, too many for `swap_layers`, which compares all patches and "
                "is not done in tiles: make it smaller, as with `content_size` 1024 `style_size` 1024"
            )
        return tile

    def _settings(self, request: Request) -> str:
        """The options of a result and the names of its styles and of the model, without their folders, as JSON."""
        look, photo = request.look, request.photo
        texture = dataclasses.asdict(photo) if isinstance(photo, Texture) else None
        names = {"styles": look.files, "style_masks": look.style_masks, "masks": look.masks}
        maps = {"alpha_map": request.alpha_map, "strength_map": request.strength}
        settings: dict[str, Any] = {"wct_jax": wct_jax.__version__, "options": dataclasses.asdict(request.options)}
        settings |= {name: [os.path.basename(_name(file)) for file in files] for name, files in names.items()}
        settings |= {name: os.path.basename(_name(source)) for name, source in maps.items() if source is not None}
        settings |= {"style_weights": look.weights, "texture": texture, "model": os.path.basename(self.model_name)}
        return json.dumps({name: value for name, value in settings.items() if value or name == "styles"})


@dataclass(frozen=True, eq=False)
class _Reading:
    """A picture whose style is still to be extracted.

    Attributes:
        key: The key of the style among those that are kept.
        name: The picture's name in messages.
        picture: The picture, with the style mask in its alpha.
    """

    key: str
    name: str
    picture: Picture


def _bytes_of(style: Style) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(style))


def _sides(picture: Picture, margin: int = 0) -> tuple[int, int]:
    height, width = picture.pixels.shape[:2]
    return height + 2 * margin, width + 2 * margin


def _name(source: Any) -> str:
    kinds = {Texture: "the texture", Style: "style", type(None): "none"}
    return name_of(source, kinds.get(type(source), "picture"))


def _reporter(progress: Progress | None, cancel: Callable[[], bool] | None) -> Progress:
    """Report progress, after asking whether to stop."""

    def report(name: str, done: int, total: int) -> None:
        if cancel and cancel():
            raise Cancelled(f"cancelled at {name}")
        if progress:
            progress(name, done, total)

    return report
