"""What `stylize.py` does to one photo, and what it keeps for the next."""

import argparse
import functools
import itertools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from wct_jax.batch import Job, Look
from wct_jax.canvas import canvas_sides
from wct_jax.cli.kept import keep_compilations
from wct_jax.cli.memory import tile_of
from wct_jax.cli.streams import source_of
from wct_jax.color import preserve_color
from wct_jax.compiler import compiler
from wct_jax.images import MemoryLimitError, Picture, PixelLimitError, read_picture
from wct_jax.machine import usable_memory
from wct_jax.mask import fit_mask, mask_of
from wct_jax.method import Method
from wct_jax.model import Model
from wct_jax.pipeline import prepare, stylize
from wct_jax.recent import Recent
from wct_jax.style import Style, extract_style, mix_styles, white_style
from wct_jax.style_file import is_style_file, load_style
from wct_jax.texture import noise
from wct_jax.tiling import extract_style_tiled, stylize_tiled

Report = Callable[[str, int, int], None]
# In bytes: 50 styles of VGG-19, or 900 of the packaged model.
_MOST_OF_STYLES = 2**27
# A style's file, and the mask that is laid over it.
Source = tuple[Path, Path | None]


def _bytes_of(style: Style) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(style))


def _quiet(name: str, done: int, total: int) -> None:
    pass


@dataclass(frozen=True)
class Read:
    """What a job needs of files.

    Attributes:
        name: What to call the content.
        content: The photo, or the noise that a texture is made of.
        pictures: Those of styles that have not been extracted before.
        masks: Of the photo's regions.
        alpha_map: Alpha of each of its pixels.
        strength: Of all of it, or of each of its pixels.
    """

    name: str
    content: Picture
    pictures: dict[Source, Picture]
    masks: list[np.ndarray]
    alpha_map: np.ndarray | None
    strength: float | np.ndarray


