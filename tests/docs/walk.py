"""Run the snippets of a page one after the other, as a reader would type them.

python tests/docs/walk.py PAGE, in a folder that has the files that the page names. Python runs in this process, in one
namespace, and `sh` in Bash. These comments in the page say what is special about the snippet after them:

    <!-- skip: next "needs a camera" -->
    <!-- shorten: --steps 2 --crop 32 -->
    <!-- background: http://127.0.0.1:8000/ -->

The second adds arguments to each command, which would take hours as it is typed. The third starts a server, goes on as
soon as it answers at that address, and stops it before the next server or at the end of the page.
"""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import SkipTest

from sybil import Document, Example, Region, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser, SkipParser
from sybil.parsers.markdown.lexers import DirectiveInHTMLCommentLexer

# Seconds after which a block or a server hangs; on a busy machine some take minutes.
PATIENCE = 600


class Shell:
    """Runs the commands of a page; what a reader would do at a second terminal, too."""

    def __init__(self) -> None:
        self.notes: dict[str, str] = {}
        self.server: subprocess.Popen[bytes] | None = None

    def run(self, example: Example) -> None:
        """Run a block of commands, as the comments before it say."""
        added, address = self.notes.pop("shorten", None), self.notes.pop("background", None)
        typed = example.parsed if added is None else re.sub(r"(?m)(?<=[^\\\n])$", f" {added}", example.parsed)
        command = ["bash", "-euo", "pipefail", "-c", typed]
        if address is None:
            subprocess.run(["timeout", str(PATIENCE), *command], check=True)
            return
        self.close()
        self.server = subprocess.Popen(command, start_new_session=True)
        until = time.monotonic() + PATIENCE
        while True:
            try:
                urllib.request.urlopen(address).close()
                return
            except OSError:
                if self.server.poll() is not None or time.monotonic() > until:
                    raise
            time.sleep(0.1)

    def comments(self, kind: str) -> Callable[[Document], Iterator[Region]]:
        """Find the comments of a kind, which say something about the next block."""

        def note(example: Example) -> None:
            self.notes[kind] = example.parsed

        def find(document: Document) -> Iterator[Region]:
            for region in DirectiveInHTMLCommentLexer(kind)(document):
                region.parsed, region.evaluator = region.lexemes["arguments"], note
                yield region

        return find

    def close(self) -> None:
        """Stop what runs in the background."""
        if self.server is not None:
            os.killpg(self.server.pid, signal.SIGTERM)
            self.server.wait()


def parse(page: Path, shell: Shell) -> Document:
    """Find a page's snippets, and the comments about them."""
    blocks = [CodeBlockParser("sh", shell.run), PythonCodeBlockParser()]
    return Sybil([SkipParser(), shell.comments("background"), shell.comments("shorten"), *blocks]).parse(page)


def walk(page: Path) -> None:
    """Run the snippets of a page, and print the line of each with how long it took or why it was not run."""
    shell = Shell()
    document = parse(page, shell)
    name = page.resolve().relative_to(Path(__file__).parents[2])
    document.namespace["__name__"] = "__main__"
    try:
        for example in document:
            start = time.monotonic()
            try:
                example.evaluate()
            except SkipTest as reason:
                print(f"{name}:{example.line} not run: {reason}", flush=True)
            else:
                print(f"{name}:{example.line} {time.monotonic() - start:.1f} s", flush=True)
    finally:
        shell.close()


if __name__ == "__main__":
    walk(Path(sys.argv[1]))
