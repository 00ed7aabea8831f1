"""Completion of `wct-jax` in the shell."""

import argparse

from wct_jax.cli.command import file_path
from wct_jax.cli.looks import fraction_or_picture


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script that teaches a shell the verbs and options of a command.

    Args:
        parser: The command's parser, with the options of its verbs.
        shell: A shell that shtab knows.
    """
    import shtab

    for each in (parser, *_parsers_of_verbs(parser)):
        for action in each._actions:
            # Places of `bulk` are plain text, since they may be buckets.
            if action.type in (file_path, fraction_or_picture) or action.metavar in ("SOURCE", "TARGET"):
                action.complete = shtab.DIRECTORY if action.metavar == "DIR" else shtab.FILE  # type: ignore[attr-defined]
    return str(shtab.complete(parser, shell))


def _parsers_of_verbs(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    choices = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return [each for names in choices for each in names.values()]
