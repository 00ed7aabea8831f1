"""Directives that describe the commands by their parsers."""

import argparse
import importlib
import re
from collections.abc import Iterator
from unittest import mock

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from wct_jax.cli import main
from wct_jax.cli.command import Parser


class _Made(Exception):  # noqa: N818 (it carries a parser)
    pass


def _parser_of(verb: str) -> argparse.ArgumentParser:
    """The parser with which a command would read its arguments."""

    def parse_args(parser: Parser, *_: object) -> None:
        raise _Made(parser)

    module = importlib.import_module(f"wct_jax.cli.{main._VERBS[verb][0]}")
    with mock.patch.object(Parser, "parse_args", parse_args):
        try:
            module.main([], f"wct-jax {verb}")
        except _Made as made:
            return made.args[0]
    raise ValueError(f"wct-jax {verb} parses no arguments")


class Command(SphinxDirective):
    """`.. command:: VERB`, its usage and all of its options."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Describe the command."""
        text = "\n".join(_described(_parser_of(self.arguments[0])))
        return self.parse_text_to_nodes(text, allow_section_headings=True)


class Verbs(SphinxDirective):
    """`.. verbs::`, a list of all commands, each with a link to its page."""

    def run(self) -> list[nodes.Node]:
        """List the commands."""
        text = "".join(f":doc:`wct-jax {verb} <{verb}>`\n   {about}\n\n" for verb, (_, about) in main._VERBS.items())
        return self.parse_text_to_nodes(text)


def _described(parser: argparse.ArgumentParser) -> Iterator[str]:
    yield from (f".. program:: {parser.prog}", "", _plain(parser.description or ""), "")
    yield from (".. code-block:: text", "", f"   {_usage(parser)}", "", _linked(parser.epilog or ""), "")
    for group in parser._action_groups:
        actions = [action for action in group._group_actions if action.dest not in ("help", "version")]
        # The two groups of argparse itself come first, without a title.
        if actions and group not in (parser._positionals, parser._optionals):
            title = _sentence(group.title or "")
            yield from (title, "-" * len(title), "")
        for action in actions:
            yield from _option(parser, action)


def _usage(parser: argparse.ArgumentParser) -> str:
    if parser.usage:
        return parser.usage % {"prog": parser.prog}
    named = [_forms(action)[-1] for action in parser._actions if action.required or not action.option_strings]
    return " ".join([parser.prog, *named, "[options]"])


def _option(parser: argparse.ArgumentParser, action: argparse.Action) -> Iterator[str]:
    about = parser._get_formatter()._expand_help(action) if action.help else ""
    yield from (f".. option:: {', '.join(_forms(action))}", "", f"   {_linked(_sentence(about))}", "")


def _forms(action: argparse.Action) -> list[str]:
    """What is written on the command line: each name of an option, followed by its values."""
    values = _values(action)
    return [f"{name} {values}".strip() for name in action.option_strings] or [values]


def _values(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    choices = "{" + ",".join(map(str, action.choices or ())) + "}"
    value = action.metavar or (choices if action.choices else action.dest.upper())
    return {"?": f"[{value}]", "+": f"{value} ...", "*": f"[{value} ...]"}.get(str(action.nargs), f"{value}")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _plain(text: str) -> str:
    return re.sub(r"([\\`*_|]|:(?=//))", r"\\\1", text)


def _linked(text: str) -> str:
    """Text whose options are links, so that it can name none that the command lacks."""
    return re.sub(r"(?<![\w-])(--[a-z][a-z-]*[a-z])", r":option:`\1`", _plain(text))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives."""
    app.add_directive("command", Command)
    app.add_directive("verbs", Verbs)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
