"""The command `wct-jax`: a verb, then that verb's own options."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Any

import wct_jax
from wct_jax.cli.command import Parser, run, start_jax, tell

_VERBS = {
    "stylize": ("stylize", "repaint photos in the style of pictures"),
    "video": ("video", "repaint films"),
    "live": ("live", "paint what a camera sees"),
    "serve": ("serve", "serve a page for browsers, and an HTTP API"),
    "bulk": ("bulk", "repaint the photos of a folder or bucket on a cluster"),
    "evaluate": ("evaluate", "compare methods in figures, pictures and votes"),
    "convert": ("convert_vgg", "make a model file of published weights"),
    "train": ("train", "train decoders"),
    "distill": ("distill", "make a small model from larger ones"),
}
_SHELLS = ("bash", "zsh", "fish", "powershell", "tcsh")
_EXAMPLES = (
    ("repaint a photo; the result is photo__painting.png", "stylize --content photo.jpg --style painting.jpg"),
    ("open the studio in the browser", "serve"),
    ("read about the options of a verb", "stylize --help"),
)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command that a verb names.

    Args:
        argv: Arguments, the verb first; None for the arguments of the process.
    """
    given = sys.argv[1:] if argv is None else list(argv)
    parser = _make_parser()
    if set(given) in ({"--version", "-v"}, {"--version", "--verbose"}):
        run(parser, _tell_versions)
        return
    verb = parser.parse_args(given[: 2 if given[:1] == ["--print-completion"] else 1]).verb
    _module(verb).main(given[1:], f"wct-jax {verb}")


def _make_parser(whole: bool = False) -> Parser:
    """The parser of the verb, and if asked for of the verbs' options, whose modules take time to load."""
    parser = Parser(
        "Universal style transfer by whitening and coloring transforms.",
        prog="wct-jax",
        usage="VERB [options]",
        examples=_EXAMPLES,
    )
    about = "with --version: also the versions of JAX, and whether native code is in use"
    parser.add_argument("-v", "--verbose", action="store_true", help=about)
    about = f"print what a shell needs to complete this command, and exit: {', '.join(_SHELLS)}"
    parser.add_argument("--print-completion", action=_PrintCompletion, choices=_SHELLS, metavar="SHELL", help=about)
    verbs = parser.add_subparsers(
        title="verbs", dest="verb", metavar="VERB", required=True, parser_class=argparse.ArgumentParser
    )
    for verb, (_, summary) in _VERBS.items():
        parents = [_module(verb).make_parser()] if whole else []
        verbs.add_parser(verb, help=summary, add_help=False, parents=parents)
    return parser


def _module(verb: str) -> Any:
    return importlib.import_module(f"wct_jax.cli.{_VERBS[verb][0]}")


class _PrintCompletion(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, _: Any, shell: Any, option: str | None = None) -> None:
        from wct_jax.cli.completion import script

        sys.stdout.write(script(_make_parser(whole=True), shell))
        parser.exit()


def _tell_versions() -> None:
    start_jax()
    import jax
    import jaxlib.version

    from wct_jax.kernels.native import library

    instructions = library.instructions()
    native = f"native code for {instructions}" if instructions else f"no native code: {library.reason()}"
    tell(f"wct_jax {wct_jax.__version__}", f"jax {jax.__version__}, jaxlib {jaxlib.version.__version__}, {native}")
