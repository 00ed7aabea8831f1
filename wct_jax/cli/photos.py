"""The photos that a training command is given, to train and to measure on."""

import argparse
import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wct_jax.cli.command import say

if TYPE_CHECKING:
    from wct_jax.training.data import Folder, Source
    from wct_jax.training.task import Setup

_VAL_SIDE = 256
_SHOWN = 8
_LISTED = 20


@dataclass(frozen=True)
class Photos:
    """The photos of a training.

    Attributes:
        source: Photos to train on.
        styles: Pictures with the styles that a painter learns to take; None for a decoder.
        name: The name of `source` in the record.
        val: Photos to measure on.
    """

    source: "Source"
    styles: "Folder | None"
    name: str
    val: "Folder | None"

    def setup(self, arguments: argparse.Namespace, folder: Path) -> "Setup":
        """Make the batches and the recipe of a run from the options of `TrainingParser` and the run's folder."""
        import jax
        import numpy as np

        from wct_jax.training.data import Folder, batches, centre_crops
        from wct_jax.training.task import Recipe, Setup

        names = ("steps", "batch_size", "crop", "learning_rate", "precision", "seed")
        recipe = Recipe(data=self.name, **{name: getattr(arguments, name) for name in names})
        crops = functools.partial(batches, self.source, crop=recipe.crop, seed=recipe.seed)
        pairs = functools.partial(crops, styles=self.styles)
        process = {"process_index": jax.process_index(), "process_count": jax.process_count()}
        own = pairs(batch_size=recipe.batch_size, **process)

        def middles(photos: Folder) -> Iterator[np.ndarray]:
            return (pixels for _, pixels in centre_crops(photos, _VAL_SIDE))

        val = functools.partial(middles, self.val) if self.val else None
        some = itertools.islice(val(), _SHOWN) if val else next(crops(batch_size=_SHOWN)).astype(np.float32) / 255
        return Setup(own, folder, recipe, list(some), val, arguments.save_every)


def open_photos(arguments: argparse.Namespace) -> Photos:
    """Find the photos that the options of `TrainingParser` name, and list those that cannot be read.

    Raises:
        ValueError: There are none, or the devices cannot share a batch.
    """
    import absl.logging
    import jax

    from wct_jax.training.devices import check_batch_size

    absl.logging.set_verbosity(absl.logging.FATAL)  # Orbax logs, with tracebacks, what we say in a sentence.
    check_batch_size(arguments.batch_size)
    tell = None if jax.process_index() else say
    val, styles = (
        _open_folder(path, tell) if path else None for path in (arguments.val, getattr(arguments, "styles", None))
    )
    beside = f", with {len(styles)} styles of {arguments.styles.resolve().name}" if styles else ""
    if str(arguments.data) == "coco":
        from wct_jax.training.coco import open_coco

        return Photos(open_coco(tell or (lambda text: None)), styles, f"COCO 2017 test{beside}", val)
    folder = _open_folder(arguments.data, tell)
    return Photos(folder, styles, f"{len(folder)} photos of {arguments.data.resolve().name}{beside}", val)


def _open_folder(path: Path, tell: Callable[[str], None] | None) -> "Folder":
    from wct_jax.training.data import Folder

    folder = Folder(path, tell)
    if tell and folder.skipped:
        tell(f"left out of {path}:")
        for sentence in folder.skipped[:_LISTED]:
            tell(f"  {sentence}")
        if len(folder.skipped) > _LISTED:
            tell(f"  and {len(folder.skipped) - _LISTED} more")
    return folder
