"""Reading pictures and masks for a session."""

import contextlib
import dataclasses
import functools
import hashlib
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wct_jax.checks.arrays import as_image, as_weights, on_host
from wct_jax.pictures.images import read_picture
from wct_jax.pictures.mask import fit_mask, mask_of
from wct_jax.pictures.picture import Picture
from wct_jax.studio.limits import Limits
from wct_jax.studio.sources import Source, held, is_file, name_of, opened
from wct_jax.system.machine import usable_memory


class Reader:
    """Reads pictures and masks within limits. Several threads may use it, even with the same open file."""

    def __init__(self, limits: Limits, note: Callable[[str], None]) -> None:
        """Start without a photo.

        Args:
            limits: The most pixels and memory that a picture may take.
            note: Told sentences that a person should know of the files.
        """
        self._limits, self._note = limits, note
        self._last: tuple[str, Picture] | None = None
        self._position = threading.Lock()  # An open file has one position, whoever reads it.

    def photo(self, source: Source, size: int | None) -> Picture:
        """Read a photo; the file read last is not decoded again."""
        if not is_file(source):
            return self.picture(source, size)  # Not kept: its array may change until the next call.
        source = held(source)
        key, last = f"{self.digest(source)} {size}", self._last
        if last is None or last[0] != key:
            last = self._last = key, self.picture(source, size)
            if last[1].alpha is not None:
                last[1].alpha.flags.writeable = False  # It is the results' alpha, too.
        return last[1]

    def picture(self, source: Source, size: int | None = None) -> Picture:
        """Read a picture, with a short side of `size` pixels, and pass on its notes.

        Raises:
            ValueError: It cannot be read, exceeds the limits, or is in memory and has another size.
        """
        file: Any = source
        if not is_file(source):
            given = source if isinstance(source, Picture) else Picture(file)
            pixels = on_host("picture", as_image("picture", given.pixels, single=True))
            height, width = pixels.shape[:2]
            if size not in (None, min(height, width)):
                raise ValueError(
                    f"only files are resized to a short side of {size} pixels, got {width} x {height} in memory"
                )
            return dataclasses.replace(given, pixels=pixels)
        # Without a limit take no more than is free, since a container would be killed; small pictures always fit.
        budget = int(min(self._limits.memory or max(usable_memory().free, 2**28), sys.maxsize))
        with self._alone(source):
            picture = read_picture(file, size, max_pixels=self._limits.max_pixels, budget=budget)
        for sentence in picture.notes:
            self._note(sentence)
        return picture

    def mask(self, source: Source, sides: Sequence[int]) -> np.ndarray:
        """Read a mask and fit it to a picture with these sides: `[*sides]` in 0..1."""
        name = name_of(source, "mask")
        if getattr(source, "ndim", 0) == 2:
            mask = on_host(name, as_weights(name, source, np.shape(source), np.float32))  # type: ignore[arg-type]
        else:
            mask = mask_of(self.picture(source))
        fitting = fit_mask(name, mask, sides)
        if fitting.shape != mask.shape:
            (height, width), (rows, columns) = fitting.shape, mask.shape
            self._note(f"{name}: resized from {columns} x {rows} to {width} x {height} pixels, the size of its picture")
        return fitting

    def digest(self, source: Source) -> str:
        """SHA-256 of a picture's file, or of its pixels.

        Raises:
            ValueError: The file cannot be read.
        """
        digest = hashlib.sha256()
        if is_file(source):
            with self._alone(source), opened(source) as file:
                for chunk in iter(functools.partial(file.read, 2**20), b""):
                    digest.update(chunk)
            return digest.hexdigest()
        for values in (source.pixels, source.alpha) if isinstance(source, Picture) else (source,):
            array = on_host("picture", () if values is None else values)
            digest.update(f"{array.shape} {array.dtype}".encode() + array.tobytes())
        return digest.hexdigest()

    def _alone(self, source: Source) -> contextlib.AbstractContextManager[object]:
        return self._position if hasattr(source, "read") else contextlib.nullcontext()
