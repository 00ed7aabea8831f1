"""The layout of `--help`: like a manual page, examples first, in at most 100 columns."""

import argparse
import shutil
from collections.abc import Iterable

_MOST_COLUMNS = 100

# A sentence that says what is done, and the arguments that do it.
Example = tuple[str, str]


class Manual(argparse.HelpFormatter):
    """A formatter that keeps indented lines as they are, and names each option once."""

    def __init__(self, prog: str) -> None:
        columns = min(shutil.get_terminal_size().columns, _MOST_COLUMNS)
        super().__init__(prog, max_help_position=26, width=max(columns - 1, 40))

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        blocks = []
        for block in text.split("\n\n"):
            fill = super()._fill_text
            blocks.append(block if "\n  " in block else fill(block, width, indent))
        return "\n\n".join(blocks)

    def _format_args(self, action: argparse.Action, default_metavar: str) -> str:
        if action.nargs == argparse.ONE_OR_MORE:  # Otherwise "PHOTO [PHOTO ...]".
            return f"{self._metavar_formatter(action, default_metavar)(1)[0]} ..."
        return super()._format_args(action, default_metavar)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if len(action.option_strings) < 2 or action.nargs == 0:
            return super()._format_action_invocation(action)
        # Before Python 3.13 it is "-o FILE, --output FILE".
        arguments = self._format_args(action, action.dest.upper())
        return f"{', '.join(action.option_strings)} {arguments}"


def manual(description: str, examples: Iterable[Example]) -> str:
    """The text between the usage and the options.

    Args:
        description: What the command does.
        examples: Examples of its use; the arguments follow the command's name.
    """
    shown = [f"  {sentence}\n    %(prog)s {arguments}".rstrip() for sentence, arguments in examples]
    return "\n\n".join([description, *(["examples:\n" + "\n".join(shown)] if shown else [])])
