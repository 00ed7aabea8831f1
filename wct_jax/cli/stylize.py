"""The parser of `stylize.py`."""

import argparse
import functools
import json
import re
from collections.abc import Sequence
from pathlib import Path

from wct_jax.checks.printable import printable
from wct_jax.cli.command import Parser, file_path, memory, positive, run, seed
from wct_jax.cli.looks import add_looks, add_model, add_photographs, add_styles, several
from wct_jax.painting.options import Options

_EPILOG = """\
Files named together after --style are mixed, or with --mask put where their masks are; each file of a folder, or of a
pattern in quotes such as 'art/*.jpg', makes a result of its own."""

_USAGE = "--content PHOTO ... --style PICTURE ... [options]"
_EXAMPLES = (
    ("a photo in the style of a painting", "--content photo.jpg --style painting.jpg"),
    ("with more of the photo's structure", "--content photo.jpg --style painting.jpg --structure 0.3"),
    ("a photograph in the colours of another", "--content photo.jpg --style dusk.jpg --photo"),
    ("every photo of a folder in every style of another", "--content photos --style paintings --output results"),
)


def make_parser(prog: str | None = None) -> Parser:
    """The command's parser, for a command of this name or that of the process."""
    parser = Parser("Repaint photos in the style of pictures.", _EPILOG, prog, usage=_USAGE, examples=_EXAMPLES)
    _add_files(parser)
    _add_styles(parser)
    _add_looks(parser)
    _add_photographs(parser)
    _add_many(parser)
    _add_machine(parser)
    return parser


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Parse the command line and repaint photos.

    Args:
        argv: Arguments; None for the arguments of the process.
        prog: Name of the command; None for the name of the process.
    """
    parser = make_parser(prog)
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
        "--content", **several(file_path, "PHOTO"), help="photos, a folder, or a pattern; - is standard input"
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
    group = add_styles(parser)
    group.add_argument(
        "--save-style", type=file_path, metavar="FILE", help="keep the style, mixed, in a .safetensors for --style"
    )


def _add_looks(parser: argparse.ArgumentParser) -> None:
    group = add_looks(parser)
    group.add_argument(
        "--like", type=file_path, metavar="RESULT", help="take the options from a PNG that this program wrote"
    )


def _add_photographs(parser: argparse.ArgumentParser) -> None:
    add = add_photographs(parser).add_argument
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
    group = add_model(parser)
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


def _size(text: str) -> tuple[int, int]:
    """An `argparse` type: width and height, as in 640x480."""
    match = re.fullmatch(r"([1-9][0-9]{0,5})x([1-9][0-9]{0,5})", text)
    if not match:
        raise argparse.ArgumentTypeError(f"expected a width and a height such as 640x480, got {text!r}")
    return int(match[1]), int(match[2])
