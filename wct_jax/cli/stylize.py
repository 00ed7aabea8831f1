"""The command `stylize.py`: a parser, then one library call."""

import argparse
import functools
import os
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

from wct_jax.cli.command import Parser, file_path, fraction, positive, run, tell


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
    import numpy as np
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from wct_jax.images import Picture, write_picture
    from wct_jax.pipeline import plan, prepare, stylize
    from wct_jax.style import extract_style
    from wct_jax.weights import load_model, require_decoders

    _keep_compilations()
    model = load_model(arguments.model)
    layers = require_decoders(model, arguments.model, arguments.layers)
    levels = plan(layers, arguments.alpha)
    for name, pixels in ((content_path, content.pixels), (style_path, picture.pixels)):
        _check_memory(name, pixels.shape, model.widths[0])
    console = Console(stderr=True)
    columns = (TextColumn("{task.description:<8}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("style", total=len(layers) + 1)
        prepare(
            model,
            content.pixels.shape,
            picture.pixels.shape,
            layers,
            content_weighted=content.alpha is not None,
            style_weighted=picture.alpha is not None,
        )
        style = extract_style(model, picture.pixels, layers, weights=picture.alpha)
        image = np.asarray(
            stylize(
                model,
                content.pixels,
                style,
                arguments.alpha,
                layers=layers,
                content_weights=content.alpha,
                progress=lambda layer: progress.update(task, description=layer, advance=1),
            )
        )
        progress.update(task, advance=1)

    check_output(output, arguments.overwrite)  # Again, since others may have written it meanwhile.
    write_picture(output, Picture(image, content.alpha, content.metadata))
    height, width = content.pixels.shape[:2]
    names = ", ".join(layer for layer, _ in levels)
    tell(f"{output}: {width} x {height} pixels, {names}, {time.perf_counter() - start:.1f} s")


# Measured: 0.8 MB for a size of canvas with the packaged model. The least recently used go first.
_MOST_KEPT = 2**28


def _keep_compilations() -> None:
    """Have JAX keep what it compiles for the next run, unless it was told where, or cannot."""
    import jax

    from wct_jax.weights import cache_folder

    folder = cache_folder() / "compiled"
    if jax.config.values["jax_compilation_cache_dir"]:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if not os.access(folder, os.W_OK):
        return
    # By default what takes less than a second to compile is not kept.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_compilation_cache_max_size", _MOST_KEPT)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # A full disk is no reason to tell of what would have been a convenience.
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")


# Measured: 560 bytes for a pixel of a canvas with VGG-19's 64 channels at relu1_1, 215 with 16 of them: two features of
# single precision at a time, and a few images.
_BYTES_PER_CHANNEL = 8
_BYTES_PER_PIXEL = 120


def _check_memory(path: Path, shape: tuple[int, ...], channels: int) -> None:
    # Linux promises memory that it does not have, and ends the process that comes to use it.
    import jax

    from wct_jax.canvas import canvas_sides

    if jax.default_backend() != "cpu" or not hasattr(os, "sysconf"):
        return
    height, width = canvas_sides(shape[:2])
    needed = height * width * (channels * _BYTES_PER_CHANNEL + _BYTES_PER_PIXEL)
    present = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > present:
        raise ValueError(
            f"{path} at {shape[1]} x {shape[0]} pixels takes about {needed / 1e9:.0f} GB of memory with this model, "
            f"and there are {present / 1e9:.0f} GB: make it smaller, as with --content-size 1024 or --style-size 1024"
        )
