"""Sessions: a model that serves requests and keeps the styles it has extracted."""

import dataclasses
import itertools
import json
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

import wct_jax
from wct_jax.checks.arguments import check_kind
from wct_jax.networks.model import Model
from wct_jax.networks.model_file import load_model
from wct_jax.networks.parts import require_decoders, require_painter
from wct_jax.painting.color import preserve_color
from wct_jax.painting.options import BASELINES, Options
from wct_jax.painting.plan import Settings, method_of
from wct_jax.painting.strength import blend
from wct_jax.painting.style import Style, layers_of
from wct_jax.painting.stylization import stylize
from wct_jax.painting.texture import PASSES, noise
from wct_jax.painting.tiles.tiling import stylize_tiled
from wct_jax.photo.lut import Lut, fit_lut
from wct_jax.photo.transfer import transfer_photo
from wct_jax.pictures.picture import Picture
from wct_jax.studio.comparison import layers_compared, paint_compared, patches_of
from wct_jax.studio.frames import FramePainter
from wct_jax.studio.kept import keep_compilations
from wct_jax.studio.limits import Limits
from wct_jax.studio.progress import Cancelled as Cancelled
from wct_jax.studio.progress import Progress, reporter
from wct_jax.studio.reader import Reader
from wct_jax.studio.request import Look, Request, Texture
from wct_jax.studio.sources import Source, name_of
from wct_jax.studio.styles import Styles


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
        self._styles = Styles(self.model, self.model_name, limits, self._reader)
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
        stop, report = reporter(None, cancel), reporter(progress, cancel)
        stop("the start", 0, 0)
        options = self.resolve(request)
        photo = self._read_photo(request.photo, options)
        guides = self._guides(request, options, photo.pixels.shape[:2])
        style: Any = None
        if options.method == "elad-milanfar":
            style = patches_of(request.look, self._reader, options)
        else:
            styles = self._styles.read(request.look, options)
        with self._painting:
            stop("its turn", 0, 0)  # Others may have taken long.
            if style is None:
                style = self._styles.of(request.look, styles, options, report)
            painted = self._painted(photo, style, options, guides, report)
        metadata = dataclasses.replace(photo.metadata, settings=self._settings(request, options.method))
        return Picture(painted, photo.alpha, metadata, photo.notes, photo.bits if options.photo else 8)

    def check(self, request: Request) -> None:
        """Find out what is wrong with a request beside its photo, without painting.

        Raises:
            ValueError: The model has none of the layers, or a style cannot be read or is of another encoder.
        """
        self._styles.read(request.look, self.resolve(request))

    def frames(self, request: Request, sides: Sequence[int]) -> FramePainter:
        """The painter of a film's frames.

        Args:
            request: The request, whose photo is not read.
            sides: Rows and columns of the frames.

        Raises:
            ValueError: As `paint`; or the frames are too large for memory, or the options are those of single photos.
        """
        options = self.resolve(request)
        if options.photo:
            raise ValueError("`photo` changes single photos: expected a film to be painted")
        if options.method in BASELINES:
            raise ValueError(
                f"`method` {options.method} repaints single photos: expected cascade or one-pass for a film"
            )
        wide = tuple(side + 2 * options.margin for side in sides)
        if self.limits.tile_of(wide, "a frame", self.model, options) is not None:
            size = f"{sides[1]} x {sides[0]} pixels"
            raise ValueError(f"frames of {size} are too large for memory: expected smaller ones")
        styles = self._styles.read(request.look, options)
        with self._painting:
            style = self._styles.of(request.look, styles, options, reporter(None, None))
        return FramePainter(self.model, style, options, self._guides(request, options, sides))

    def _guides(self, request: Request, options: Options, sides: Sequence[int]) -> dict[str, Any]:
        """The maps of a request, and the numbers for which a map may stand."""
        read = self._reader.mask
        guides: dict[str, Any] = {"mask": [read(mask, sides) for mask in request.look.masks]}
        for name, source in (("alpha_map", request.alpha_map), ("structure_map", request.structure)):
            guides[name] = None if source is None else read(source, sides)
        guides["structure"] = options.structure if request.structure is None else 1.0
        guides["strength"] = options.strength if request.strength is None else read(request.strength, sides)
        return guides

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
        metadata = dataclasses.replace(photo.metadata, settings=self._settings(request, None))
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
        if options.method == "elad-milanfar":
            raise ValueError("`method` elad-milanfar takes the patches of a picture, and a style has none")
        if options.layers is None and options.method is None and not options.photo:
            layers: tuple[str, ...] | None = layers_of(self.model, None)  # Whichever method takes the style later.
        else:
            layers = None if options.photo else self._layers(options, self._method(options))
        options = dataclasses.replace(options, layers=layers)
        styles = self._styles.read(look, options)
        with self._painting:
            style = self._styles.of(look, styles, options, reporter(progress, None))
        return check_kind("look", style, Style, "one without masks")

    def resolve(self, request: Request) -> Options:
        """The options of a request with the method, layers and passes that they stand for with this model.

        Textures are made by the cascade unless the options say otherwise.

        Raises:
            ValueError: The model has none of the layers, or no painter for one pass.
        """
        options, texture = request.options, isinstance(request.photo, Texture)
        if options.photo:
            return options
        structured = 1.0 if request.structure is not None else options.structure
        given = options.method or ("cascade" if texture else None)
        method = self._method(dataclasses.replace(options, method=given, structure=structured))
        passes = options.passes or (PASSES if texture else None)
        return dataclasses.replace(options, method=method, layers=self._layers(options, method), passes=passes)

    def _method(self, options: Options) -> str:
        return method_of(self.model, options, Settings(options.alpha, structure=options.structure))

    def _layers(self, options: Options, method: str) -> tuple[str, ...] | None:
        if method in BASELINES:
            return layers_compared(self.model, options)
        in_one, wanted = method == "one-pass", options.layers
        if wanted is None and options.whiten_only:
            have = self.model.painter_layers if in_one else self.model.layers
            wanted = ("relu4_1",) if "relu4_1" in have else None  # As in the paper's figure 3.
        return (require_painter if in_one else require_decoders)(self.model, self.model_name, wanted)

    def _read_photo(self, source: Source | Texture, options: Options) -> Picture:
        if isinstance(source, Texture):
            # Or it is refused, before its noise fills the memory.
            self.limits.tile_of((source.height, source.width), "the texture", self.model, options)
            return Picture(noise(source.height, source.width, source.seed))
        return self._reader.photo(source, options.content_size)

    def _painted(
        self,
        photo: Picture,
        style: Any,
        options: Options,
        guides: dict[str, Any],
        report: Progress,
    ) -> np.ndarray:
        image: Any
        if options.method in BASELINES:
            image = paint_compared(self.model, photo, style, options, self.limits, report)
            strength = np.asarray(guides["strength"], np.float32)
            if (strength != 1).any():
                image = np.asarray(
                    blend(jnp.asarray(photo.pixels, jnp.float32), jnp.asarray(image), jnp.asarray(strength))
                )
            return self._colored(image, photo, options, guides)
        if options.photo:
            more: dict[str, Any] = {name: guides[name] for name in ("mask", "strength")}
            more |= {"content_weights": photo.alpha, "protect": options.protect}
            return transfer_photo(self.model, photo.pixels, style, **more)
        sides = tuple(side + 2 * options.margin for side in photo.pixels.shape[:2])
        tile = self.limits.tile_of(sides, "the photo", self.model, options)
        passes = options.passes or 1
        more = guides | {"content_weights": photo.alpha, "passes": passes}
        more |= {
            name: getattr(options, name) for name in ("method", "layers", "eps", "shrinkage", "transform", "margin")
        }
        if tile is None:
            begun, total = itertools.count(), len(options.layers or ()) * passes
            more |= {name: getattr(options, name) for name in ("swap_layers", "patch", "stride")}
            more["progress"] = lambda layer: report(layer, next(begun), total)
            image = np.asarray(stylize(self.model, photo.pixels, style, options.alpha, **more))
        else:
            more |= {"tile": tile, "folder": self._folder, "progress": report}
            image = stylize_tiled(self.model, photo.pixels, style, options.alpha, **more)
        return self._colored(image, photo, options, guides)

    def _colored(self, image: np.ndarray, photo: Picture, options: Options, guides: dict[str, Any]) -> np.ndarray:
        if options.preserve_color:
            out = image if image.flags.writeable else None
            more: dict[str, Any] = {"weights": photo.alpha, "strength": guides["strength"], "out": out}
            image = preserve_color(image, photo.pixels, options.preserve_color, **more)
        return image

    def _settings(self, request: Request, method: str | None) -> str:
        """The options of a result and the names of its styles and of the model, without their folders, as JSON."""
        look, photo = request.look, request.photo
        texture = dataclasses.asdict(photo) if isinstance(photo, Texture) else None
        names = {"styles": look.files, "style_masks": look.style_masks, "masks": look.masks}
        maps = {"alpha_map": request.alpha_map, "structure_map": request.structure, "strength_map": request.strength}
        settings: dict[str, Any] = {"wct_jax": wct_jax.__version__, "options": dataclasses.asdict(request.options)}
        settings["options"]["method"] = method
        settings |= {name: [os.path.basename(_name(file)) for file in files] for name, files in names.items()}
        settings |= {name: os.path.basename(_name(source)) for name, source in maps.items() if source is not None}
        settings |= {"style_weights": look.weights, "texture": texture, "model": os.path.basename(self.model_name)}
        return json.dumps({name: value for name, value in settings.items() if value or name == "styles"})


def _name(source: Any) -> str:
    kinds = {Texture: "the texture", Style: "style", type(None): "none"}
    return name_of(source, kinds.get(type(source), "picture"))
