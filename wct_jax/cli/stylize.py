"""The parser of `stylize.py`."""

import argparse
import contextlib
import functools
import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from wct_jax.checks.printable import printable
from wct_jax.cli.command import Parser, file_path, fraction, memory, number, positive, run, seed, whole
from wct_jax.painting.options import COLORS, METHODS, PROTECTED, TRANSFORMS, Options

_EPILOG = """\
Files named together after --style are mixed, or with --mask put where their masks are; each file of a folder, or of a
pattern in quotes such as 'art/*.jpg', makes a result of its own."""


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Parse the command line and repaint photos.

    Args:
        argv: Arguments; None for the arguments of the process.
        prog: Name of the command; None for the name of the process.
    """
    parser = Parser("Repaint photos in the style of pictures.", _EPILOG, prog=prog)
    # By default argparse lists every option here, and again below.
    parser.usage = "%(prog)s --content PHOTO ... --style PICTURE ... [--output FILE] [options]"
    _add_files(parser)
    _add_styles(parser)
    _add_looks(parser)
    _add_photographs(parser)
    _add_many(parser)
    _add_machine(parser)

    arguments = parser.parse_args(argv)
    if arguments.like:
        run(parser, functools.partial(_take_options, parser, arguments.like))
        arguments = parser.parse_args(argv)

    def body() -> None:
        from wct_jax.cli.repaint import repaint

        repaint(arguments, parser.prog)

    smaller = "a smaller --synthesize" if arguments.synthesize else "--content-size 512"
    run(parser, body, f" for pictures of this size: make them smaller, as with {smaller}")


def _take_options(parser: Parser, path: Path) -> None:
    """Make the options of a result the defaults."""
    from wct_jax.pictures.output import read_settings

    settings = read_settings(path)
    try:
        # A result without a method is of a version that had the cascade alone.
        options = json.loads(settings)["options"]
        options = json.dumps({"method": "cascade"} | options if isinstance(options, dict) else options)
    except (ValueError, LookupError, TypeError, RecursionError):
        raise ValueError(f"{path} is damaged where it should say how it was made: expected JSON with options") from None
    try:
        changed = Options.from_json(options).changed
        if "swap_layers" not in changed:  # Nothing depends on them then, and the command refuses them alone.
            changed = {name: value for name, value in changed.items() if name not in ("patch", "stride")}
        parser.set_defaults(**changed)
    except ValueError as error:
        raise ValueError(f"cannot take the options of {path}: {printable(error)}") from None


def _add_files(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is repainted, and where the result goes")
    add = group.add_argument
    what = group.add_mutually_exclusive_group()
    what.add_argument(
        "--content", **_several(file_path, "PHOTO"), help="photos, a folder, or a pattern; - is standard input"
    )
    what.add_argument(
        "--synthesize", type=_size, metavar="WxH", help="instead: make a texture of that size from the style alone"
    )
    add("--content-size", type=positive, metavar="N", help="resize photos to a short side of N pixels (default: as is)")
    add(
        "--max-megapixels",
        type=positive,
        metavar="N",
        help="read pictures of up to N million pixels (default: 178, beyond which a file is taken for a trap)",
    )
    add(
        "-o",
        "--output",
        type=file_path,
        metavar="FILE",
        help="a .png, .jpg, .webp or .tif, - for a PNG on standard output, or for several results a folder (default: "
        "PHOTO__PICTURE.png by the photo)",
    )
    add("--no-settings", action="store_true", help="leave out of a PNG what options, styles and model it was made with")
    there = group.add_mutually_exclusive_group()
    there.add_argument("--overwrite", action="store_true", help="replace results that exist")
    there.add_argument("--skip-existing", action="store_true", help="leave results that exist, and make the others")


def _add_styles(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("styles").add_argument
    add(
        "--style",
        **_several(file_path, "PICTURE"),
        help="pictures or style files, which are mixed; a folder or a pattern, of which each is taken alone",
    )
    add("--style-size", type=positive, metavar="N", help="resize pictures to a short side of N pixels (default: as is)")
    add(
        "--style-weights",
        **_several(number, "W"),
        help="how much there is of each in the mixture, in any scale (default: as much of all)",
    )
    add(
        "--mask",
        **_several(file_path, "MASK"),
        help="grey pictures, white where the styles go that are named in the same order; one style more takes what is "
        "left, and 'none' as a style leaves a region as it is",
    )
    add(
        "--style-mask",
        **_several(file_path, "MASK"),
        help="for each style a grey picture, white where the style is taken from, or 'none' for all of it",
    )
    add("--save-style", type=file_path, metavar="FILE", help="keep the style, mixed, in a .safetensors for --style")


def _add_looks(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("how it looks").add_argument
    add("--like", type=file_path, metavar="RESULT", help="take the options from a PNG that this program wrote")
    how = add(
        "--method",
        choices=METHODS,
        help="one pass, which is fast and keeps the photo whole, or the paper's cascade, which decodes and encodes "
        "again at each layer and paints over more of it (default: one-pass if the model has a painter that reaches "
        "--layers)",
    )
    add("--one-pass", dest=how.dest, action="store_const", const="one-pass", help="short for --method one-pass")
    add(
        "--structure",
        **_several(_fraction_or_picture, "K"),
        help="how much of the photo's structure stays in one pass, from 0, painted, to 1, the photo in other colours: "
        "one number, one for each layer as for --alpha, or a grey picture of it (default: 0)",
    )
    add(
        "--strength",
        type=_fraction_or_picture,
        default=1.0,
        metavar="S",
        help="from 0, the photo as it is, evenly to 1, the whole of the style; or a grey picture of it at each pixel "
        "(default: 1)",
    )
    add(
        "--alpha",
        default=[1.0],
        **_several(fraction, "A"),
        help="the paper's blend of features, from 0 to 1: one number, or one for each layer, in the order of --layers "
        "or, without it, deepest first (default: 1)",
    )
    add("--alpha-map", type=file_path, metavar="MASK", help="a grey picture of alpha at each pixel, times --alpha")
    add(
        "--layers",
        nargs="+",
        metavar="LAYER",
        help="layers to use, of relu1_1 ... relu5_1; always run deepest first (default: all the model can decode)",
    )
    add(
        "--shrinkage",
        type=fraction,
        metavar="S",
        help="shrink the covariances towards equal variances, from 0 to 1: calms noise in photographs (default: 0)",
    )
    add("--passes", type=whole(1, 1000), metavar="N", help="rounds of all layers (default: 1; of a texture 3)")
    add(
        "--margin",
        type=whole(0, 256),
        metavar="N",
        help="paint N pixels more on each side, mirrored, and cut them off: with 16 the border has strokes like the "
        "middle (default: none)",
    )
    add(
        "--preserve-color",
        choices=COLORS,
        help="the photo's colours, by its hues, by the distribution of red, green and blue, or by mean and covariance",
    )
    add(
        "--transform",
        choices=TRANSFORMS,
        default="zca",
        help="the paper's, optimal transport, triangular, or mean and variance of channels (default: %(default)s)",
    )
    add("--whiten-only", action="store_true", help="instead of a style: what is whitened, at relu4_1 or --layers")
    add("--swap-layers", nargs="+", metavar="LAYER", help="rebuild these layers' features of patches of the picture's")
    add("--patch", type=whole(1, 32), metavar="N", help="side of a patch in the feature (default: 3)")
    add("--stride", type=whole(1, 32), metavar="N", help="from patch to patch (default: 1)")


def _add_photographs(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("photographs").add_argument
    add("--photo", action="store_true", help="change the photo's colours and light only, and no edge: in one pass")
    add("--protect", nargs="+", choices=PROTECTED, help="colours that keep their hue with --photo: skin, neutrals")
    add("--save-lut", type=file_path, metavar="FILE", help="keep the change of --photo as a table of colours, a .cube")
    add("--lut", type=file_path, metavar="FILE", help="instead of a style: change colours by the table in a .cube")


def _add_many(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("many results")
    add = group.add_argument
    which = group.add_mutually_exclusive_group()
    which.add_argument("--pair", action="store_true", help="each photo in the style of its name, not in all")
    which.add_argument("--random", type=positive, metavar="K", help="each photo in K of the styles, drawn at random")
    add("--seed", type=seed, metavar="N", help="of --random and of a texture's noise (default: 0)")
    add("--sheet", type=file_path, metavar="FILE", help="a picture with all of them, small")


def _add_machine(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("model and machine")
    add = group.add_argument
    add(
        "--model",
        type=file_path,
        default="compact",
        help="a model file, or a name: compact, which comes with the program, or vgg19 (default: %(default)s)",
    )
    most = group.add_mutually_exclusive_group()
    most.add_argument(
        "--memory",
        type=memory,
        metavar="SIZE",
        help="how much memory to take, about, as in 4GB: what needs more is repainted in tiles, with the same result "
        "(default: half of what there is for this process)",
    )
    most.add_argument(
        "--tile", type=positive, metavar="N", help="repaint in tiles of at most N x N pixels what is larger"
    )


def _several(kind: Callable[[str], Any], metavar: str) -> dict[str, Any]:
    return {"nargs": "+", "type": kind, "metavar": metavar}


def _fraction_or_picture(text: str) -> float | Path:
    """An `argparse` type: a number in 0..1, or the path of a file."""
    if os.path.lexists(text):
        return Path(text)
    with contextlib.suppress(argparse.ArgumentTypeError):
        return fraction(text)
    raise argparse.ArgumentTypeError(f"expected a number from 0 to 1 or a grey picture, got {text!r}")


def _size(text: str) -> tuple[int, int]:
    """An `argparse` type: width and height, as in 640x480."""
    match = re.fullmatch(r"([1-9][0-9]{0,5})x([1-9][0-9]{0,5})", text)
    if not match:
        raise argparse.ArgumentTypeError(f"expected a width and a height such as 640x480, got {text!r}")
    return int(match[1]), int(match[2])
