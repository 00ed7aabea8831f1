"""The command `wct-jax`: a verb, then that verb's own options."""

import argparse
import importlib
import sys
from collections.abc import Sequence

import wct_jax
from wct_jax.cli.command import Parser, run, start_jax, tell

_VERBS = {
    "stylize": ("stylize", "repaint photos in the style of pictures"),
    "video": ("video", "repaint films"),
    "bulk": ("bulk", "repaint the photos of a folder or bucket on a cluster"),
    "live": ("live", "paint what a camera sees"),
    "serve": ("serve", "serve a page for browsers, and an HTTP API"),
    "train": ("train", "train decoders"),
    "distill": ("distill", "make a small model from larger ones"),
    "evaluate": ("evaluate", "compare methods in figures, pictures and votes"),
    "convert": ("convert_vgg", "make a model file of published weights"),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command that a verb names.

    Args:
        argv: Arguments, the verb first; None for the arguments of the process.
    """
    given = sys.argv[1:] if argv is None else list(argv)
    parser = Parser("Universal style transfer by whitening and coloring transforms.", prog="wct-jax")
    about = "with --version: also the versions of JAX, and whether native code is in use"
    parser.add_argument("-v", "--verbose", action="store_true", help=about)
    if set(given) in ({"--version", "-v"}, {"--version", "--verbose"}):
        run(parser, _tell_versions)
        return
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=argparse.ArgumentParser)
    for verb, (_, summary) in _VERBS.items():
        verbs.add_parser(verb, help=summary, add_help=False)
    verb = parser.parse_args(given[:1]).verb
    module = importlib.import_module(f"wct_jax.cli.{_VERBS[verb][0]}")
    module.main(given[1:], f"wct-jax {verb}")


def _tell_versions() -> None:
    start_jax()
    import jax
    import jaxlib.version

    from wct_jax.kernels.native import library

    instructions = library.instructions()
    native = f"native code for {instructions}" if instructions else f"no native code: {library.reason()}"
    tell(f"wct_jax {wct_jax.__version__}", f"jax {jax.__version__}, jaxlib {jaxlib.version.__version__}, {native}")
