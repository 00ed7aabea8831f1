"""How large a picture may be before it is cut into tiles."""

import contextlib
import functools
import math
from collections.abc import Sequence

import jax

from wct_jax.networks.model import Model
from wct_jax.networks.vgg import deepest
from wct_jax.painting.tiles.tile import choose_tile, is_one, least_tile
from wct_jax.system.machine import Memory, usable_memory


def tile_of(
    sides: Sequence[int], name: str, model: Model, layers: Sequence[str], tile: int | None, memory: int | None
) -> int | None:
    """The side of the tiles to cut a picture into, or None to leave it whole.

    Args:
        sides: Its height and width.
        name: What to call it in messages.
        model: That will be used.
        layers: That will be used.
        tile: What was asked for, if anything was.
        memory: What may be taken, in bytes; None for half of what there is, and no more than other processes leave, or
            all if that is too little.

    Raises:
        ValueError: The tiles asked for are too small, or there is too little memory.
    """
    if tile:
        least = least_tile(layers)
        if tile < least:
            raise ValueError(f"`tile` must be at least {least} with {deepest(layers)}, got {tile}")
        return None if is_one(sides, tile) else tile
    present = Memory(memory, memory) if memory else _present_memory()
    for share in () if memory else (min(present.most / 2, present.free), present.free):
        with contextlib.suppress(ValueError):
            return choose_tile(sides, model, layers, share)
    try:
        return choose_tile(sides, model, layers, present.most)
    except ValueError as error:
        raise ValueError(f"{name} cannot be repainted: {error}") from None


@functools.cache  # So that it does not change between the steps of a job.
def _present_memory() -> Memory:
    """Of the first GPU, or of this process."""
    if jax.default_backend() == "cpu":
        return usable_memory()
    limit = float((jax.local_devices()[0].memory_stats() or {}).get("bytes_limit", math.inf))
    return Memory(limit, limit)
