"""The options of styles and looks, which commands share."""

import argparse
import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wct_jax.cli.command import file_path, fraction, number, positive, whole
from wct_jax.painting.options import COLORS, METHODS, PROTECTED, TRANSFORMS


def add_styles(parser: argparse.ArgumentParser) -> Any:
    """Add the options of styles, and return their group."""
    group = parser.add_argument_group("styles")
    add = group.add_argument
    add(
        "--style",
        **several(file_path, "PICTURE"),
        help="pictures or style files, which are mixed; a folder or a pattern, of which each is taken alone",
    )
    add("--style-size", type=positive, metavar="N", help="resize pictures to a short side of N pixels (default: as is)")
    add(
        "--style-weights",
        **several(number, "W"),
        help="how much there is of each in the mixture, in any scale (default: as much of all)",
    )
    add(
        "--mask",
        **several(file_path, "MASK"),
        help="grey pictures, white where the styles go that are named in the same order; one style more takes what is "
        "left, and 'none' as a style leaves a region as it is",
    )
    add(
        "--style-mask",
        **several(file_path, "MASK"),
        help="for each style a grey picture, white where the style is taken from, or 'none' for all of it",
    )
    return group


def add_looks(parser: argparse.ArgumentParser) -> Any:
    """Add the options of the painting, and return their group."""
    group = parser.add_argument_group("how it looks")
    add = group.add_argument
    how = add(
        "--method",
        choices=METHODS,
        help="one pass, which is fast and keeps the photo whole, or the paper's cascade, which decodes and encodes "
        "again at each layer and paints over more of it (default: one-pass if the model has a painter that reaches "
        "--layers); to compare: gatys, which optimises the photo, and elad-milanfar, which takes the picture's patches",
    )
    add("--one-pass", dest=how.dest, action="store_const", const="one-pass", help="short for --method one-pass")
    add(
        "--structure",
        **several(fraction_or_picture, "K"),
        help="how much of the photo's structure stays in one pass, from 0, painted, to 1, the photo in other colours: "
        "one number, one for each layer as for --alpha, or a grey picture of it (default: 0)",
    )
    add(
        "--strength",
        type=fraction_or_picture,
        metavar="S",
        help="from 0, the photo as it is, evenly to 1, the whole of the style; or a grey picture of it at each pixel "
        "(default: 1; for a photograph less where the colours are near the style's already)",
    )
    add(
        "--alpha",
        default=[1.0],
        **several(fraction, "A"),
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
    add("--steps", type=whole(1, 100_000), metavar="N", help="steps of --method gatys (default: 200)")
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
    return group


def add_photographs(parser: argparse.ArgumentParser) -> Any:
    """Add the options of photographs in the colours of another, and return their group."""
    group = parser.add_argument_group("photographs")
    add = group.add_argument
    add("--photo", action="store_true", help="change only the photo's colours and light, and no edge")
    add("--protect", nargs="+", choices=PROTECTED, help="colours that keep their hue with --photo: skin, neutrals")
    return group


def add_model(parser: argparse.ArgumentParser) -> Any:
    """Add the option of the model, and return its group."""
    group = parser.add_argument_group("model and machine")
    add = group.add_argument
    add(
        "--model",
        type=file_path,
        default="compact",
        help="a model file, or a name: compact, which comes with the program, or vgg19 (default: %(default)s)",
    )
    return group


def several(kind: Callable[[str], Any], metavar: str) -> dict[str, Any]:
    """The keywords of an option that takes several values."""
    return {"nargs": "+", "type": kind, "metavar": metavar}


def fraction_or_picture(text: str) -> float | Path:
    """An `argparse` type: a number in 0..1, or the path of a file."""
    if os.path.lexists(text):
        return Path(text)
    with contextlib.suppress(argparse.ArgumentTypeError):
        return fraction(text)
    raise argparse.ArgumentTypeError(f"expected a number from 0 to 1 or a grey picture, got {text!r}")
