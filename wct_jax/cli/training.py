"""What the commands that train share: their options, their photos, and being one process of several."""

import argparse
import contextlib
import errno
import functools
import importlib.util
import itertools
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wct_jax.cli.command import Parser, file_path, number, positive, say, seed, start_jax

if TYPE_CHECKING:
    import numpy as np

    from wct_jax.training.data import Folder, Source
    from wct_jax.training.task import Setup

_VAL_SIDE = 256
_SHOWN = 8
_LISTED = 20
_MOST_BYTES = 2**30  # Of a batch, of which the networks make a hundred times as much.


def add_options(parser: Parser, *, steps: int, crop: int, learning_rate: float) -> None:
    """Add the options of any training.

    Args:
        parser: To which.
        steps: The default.
        crop: The default.
        learning_rate: The default.
    """
    parser.add_argument(
        "--data",
        type=file_path,
        default="coco",
        metavar="DIR",
        help="a folder of photos, or the name coco: the 40,670 test images of COCO 2017, which the first run "
        "downloads and prepares (default: %(default)s)",
    )
    parser.add_argument("--steps", type=positive, default=steps, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--batch-size", type=positive, default=8, metavar="N", help="crops in a step, over all devices (default: 8)"
    )
    parser.add_argument(
        "--crop", type=positive, default=crop, metavar="N", help="side of the crops in pixels (default: %(default)s)"
    )
    parser.add_argument(
        "--learning-rate",
        type=number,
        default=learning_rate,
        metavar="R",
        help="the highest rate, reached after a warm-up and left along a cosine (default: %(default)s)",
    )
    parser.add_argument(
        "--precision",
        choices=("float32", "bfloat16"),
        default="float32",
        help="of the convolutions (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=seed, default=0, metavar="N", help="of what is drawn at first and the crops (default: 0)"
    )
    parser.add_argument(
        "--val",
        type=file_path,
        metavar="DIR",
        help="a folder of photos on which PSNR and SSIM are taken at the end, over their middle 256 x 256 pixels",
    )
    parser.add_argument(
        "--save-every", type=positive, default=500, metavar="N", help="steps between saves (default: %(default)s)"
    )
    parser.add_argument("--resume", action="store_true", help="go on with a run, and refuse to begin one")
    parser.add_argument(
        "--distributed",
        nargs="*",
        metavar="HOST:PORT N I",
        help="be one process of several: alone on SLURM, Open MPI and Cloud TPU, elsewhere with the address of the "
        "first one, their number, and which one this is, from 0",
    )


def add_weight(parser: Parser, term: str, default: float, what: str) -> None:
    """Add the option that weighs a term of the loss.

    Args:
        parser: To which.
        term: The term, as the option is called.
        default: The default.
        what: The help before the default.
    """
    help_text = f"what {what} (default: {default:g})"
    parser.add_argument(f"--{term}-weight", type=number, default=default, metavar="W", help=help_text)


def add_judges(parser: Parser, compare: str, default: str = "") -> None:
    """Add the option that names the judges of pictures.

    Args:
        parser: To which.
        compare: The options for which they compare pictures, and that verb.
        default: What to say of the default.
    """
    what = f"model files whose encoders {compare} pictures by, each layer in the first that has it{default}"
    parser.add_argument("--judges", type=file_path, nargs="+", metavar="MODEL", help=what)


def prepare(arguments: argparse.Namespace) -> None:
    """Make sure that this process can train, and become one process of several where that was asked for.

    Args:
        arguments: Of `add_options`, and `out`: the folder of the run, or None for one in `runs`.

    Raises:
        ValueError: Options out of range, a folder that cannot be written, packages that are not installed, or a cluster
            that cannot be joined.
    """
    if not arguments.learning_rate:
        raise ValueError("argument --learning-rate: expected a number above 0, got 0")
    if arguments.batch_size * arguments.crop**2 * 3 > _MOST_BYTES:
        raise ValueError(
            f"a batch of {arguments.batch_size} crops of {arguments.crop} x {arguments.crop} pixels is out of reach: "
            f"expected --batch-size and --crop of at most {_MOST_BYTES / 2**30:.0f} GiB together"
        )
    _check_out(arguments.out or Path("runs"))
    needed = ("grain", "matplotlib", "optax", "orbax", "tensorflow_datasets")
    if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
        raise ValueError(
            f"training needs {', '.join(missing)} as well: "
            "pip install 'wct_jax[train]', or in a checkout pip install '.[train]'"
        )
    _join(arguments.distributed)
    start_jax()


def _check_out(folder: Path) -> None:
    """Find out whether a folder can be made and written to, before the seconds that everything else takes."""
    try:
        there = Path(os.path.abspath(folder))
        while not there.exists() and not there.is_symlink():
            there = there.parent
        if not there.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"{there} is not a folder")
        # Neither permissions nor the kind of file system tell for certain.
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        raise ValueError(f"cannot write {folder}: {error.strerror}") from None


