"""Run the snippets of a page one after the other, as a reader would type them.

python tests/docs/walk.py PAGE, in a folder that has the files that the page names. Python runs in this process, in one
namespace, and `sh` in Bash. These comments in the page say what is special about the snippet after them:

    <!-- skip: next "needs a camera" -->
    <!-- background: http://127.0.0.1:8000/ -->

The second starts a server, goes on as soon as it answers at that address, and stops it at the end of the page.
"""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
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
        self.address: str | None = None
        self.servers: list[subprocess.Popen[bytes]] = []

    def run(self, example: Example) -> None:
        """Run a block of commands, or start it if the block before said so."""
        command = ["bash", "-euo", "pipefail", "-c", example.parsed]
        if self.address is None:
            subprocess.run(["timeout", str(PATIENCE), *command], check=True)
            return
        address, self.address = self.address, None
        self.servers.append(subprocess.Popen(command, start_new_session=True))
        until = time.monotonic() + PATIENCE
        while True:
            try:
                urllib.request.urlopen(address).close()
                return
            except OSError:
                if self.servers[-1].poll() is not None or time.monotonic() > until:
                    raise
            time.sleep(0.1)

    def background(self, document: Document) -> Iterator[Region]:
        """Find the comments that have the next block run in the background."""
        for region in DirectiveInHTMLCommentLexer("background")(document):
            region.parsed, region.evaluator = region.lexemes["arguments"], self.note
            yield region

    def note(self, example: Example) -> None:
        """Have the next block run in the background."""
        self.address = example.parsed

    def close(self) -> None:
        """Stop what runs in the background."""
        for server in self.servers:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait()


def parse(page: Path, shell: Shell) -> Document:
    """Find a page's snippets, and the comments about them."""
    blocks = [CodeBlockParser("sh", shell.run), PythonCodeBlockParser()]
    return Sybil([SkipParser(), shell.background, *blocks]).parse(page)


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
