"""The command `stylize.py`: a parser, then one library call."""

import argparse
import contextlib
import functools
import itertools
import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wct_jax.cli.command import Parser, file_path, fraction, memory, positive, run, tell

if TYPE_CHECKING:
    import numpy as np

    from wct_jax.images import Picture
    from wct_jax.model import Model
    from wct_jax.style import Style


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line and repaint a photo.

    Args:
        argv: Arguments; None for those of the process.
    """
    parser = Parser("Repaint a photo in the style of a picture.")
    parser.add_argument("--content", type=file_path, required=True, metavar="PHOTO", help="the photo to repaint")
    parser.add_argument(
        "--style", type=file_path, required=True, metavar="PICTURE", help="the picture whose style it takes"
    )
    parser.add_argument(
        "--output",
        type=file_path,
        metavar="FILE",
        help="where the result goes: .png, .jpg, .webp or .tif (default: PHOTO__PICTURE.png beside the photo)",
    )
    parser.add_argument(
        "--model",
        type=file_path,
        default="compact",
        help="a model file, or a name: compact, which comes with the program, or vgg19 (default: %(default)s)",
    )
    parser.add_argument(
        "--layers",
        nargs="+",
        metavar="LAYER",
        help="layers to use, of relu1_1 ... relu5_1; always run deepest first (default: all the model can decode)",
    )
    parser.add_argument(
        "--alpha",
        nargs="+",
        type=fraction,
        default=[1.0],
        metavar="A",
        help="strength of the style from 0 to 1: one number, or one for each layer, in the order of --layers "
        "or, without it, deepest first (default: 1)",
    )
    parser.add_argument(
        "--content-size",
        type=positive,
        metavar="N",
        help="resize the photo to a short side of N pixels (default: as it is)",
    )
    parser.add_argument(
        "--style-size",
        type=positive,
        metavar="N",
        help="resize the picture to a short side of N pixels (default: as it is)",
    )
    most = parser.add_mutually_exclusive_group()
    most.add_argument(
        "--memory",
        type=memory,
        metavar="SIZE",
        help="how much memory to take, about, as in 4GB: what needs more is repainted in tiles, with the same result "
        "(default: half of what there is)",
    )
    most.add_argument(
        "--tile", type=positive, metavar="N", help="repaint in tiles of at most N x N pixels what is larger"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the output if it exists")
    remedy = " for pictures of this size: make them smaller, as with --content-size 512"
    run(parser, functools.partial(repaint, parser.parse_args(argv)), remedy)


def repaint(arguments: argparse.Namespace) -> None:
    """Read, stylize, write.

    Args:
        arguments: What `main` parsed.

    Raises:
        ValueError: Anything a user can get wrong.
    """
    start = time.perf_counter()
    content_path, style_path = arguments.content, arguments.style
    output = arguments.output or content_path.parent / f"{content_path.stem}__{style_path.stem}.png"

    from wct_jax.images import check_output, read_picture

    if arguments.output:
        check_output(output, arguments.overwrite)
    content = read_picture(content_path, arguments.content_size)
    picture = read_picture(style_path, arguments.style_size)
    if not arguments.output:  # Only now, lest a mistyped photo is taken for an output that cannot be.
        check_output(output, arguments.overwrite)
    if picture.alpha is not None and not picture.alpha.any():
        raise ValueError(f"{style_path} is wholly transparent: expected a picture with a style to take")

    # Late, since JAX takes its time and a mistyped name should not have to wait for it.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from wct_jax.cli.kept import keep_compilations
    from wct_jax.images import Picture, write_picture
    from wct_jax.pipeline import plan
    from wct_jax.weights import load_model, require_decoders

    model = load_model(arguments.model)
    layers = require_decoders(model, arguments.model, arguments.layers)
    levels = plan(layers, arguments.alpha)
    tile, style_tile = (
        _tile(arguments, path, read.pixels, model, layers)
        for path, read in ((content_path, content), (style_path, picture))
    )
    keep_compilations(ahead=not tile and not style_tile)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description:<8}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns[: 4 if tile or style_tile else 3], console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("style", total=None)

        def report(name: str, done: int, total: int) -> None:
            bar.update(task, description=name, completed=done, total=total)

        if not tile and not style_tile:
            _prepare(model, content, picture, layers)
        style = _extract(model, picture, layers, style_tile, report)
        image = _stylize(model, content, style, layers, arguments.alpha, tile, output.parent, report)

    check_output(output, arguments.overwrite)  # Again, since others may have written it meanwhile.
    height, width = image.shape[:2]
    write_picture(output, Picture(image, content.alpha, content.metadata))
    names = ", ".join(layer for layer, _ in levels)
    tell(f"{output}: {width} x {height} pixels, {names}, {time.perf_counter() - start:.1f} s")


Report = Callable[[str, int, int], None]


def _prepare(model: "Model", content: "Picture", picture: "Picture", layers: Sequence[str]) -> None:
    from wct_jax.pipeline import prepare

    prepare(
        model,
        content.pixels.shape,
        picture.pixels.shape,
        layers,
        content_weighted=content.alpha is not None,
        style_weighted=picture.alpha is not None,
    )


def _extract(model: "Model", picture: "Picture", layers: Sequence[str], tile: int | None, report: Report) -> "Style":
    from wct_jax.style import extract_style
    from wct_jax.tiling import extract_style_tiled

    if tile is None:
        return extract_style(model, picture.pixels, layers, weights=picture.alpha)
    return extract_style_tiled(
        model,
        picture.pixels,
        layers,
        tile=tile,
        weights=picture.alpha,
        progress=lambda _, done, total: report("style", done, total),
    )


def _stylize(
    model: "Model",
    content: "Picture",
    style: "Style",
    layers: Sequence[str],
    alpha: Sequence[float],
    tile: int | None,
    folder: Path,
    report: Report,
) -> "np.ndarray":
    import numpy as np

    from wct_jax.pipeline import stylize
    from wct_jax.tiling import stylize_tiled

    if tile is None:
        begun = itertools.count()
        image = stylize(
            model,
            content.pixels,
            style,
            alpha,
            layers=layers,
            content_weights=content.alpha,
            progress=lambda layer: report(layer, next(begun), len(layers)),
        )
        return np.asarray(image)
    return stylize_tiled(
        model,
        content.pixels,
        style,
        alpha,
        tile=tile,
        layers=layers,
        content_weights=content.alpha,
        folder=folder,
        progress=report,
    )


def _tile(
    arguments: argparse.Namespace, path: Path, pixels: "np.ndarray", model: "Model", layers: Sequence[str]
) -> int | None:
    """The side of the tiles to cut a picture into, or None to leave it whole."""
    from wct_jax.tiling import choose_tile, is_one, least_tile

    height, width = pixels.shape[:2]
    if arguments.tile:
        least = least_tile(layers)
        if arguments.tile < least:
            raise ValueError(f"--tile must be at least {least} with {max(layers)}, got {arguments.tile}")
        return None if is_one((height, width), arguments.tile) else arguments.tile
    if arguments.memory is None:
        with contextlib.suppress(ValueError):
            return choose_tile((height, width), model, layers, _present_memory() / 2)
    try:
        return choose_tile((height, width), model, layers, arguments.memory or _present_memory())
    except ValueError as error:
        raise ValueError(f"{path} cannot be repainted: {error}") from None


def _present_memory() -> float:
    """Of the first GPU, or of the machine, in bytes."""
    import jax

    if jax.default_backend() != "cpu":
        return float((jax.local_devices()[0].memory_stats() or {}).get("bytes_limit", math.inf))
    if not hasattr(os, "sysconf"):
        return math.inf
    return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
