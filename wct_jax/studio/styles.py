"""The styles of a session: read from pictures and style files, extracted once, mixed."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax

from wct_jax.networks.model import Model
from wct_jax.painting.options import Options
from wct_jax.painting.style import COLORS, Style, extract_style, mix_styles, white_style
from wct_jax.painting.style_file import is_style_file, load_style
from wct_jax.painting.tiles.tiling import extract_style_tiled
from wct_jax.photo.fit import fitted_layers
from wct_jax.photo.transfer import extract_photo_style, with_colors
from wct_jax.pictures.picture import Picture
from wct_jax.studio.limits import Limits
from wct_jax.studio.progress import Progress
from wct_jax.studio.reader import Reader
from wct_jax.studio.request import Look
from wct_jax.studio.sources import Source, held, name_of
from wct_jax.system.recent import Recent


@dataclass(frozen=True, eq=False)
class Reading:
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


class Styles:
    """The styles of a model, each extracted once and the last ones kept; `kept` has them."""

    def __init__(self, model: Model, model_name: str, limits: Limits, reader: Reader) -> None:
        """Start without styles.

        Args:
            model: The model that will paint.
            model_name: Its name in messages.
            limits: The bytes of styles to keep, and the memory that extracting one may take.
            reader: Reads the pictures.
        """
        self._model, self._model_name, self._limits, self._reader = model, model_name, limits, reader
        self.kept: Recent[str, Style] = Recent(limits.styles, _bytes_of)

    def read(self, look: Look, options: Options) -> list[Reading | Style | None]:
        """The styles of a look, with the pictures of those that are still to be extracted.

        Args:
            look: The styles.
            options: Options with the layers that are used.

        Raises:
            ValueError: A style cannot be read, or is of another encoder or has not all of the layers.
        """
        masks = look.style_masks or (None,) * len(look.files)
        return [
            None if file is None else self._read(file, mask, options)
            for file, mask in zip(look.files, masks, strict=True)
        ]

    def _read(self, source: Any, mask: Any, options: Options) -> Reading | Style:
        if isinstance(source, Style) or (isinstance(source, str | os.PathLike) and is_style_file(source)):
            return self._whole_style(source, mask, options)
        source, mask = held(source), held(mask)
        digests = [None if each is None else self._reader.digest(each) for each in (source, mask)]
        key = repr([*digests, options.style_size, self._layers(options), options.swap_layers, options.photo])
        known = self.kept.get(key)
        if known is not None:
            return known
        name, picture = name_of(source), self._reader.picture(source, options.style_size)
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
        return Reading(key, name, picture)

    def _whole_style(self, source: Style | str | os.PathLike[str], mask: Source | None, options: Options) -> Style:
        name = "the style" if isinstance(source, Style) else os.fspath(source)
        kind = "is a style" if isinstance(source, Style) else "is a style file"
        if mask is not None:
            raise ValueError(f"{name} {kind}, which `style_mask` cannot be laid over: expected its picture")
        if options.swap_layers and not isinstance(source, Style):
            raise ValueError(f"{name} {kind}, which has no patches for `swap_layers`: expected its picture")
        style = source if isinstance(source, Style) else load_style(source)
        if style.digest != self._model.digest:
            raise ValueError(
                f"{name} was made with another encoder: its digest is {style.digest[:12]}, "
                f"that of {self._model_name} is {self._model.digest[:12]}"
            )
        wanted = (*self._layers(options), *([COLORS] if options.photo else []))
        if missing := [layer for layer in wanted if layer not in style.moments]:
            expected = "the picture itself" if options.photo else f"`layers` of {', '.join(style.moments)}"
            raise ValueError(f"{name} has no statistics for {', '.join(missing)}: expected {expected}")
        return style

    def _layers(self, options: Options) -> tuple[str, ...]:
        """The layers that are used: those of the options, or those to which photographs are fitted."""
        return fitted_layers(len(self._model.widths)) if options.photo else options.layers or ()

    def of(
        self, look: Look, styles: Sequence[Reading | Style | None], options: Options, report: Progress
    ) -> Style | list[Style | None]:
        """The styles of a look, mixed into one or one for each region.

        Args:
            look: The styles.
            styles: The result of `read`.
            options: Options with the layers that are used.
            report: Told the progress.
        """
        if options.whiten_only:
            return white_style(self._model, options.layers)
        each = [self._extract(style, options, report) if isinstance(style, Reading) else style for style in styles]
        return each if look.masks else mix_styles([style for style in each if style], look.weights)

    def _extract(self, reading: Reading, options: Options, report: Progress) -> Style:
        known = self.kept.get(reading.key)  # Another thread, or the same picture before, may have made it.
        if known is not None:
            return known
        report("style", 0, 1)
        style = self.kept.add(reading.key, self._moments(reading, options, report))
        self.kept.trim()
        return style

    def _moments(self, reading: Reading, options: Options, report: Progress) -> Style:
        picture, layers = reading.picture, self._layers(options)
        if options.photo:
            return extract_photo_style(self._model, picture.pixels, weights=picture.alpha)
        tile = self._limits.tile_of(picture.pixels.shape[:2], reading.name, self._model, options)
        if tile is None:
            swap = options.swap_layers
            style = extract_style(self._model, picture.pixels, layers, weights=picture.alpha, swap_layers=swap)
        else:
            more: dict[str, Any] = {"progress": lambda _, done, total: report("style", done, total)}
            more |= {"tile": tile, "weights": picture.alpha}
            style = extract_style_tiled(self._model, picture.pixels, layers, **more)
        return with_colors(style, picture.pixels, picture.alpha)
