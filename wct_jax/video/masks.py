"""Masks that move with a film: films of their own, read frame by frame beside it."""

import dataclasses
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence

from wct_jax.pictures.mask import fit_mask, mask_of
from wct_jax.pictures.picture import Picture
from wct_jax.video.files.film import Film, Frame, open_film
from wct_jax.video.files.sequence import is_sequence


def open_mask(path: str | os.PathLike[str], film: Film) -> Film:
    """Open the part of a mask that belongs to a film; pictures have the film's rate.

    Raises:
        ValueError: See `open_film`.
    """
    fps = film.frame_rate if is_sequence(os.fspath(path)) else None
    return open_film(path, fps=fps, start=film.start, end=film.end)


def masked(frames: Iterable[Frame], masks: Sequence[Film], skipped: int = 0) -> Iterator[Frame]:
    """Give each frame its masks: the first of each mask, then the second, and so on.

    Args:
        frames: The frames of a film.
        masks: A mask for each style; white, opaque pixels are 1. Empty for frames without masks.
        skipped: Number of frames of the masks that belong to frames before these.

    Raises:
        ValueError: A mask ends before or after the frames do, has other proportions, or cannot be read.
    """
    passes = [itertools.islice(mask, skipped, None) for mask in masks]
    for frame in frames:
        found = []
        for mask, passing in zip(masks, passes, strict=True):
            shown = next(passing, None)
            if shown is None:
                raise ValueError(
                    f"a mask must have a frame for each of the film's, got {mask.path}, which ends before the film's "
                    f"frame at {float(frame.time):.2f} s"
                )
            grey = mask_of(Picture(shown.pixels, shown.alpha))
            found.append(fit_mask(mask.path, grey, frame.pixels.shape[:2]))
        yield dataclasses.replace(frame, masks=found) if masks else frame
    for mask, passing in zip(masks, passes, strict=True):
        if next(passing, None) is not None:
            raise ValueError(
                f"a mask must have a frame for each of the film's, got {mask.path}, which goes on after the film's last"
            )
