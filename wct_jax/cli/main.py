"""The command `wct-jax`: a verb, then that verb's own options."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from wct_jax.cli.command import Parser

_VERBS = {
    "stylize": ("stylize", "repaint photos in the style of pictures"),
    "train": ("train", "train decoders"),
    "distill": ("distill", "make a small model from larger ones"),
    "convert": ("convert_vgg", "make a model file of published weights"),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command that a verb names.

    Args:
        argv: Arguments, the verb first; None for the arguments of the process.
    """
    given = sys.argv[1:] if argv is None else list(argv)
    parser = Parser("Universal style transfer by whitening and coloring transforms.", prog="wct-jax")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=argparse.ArgumentParser)
    for verb, (_, summary) in _VERBS.items():
        verbs.add_parser(verb, help=summary, add_help=False)
    verb = parser.parse_args(given[:1]).verb
    module = importlib.import_module(f"wct_jax.cli.{_VERBS[verb][0]}")
    module.main(given[1:], f"wct-jax {verb}")
