"""Limits: the memory a session may take, and the size from which a picture is painted in tiles."""

import contextlib
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import jax

from wct_jax.networks.model import Model
from wct_jax.networks.vgg import deepest
from wct_jax.painting.options import PAINTERS, Options
from wct_jax.painting.tiles.tile import choose_tile, is_one, least_tile
from wct_jax.system.machine import Memory, usable_memory


@dataclass(frozen=True)
class Limits:
    """The most that a session may take.

    Attributes:
        memory: Bytes, roughly, that the process may take; pictures that need more are painted in tiles. None for half
            of the memory there is, or all that other processes leave if that is less.
        tile: Side of the tiles in pixels, instead of `memory`.
        max_pixels: The most pixels a picture may have; None for the default of `read_picture`.
        styles: Bytes of styles to keep; the default holds 50 styles of VGG-19, or 900 of the packaged model.
    """

    memory: int | None = None
    tile: int | None = None
    max_pixels: int | None = None
    styles: int = 2**27

    def tile_of(self, sides: Sequence[int], name: str, model: Model, options: Options) -> int | None:
        """Choose the side of the tiles to cut a picture into.

        Args:
            sides: Height and width of the picture.
            name: The picture's name in messages.
            model: The model that will paint it.
            options: How it will be painted, with the layers.

        Returns:
            The side in pixels, or None to leave the picture whole.

        Raises:
            ValueError: The tiles asked for are too small, there is too little memory, or the picture needs tiles and
                style swap has none.
        """
        tile = self._tile_of(sides, name, model, options)
        if tile and options.swap_layers:
            height, width = sides
            raise ValueError(
                f"{name} has {width} x {height} pixels, too many for `swap_layers`, which compares all patches and "
                "is not done in tiles: make it smaller, as with `content_size` 1024 `style_size` 1024"
            )
        return tile

    def check_whole(self, sides: Sequence[int], method: str, each: float) -> None:
        """Check that a photo can be repainted whole.

        Args:
            sides: Height and width of the photo.
            method: What repaints it, for messages.
            each: Bytes that a pixel takes.

        Raises:
            ValueError: There is too little memory, or tiles are asked for.
        """
        height, width = sides
        present = self.memory or _present_memory().most
        if (self.tile and not is_one(sides, self.tile)) or height * width * each > present:
            raise ValueError(
                f"the photo has {width} x {height} pixels, too many for {method}, which is not done in tiles: make it "
                "smaller, as with `content_size` 512"
            )

    def _tile_of(self, sides: Sequence[int], name: str, model: Model, options: Options) -> int | None:
        layers = options.layers or ()
        method = options.method if options.method in PAINTERS else "cascade"
        if self.tile:
            least = least_tile(layers)
            if self.tile < least:
                raise ValueError(f"`tile` must be at least {least} with {deepest(layers)}, got {self.tile}")
            return None if is_one(sides, self.tile) else self.tile
        present = Memory(self.memory, self.memory) if self.memory else _present_memory()
        # If half is too little, take all that others leave, and at last what they may give back.
        for share in () if self.memory else (min(present.most / 2, present.free), present.free):
            with contextlib.suppress(ValueError):
                return choose_tile(sides, model, layers, share, method)
        try:
            return choose_tile(sides, model, layers, present.most, method)
        except ValueError as error:
            raise ValueError(f"there is too little memory for {name}: {error}") from None


@functools.cache  # So that it does not change between the steps of a job.
def _present_memory() -> Memory:
    """The memory of the first GPU, or of this process."""
    if jax.default_backend() == "cpu":
        return usable_memory()
    limit = float((jax.local_devices()[0].memory_stats() or {}).get("bytes_limit", math.inf))
    return Memory(limit, limit)