@dataclass(frozen=True)
class Photos:
    """The photos of a training.

    Attributes:
        source: To train on.
        name: What the record calls them.
        val: To measure on.
    """

    source: "Source"
    name: str
    val: "Folder | None"

    def setup(self, arguments: argparse.Namespace, folder: Path) -> "Setup":
        """What a training is given by the options.

        Args:
            arguments: Of `add_options`.
            folder: Of the run.
        """
        import jax
        import numpy as np

        from wct_jax.training.data import batches
        from wct_jax.training.task import Recipe, Setup

        names = ("steps", "batch_size", "crop", "learning_rate", "precision", "seed")
        recipe = Recipe(data=self.name, **{name: getattr(arguments, name) for name in names})
        crops = functools.partial(batches, self.source, crop=recipe.crop, seed=recipe.seed)
        process = {"process_index": jax.process_index(), "process_count": jax.process_count()}
        own, val = crops(batch_size=recipe.batch_size, **process), self._val_crops if self.val else None
        some = itertools.islice(val(), _SHOWN) if val else next(crops(batch_size=_SHOWN)).astype(np.float32) / 255
        return Setup(own, folder, recipe, list(some), val, arguments.save_every)

    def _val_crops(self) -> "Iterator[np.ndarray]":
        from wct_jax.training.data import centre_crops

        assert self.val is not None
        return (pixels for _, pixels in centre_crops(self.val, _VAL_SIDE))


def open_photos(arguments: argparse.Namespace) -> Photos:
    """Find the photos to train and to measure on, and list those that cannot be read.

    Args:
        arguments: Of `add_options`.

    Raises:
        ValueError: There are none.
    """
    import absl.logging
    import jax

    from wct_jax.training.devices import check_batch_size

    absl.logging.set_verbosity(absl.logging.FATAL)  # Orbax logs what we say in a sentence, with tracebacks.
    check_batch_size(arguments.batch_size)
    first = jax.process_index() == 0
    tell = say if first else None
    val = _open_folder(arguments.val, tell) if arguments.val else None
    return Photos(*_open(arguments.data, tell), val)


def say_if_finished(before: int, arguments: argparse.Namespace, anew: str) -> None:
    """Say what to do about a run that had no step left to take.

    Args:
        before: The last step that it had taken.
        arguments: Of `add_options`.
        anew: What begins another run.
    """
    if before >= arguments.steps:
        say(f"--steps above {before} goes on with it, and {anew} begins anew")


@contextlib.contextmanager
def exit_when_interrupted(what: str, folder: Path) -> Iterator[None]:
    """Say how to go on with a training that was asked to stop, and end as its signal asks.

    Args:
        what: Is trained.
        folder: Of its run.
    """
    import jax

    from wct_jax.training.loop import Interrupted

    try:
        yield
    except Interrupted as stop:
        if jax.process_index() == 0:
            if stop.step:
                where = f"after step {stop.step}, which is saved in {folder}: the same command goes on from there"
            else:
                where = "before the first step: the same command begins anew"
            say(f"{what} was interrupted {where}")
        raise SystemExit(128 + stop.signal) from None


def _open(data: Path, tell: Callable[[str], None] | None) -> tuple["Source", str]:
    """The photos, and what to call them in the record."""
    if str(data) == "coco":
        from wct_jax.training.coco import open_coco

        return open_coco(tell or (lambda text: None)), "COCO 2017 test"
    folder = _open_folder(data, tell)
    return folder, f"{len(folder)} photos of {data.resolve().name}"


def _open_folder(path: Path, tell: Callable[[str], None] | None) -> "Folder":
    """The photos of a folder, after listing what was left out."""
    from wct_jax.training.data import Folder

    folder = Folder(path, tell)
    if tell and folder.skipped:
        tell(f"left out of {path}:")
        for sentence in folder.skipped[:_LISTED]:
            tell(f"  {sentence}")
        if len(folder.skipped) > _LISTED:
            tell(f"  and {len(folder.skipped) - _LISTED} more")
    return folder


def _join(distributed: Sequence[str] | None) -> None:
    """Become one process of several."""
    if distributed is None:
        return
    import jax

    # By default the others wait minutes for a process that has died, or has failed by itself.
    initialize = functools.partial(
        jax.distributed.initialize, heartbeat_timeout_seconds=60, shutdown_timeout_seconds=60
    )
    if not distributed:
        try:
            initialize()
        except (ValueError, RuntimeError) as error:
            raise ValueError(
                f"--distributed finds no cluster here: expected HOST:PORT N I after it ({error})"
            ) from None
        return
    found = re.fullmatch(r"(\S+:[0-9]+) ([0-9]+) ([0-9]+)", " ".join(distributed))
    if not found or int(found[3]) >= int(found[2]):
        raise ValueError(
            f"argument --distributed: expected HOST:PORT N I with I below N, got {' '.join(distributed)!r}"
        )
    say(f"waiting for {found[2]} processes at {found[1]}")
    try:
        initialize(found[1], int(found[2]), int(found[3]))
    except RuntimeError as error:
        raise ValueError(f"--distributed cannot begin at {found[1]} ({error})") from None
