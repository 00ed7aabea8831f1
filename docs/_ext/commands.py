"""Directives that describe the commands by their parsers."""

import argparse
import re
from collections.abc import Iterator

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from wct_jax.cli import main


class Command(SphinxDirective):
    """`.. command:: VERB`, its usage and all of its options."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Describe the command."""
        verb = self.arguments[0]
        text = "\n".join(_described(main._module(verb).make_parser(f"wct-jax {verb}")))
        return self.parse_text_to_nodes(text, allow_section_headings=True)


class Verbs(SphinxDirective):
    """`.. verbs::`, a list of all commands, each with a link to its page."""

    def run(self) -> list[nodes.Node]:
        """List the commands."""
        text = "".join(f":doc:`wct-jax {verb} <{verb}>`\n   {about}\n\n" for verb, (_, about) in main._VERBS.items())
        return self.parse_text_to_nodes(text)


def _described(parser: argparse.ArgumentParser) -> Iterator[str]:
    # The description ends in a block of examples, a sentence and a command by turns.
    about, _, examples = (parser.description or "").replace("%(prog)s", parser.prog).partition("\n\nexamples:\n")
    yield from (f".. program:: {parser.prog}", "", _plain(about), "", "::", "")
    usage = (parser.usage or "") % {"prog": parser.prog}
    yield from (*(f"   {line.strip()}" for line in usage.splitlines()), "", _linked(parser.epilog or ""), "")
    for line in examples.splitlines():
        yield from ("", "::", "", line, "") if line.startswith("    ") else ("", f"{_plain(_sentence(line.strip()))}:")
    yield ""
    for group in parser._action_groups:
        actions = [action for action in group._group_actions if action.dest not in ("help", "version")]
        if actions:
            title = _sentence(group.title or "")
            yield from (title, "-" * len(title), "")
        for action in actions:
            yield from _option(parser, action)


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
