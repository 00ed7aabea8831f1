"""The options, checks and reports that the commands that train share."""

import argparse
import contextlib
import errno
import functools
import importlib.util
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from wct_jax.cli.command import Parser, file_path, number, positive, run, say, seed, start_jax
from wct_jax.cli.distributed import join
from wct_jax.cli.manual import Example

_MOST_BYTES = 2**30  # Of a batch; the networks take about a hundred times as much.
SCORE = "{psnr} dB PSNR and {ssim} SSIM on {photos} photos"


class TrainingParser(Parser):
    """A parser with the options that every training has."""

    def __init__(self, description: str, prog: str | None, usage: str, examples: Sequence[Example]) -> None:
        epilog = "Ctrl-C and SIGTERM save first. The same command goes on with a training that was broken off."
        super().__init__(description, epilog, prog, usage=usage, examples=examples)

    def add_photos(self) -> Any:
        """Add the photos to train and to measure on, and return their group."""
        group = self.add_argument_group("photos")
        add = group.add_argument
        add(
            "--data",
            type=file_path,
            default="coco",
            metavar="DIR",
            help="a folder of photos, or the name coco: the 40,670 test images of COCO 2017, which the first run "
            "downloads and prepares (default: %(default)s)",
        )
        val_help = "a folder of photos on which PSNR and SSIM are taken at the end, over their middle 256 x 256 pixels"
        add("--val", type=file_path, metavar="DIR", help=val_help)
        return group

    def add_recipe(self, *, steps: int, crop: int, learning_rate: float) -> None:
        """Add the recipe, with these defaults."""
        add = self.add_argument_group("steps").add_argument
        add("--steps", type=positive, default=steps, metavar="N", help="how many there are (default: %(default)s)")
        add(
            "--batch-size", type=positive, default=8, metavar="N", help="crops in a step, over all devices (default: 8)"
        )
        add(
            "--crop",
            type=positive,
            default=crop,
            metavar="N",
            help="side of the crops in pixels (default: %(default)s)",
        )
        rate_help = "the highest rate, reached after a warm-up and left along a cosine (default: %(default)s)"
        add("--learning-rate", type=number, default=learning_rate, metavar="R", help=rate_help)
        precision_help = "of the convolutions (default: %(default)s)"
        add("--precision", choices=("float32", "bfloat16"), default="float32", help=precision_help)
        add("--seed", type=seed, default=0, metavar="N", help="of what is drawn at first and the crops (default: 0)")

    def add_run(self) -> Any:
        """Add what happens to a run, and return the group."""
        group = self.add_argument_group("the run")
        add = group.add_argument
        add("--save-every", type=positive, default=500, metavar="N", help="steps between saves (default: %(default)s)")
        add("--resume", action="store_true", help="go on with a run, and refuse to begin one")
        add(
            "--distributed",
            nargs="*",
            metavar="HOST:PORT N I",
            help="be one process of several: alone on SLURM, Open MPI and Cloud TPU, elsewhere with the address of the "
            "first one, their number, and which one this is, from 0",
        )
        return group

    def run(self, body: Callable[[argparse.Namespace], None], argv: Sequence[str] | None) -> None:
        """Parse the command line and run the command's body with it."""
        run(self, functools.partial(body, self.parse_args(argv)), ": try a smaller --batch-size or --crop")


def add_judges(group: Any, compare: str, default: str = "") -> None:
    """Add the model files that judge pictures; `compare` names the options that need them, with their verb."""
    what = f"model files whose encoders {compare} pictures by, each layer in the first that has it{default}"
    group.add_argument("--judges", type=file_path, nargs="+", metavar="MODEL", help=what)


def prepare(arguments: argparse.Namespace) -> None:
    """Check that this process can train, and join the other processes if that was asked for.

    Args:
        arguments: The options of `TrainingParser`, and `out`, the folder of the run, or None for one in `runs`.

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
    join(arguments.distributed)
    start_jax()


def _check_out(folder: Path) -> None:
    """Check that a folder can be made and written to, before everything else takes its seconds."""
    try:
        there = Path(os.path.abspath(folder))
        while not there.exists() and not there.is_symlink():
            there = there.parent
        if not there.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"{there} is not a folder")
        # Neither the permissions nor the kind of file system say for certain.
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        raise ValueError(f"cannot write {folder}: {error.strerror}") from None


@contextlib.contextmanager
def explained(what: str, folder: Path, arguments: argparse.Namespace, anew: str) -> Iterator[None]:
    """Say how to go on after a training that was interrupted, or that had no step left to take.

    Args:
        what: The name of what is trained.
        folder: The folder of its run.
        arguments: The options of `TrainingParser`.
        anew: The options that begin another run.

    Raises:
        SystemExit: The training was interrupted; the status is that of its signal.
    """
    import jax

    from wct_jax.training.loop import Interrupted
    from wct_jax.training.run import last_step

    before, first = last_step(folder), jax.process_index() == 0
    try:
        yield
    except Interrupted as stop:
        if first:
            if stop.step:
                where = f"after step {stop.step}, which is saved in {folder}: the same command goes on from there"
            else:
                where = "before the first step: the same command begins anew"
            say(f"{what} was interrupted {where}")
        raise SystemExit(128 + stop.signal) from None
    if first and before >= arguments.steps:
        say(f"--steps above {before} goes on with it, and {anew} begins anew")


def summary(record: dict[str, Any]) -> str:
    """The steps and losses of a training's record, in words."""
    losses = (f"{term} loss {value:.4g}" for term, value in record["losses"].items())
    return ", ".join([f"{record['steps']} steps", *losses])