class Studio:
    """A model and what was asked for; it keeps the styles that it has extracted."""

    def __init__(
        self, arguments: argparse.Namespace, model: Model, layers: Sequence[str], say: Callable[[str], None]
    ) -> None:
        """Take what was asked for.

        Args:
            arguments: Of the command line.
            model: Encoder and decoders.
            layers: That will be used.
            say: Given what a person should know of the files.
        """
        self._arguments, self._model, self._layers, self._say = arguments, model, tuple(layers), say
        self._styles: Recent[Source, Style] = Recent(_MOST_OF_STYLES, _bytes_of)
        self._unreadable: dict[Path | Source, str] = {}
        self._content: tuple[Path, Picture] | None = None
        self._prepared: set[object] = set()
        self._dropped: int | None = None
        swap = tuple(arguments.swap_layers or ())
        self._method = Method(arguments.transform, swap, arguments.patch, arguments.stride)

    def read(self, job: Job) -> Read:
        """Read a job's files.

        Args:
            job: The job.

        Raises:
            ValueError: One of them cannot be read, or does not fit.
        """
        arguments = self._arguments
        content = self._read_content(job.content)
        sides = content.pixels.shape[:2]
        masks = [self._mask(path, sides) for path in arguments.mask or ()]
        alpha_map = self._mask(arguments.alpha_map, sides) if arguments.alpha_map else None
        strength = arguments.strength
        if isinstance(strength, Path):
            strength = self._mask(strength, sides)
        name, pictures = str(job.content or "the texture"), self.read_styles(job.look)
        return Read(name, content, pictures, masks, alpha_map, strength)

    def _read_content(self, path: Path | None) -> Picture:
        if path is None:
            width, height = self._arguments.synthesize
            self._tile_of((height, width), "the texture")  # Or it is refused, before its noise fills the memory.
            return Picture(noise(height, width, self._arguments.seed))
        if self._content is None or self._content[0] != path:
            self._content = path, self._once(path, lambda: self._picture(path, self._arguments.content_size))
        return self._content[1]

    @property
    def max_pixels(self) -> int | None:
        """The most pixels that a picture may have, or None for the default."""
        megapixels: int | None = self._arguments.max_megapixels
        return None if megapixels is None else megapixels * 10**6

    def _picture(self, path: Path, size: int | None = None) -> Picture:
        """Read a picture within the limits asked for, and say what a person should know of it."""
        try:
            # If nothing was asked for, no more than there is, since a container would be killed; but small ones always.
            budget = min(self._arguments.memory or max(usable_memory().free, 2**28), sys.maxsize)
            picture = read_picture(source_of(path), size, max_pixels=self.max_pixels, budget=int(budget))
        except PixelLimitError as error:
            raise ValueError(f"{error} (--max-megapixels {-(-error.pixels // 10**6)})") from None
        except MemoryLimitError as error:
            raise ValueError(f"{error}: expected a larger --memory or a smaller picture") from None
        for note in picture.notes:
            self._say(note)
        return picture

    def _once(self, path: Path | Source, read: Callable[[], Picture]) -> Picture:
        """What is read, unless it could not be before."""
        if path in self._unreadable:
            raise ValueError(self._unreadable[path])
        try:
            return read()
        except ValueError as error:
            self._unreadable[path] = str(error)
            raise

    def read_styles(self, look: Look) -> dict[Source, Picture]:
        """Read the pictures of those of the styles that are not known yet, and load those that are style files.

        Args:
            look: The styles.

        Raises:
            ValueError: One of them cannot be read, or has no style to take.
        """
        pictures: dict[Source, Picture] = {}
        sources = self._sources(look)
        known = {source for source in sources if source and self._styles.get(source) is not None}
        # Not later, when one that this job needs could be dropped.
        self._styles.trim(keep=len(known))
        for source in sources:
            if source is None or source in self._styles or source in pictures:
                continue
            if is_style_file(source[0]):
                self._load(*source)
            else:
                pictures[source] = self._once(source, functools.partial(self._read_style, *source))
        return pictures

    def _sources(self, look: Look) -> list[Source | None]:
        masks = self._arguments.style_mask or [None] * len(look.files)
        return [None if path is None else (path, mask) for path, mask in zip(look.files, masks, strict=True)]

    def _read_style(self, path: Path, mask: Path | None) -> Picture:
        picture = self._picture(path, self._arguments.style_size)
        if picture.alpha is not None and not picture.alpha.any():
            raise ValueError(f"{path} is wholly transparent: expected a picture with a style to take")
        if mask is None:
            return picture
        weights = self._mask(mask, picture.pixels.shape[:2])
        counted = weights if picture.alpha is None else picture.alpha * weights
        if not counted.any():
            raise ValueError(f"{mask} leaves nothing of {path}: expected some white where the style is to be taken")
        return Picture(picture.pixels, counted)

    def _load(self, path: Path, mask: Path | None) -> None:
        if mask:
            raise ValueError(f"{path} is a style file, which --style-mask cannot be laid over: expected its picture")
        if self._method.swap_layers:
            raise ValueError(f"{path} is a style file, which has no patches for --swap-layers: expected its picture")
        style = load_style(path)
        if style.digest != self._model.digest:
            raise ValueError(
                f"{path} was made with another encoder: its digest is {style.digest[:12]}, "
                f"that of {self._arguments.model} is {self._model.digest[:12]}"
            )
        missing = [layer for layer in self._layers if layer not in style.moments]
        if missing:
            raise ValueError(
                f"{path} has no statistics for {', '.join(missing)}: expected --layers of {', '.join(style.moments)}"
            )
        self._styles.add((path, None), style)

    def prepare(self, read: Read, look: Look) -> None:
        """Compile what a job will need, once for all jobs of such sizes.

        Args:
            read: What was read for it.
            look: Its styles.
        """
        tiled = self._tile(read.content, read.name, self._arguments.margin) or any(
            self._tile(p, path) for (path, _), p in read.pictures.items()
        )
        if self._dropped is None:
            keep_compilations(ahead=not tiled)
        if self._dropped != compiler().dropped:
            self._dropped = compiler().dropped
            self._prepared.clear()
        if tiled:
            return
        regions = sum(path is not None for path in look.files) if read.masks else 0
        pictures = [(p.pixels.shape, p.alpha is not None) for p in read.pictures.values()]
        sizes = [(canvas_sides(shape[:2]), weighted) for shape, weighted in pictures]
        content, margin = read.content, self._arguments.margin
        shape, weighted = self._sides(content, margin), content.alpha is not None or margin > 0
        key = canvas_sides(shape), weighted, tuple(sorted(sizes)), regions
        if key in self._prepared:
            return
        self._prepared.add(key)
        prepare(
            self._model,
            (*shape, 3),
            pictures,
            self._layers,
            content_weighted=weighted,
            regions=regions,
            mapped=read.alpha_map is not None,
            method=self._method,
        )

    def style(self, look: Look, pictures: dict[Source, Picture], report: Report = _quiet) -> Style | list[Style | None]:
        """The styles of a job: one, or one for each region.

        Args:
            look: The styles.
            pictures: Of those that were not known before.
            report: Told of progress.

        Raises:
            ValueError: They cannot be mixed.
        """
        if not look.files:
            return white_style(self._model, self._layers)
        for source, picture in pictures.items():
            self._styles.add(source, self._extract(picture, source[0], report))
        styles = [None if source is None else self._styles.get(source) for source in self._sources(look)]
        if self._arguments.mask:
            return styles
        return mix_styles([style for style in styles if style], self._arguments.style_weights)

    def _extract(self, picture: Picture, path: Path, report: Report) -> Style:
        tile = self._tile(picture, path)
        if tile is None:
            swap = self._method.swap_layers
            return extract_style(self._model, picture.pixels, self._layers, weights=picture.alpha, swap_layers=swap)

        def tell(_: str, done: int, total: int) -> None:
            report("style", done, total)

        return extract_style_tiled(
            self._model, picture.pixels, self._layers, tile=tile, weights=picture.alpha, progress=tell
        )

    def paint(self, read: Read, style: Style | list[Style | None], folder: Path, report: Report) -> Picture:
        """Do a job.

        Args:
            read: What was read for it.
            style: Its styles.
            folder: Where unfinished images can be kept.
            report: Told of progress.

        Raises:
            ValueError: What was asked for cannot be done.
        """
        arguments, content = self._arguments, read.content
        tile, layers = self._tile(content, read.name, arguments.margin), self._layers
        options: dict[str, Any] = {
            "strength": read.strength,
            "layers": layers,
            "content_weights": content.alpha,
            "mask": read.masks,
            "alpha_map": read.alpha_map,
            "transform": self._method.transform,
            "passes": arguments.passes,
            "margin": arguments.margin,
        }
        if tile is None:
            begun, total = itertools.count(), len(layers) * arguments.passes
            _, swap_layers, patch, stride = self._method
            painted = stylize(
                self._model,
                content.pixels,
                style,
                arguments.alpha,
                **options,
                swap_layers=swap_layers,
                patch=patch,
                stride=stride,
                progress=lambda layer: report(layer, next(begun), total),
            )
            image = np.asarray(painted)
        else:
            options |= {"tile": tile, "folder": folder, "progress": report}
            image = stylize_tiled(self._model, content.pixels, style, arguments.alpha, **options)
        if arguments.preserve_color:
            image = preserve_color(
                image,
                content.pixels,
                arguments.preserve_color,
                weights=content.alpha,
                strength=read.strength,
                out=image if image.flags.writeable else None,
            )
        return Picture(image, content.alpha, content.metadata)

    def _mask(self, path: Path, sides: Sequence[int]) -> np.ndarray:
        mask = mask_of(self._picture(path))
        fitting = fit_mask(path, mask, sides)
        if fitting.shape != mask.shape:
            (height, width), (rows, columns) = fitting.shape, mask.shape
            self._say(f"{path}: resized from {columns} x {rows} to {width} x {height} pixels, the size of its picture")
        return fitting

    @staticmethod
    def _sides(picture: Picture, margin: int = 0) -> tuple[int, int]:
        height, width = picture.pixels.shape[:2]
        return height + 2 * margin, width + 2 * margin

    def _tile(self, picture: Picture, name: str | Path, margin: int = 0) -> int | None:
        """The side of the tiles to cut a picture into, with a margin, or None to leave it whole."""
        sides = self._sides(picture, margin)
        tile = self._tile_of(sides, str(name))
        if tile and self._method.swap_layers:
            height, width = sides
            raise ValueError(
                f"{name} has {width} x {height} pixels, too many for --swap-layers, which compares all patches and "
                "is not done in tiles: make it smaller, as with --content-size 1024 --style-size 1024"
            )
        return tile

    def _tile_of(self, sides: tuple[int, int], name: str) -> int | None:
        arguments = self._arguments
        return tile_of(sides, name, self._model, self._layers, arguments.tile, arguments.memory)
