"""The command `wct-jax serve`: the studio in the browser, and an HTTP API."""

import argparse
import functools
import ipaddress
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from wct_jax.cli.command import Parser, number, positive, run, say, whole
from wct_jax.cli.looks import add_model, several
from wct_jax.system.heap import share_heap

if TYPE_CHECKING:
    from wct_jax.server.guard import Door
    from wct_jax.studio.session import Session

_EPILOG = """\
Open the address that it prints. Programs use the same server by HTTP: /docs describes how."""
_USAGE = "[--port N] [--host ADDRESS] [options]"
_EXAMPLES = (
    ("the studio at http://127.0.0.1:8000/, for this machine alone", ""),
    ("for other machines, which must show the token that it prints", "--host 0.0.0.0 --port 8080"),
    ("with a larger model", "--model vgg19 --warm 768"),
)
_TOKEN = "WCT_JAX_TOKEN"
_LOOPBACK = "127.0.0.1"


def make_parser(prog: str | None = None) -> Parser:
    """The command's parser, for a command of this name or that of the process."""
    description = "Serve a page on which photos are repainted, and an HTTP API."
    parser = Parser(description, _EPILOG, prog, usage=_USAGE, examples=_EXAMPLES)
    _add_address(parser)
    _add_bounds(parser)
    add = add_model(parser).add_argument
    add(
        "--warm",
        **several(whole(64, 4096), "N"),
        default=[512],
        help="before the first request compile for photos with a long side of N pixels (default: 512)",
    )
    add("--no-warm", dest="warm", action="store_const", const=(), help="compile when the first photo comes")
    return parser


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Parse the command line and serve.

    Args:
        argv: Arguments; None for the arguments of the process.
        prog: Name of the command; None for the name of the process.
    """
    parser = make_parser(prog)
    arguments = parser.parse_args(argv)
    run(parser, functools.partial(_serve, arguments, parser.prog))


def _add_address(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("where, and for whom").add_argument
    add("--port", type=whole(0, 65535), default=8000, metavar="N", help="the port, 0 for a free one (default: 8000)")
    add(
        "--host",
        default=_LOOPBACK,
        metavar="ADDRESS",
        help="the address of this machine to serve at, such as 0.0.0.0 for all; other machines reach it then, and must "
        "show a token (default: 127.0.0.1, for this machine alone)",
    )
    add(
        "--name",
        dest="names",
        **several(str, "NAME"),
        default=[],
        help="names of this machine by which browsers may call it, besides localhost and its addresses",
    )
    add(
        "--token",
        metavar="T",
        help=f"the token, of 16 signs or more; other users of this machine may see it here, but not in the variable "
        f"{_TOKEN} (default: that, or with --host one made up now)",
    )


def _add_bounds(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("the most that clients may take").add_argument
    add("--max-megapixels", type=positive, default=100, metavar="N", help="million pixels of a picture (default: 100)")
    add("--max-upload", type=positive, default=100, metavar="MB", help="megabytes of a request (default: 100)")
    add("--queue", type=whole(1, 10000), default=32, metavar="N", help="pictures that wait (default: 32)")
    add("--time-limit", type=number, default=900, metavar="S", help="seconds for a picture (default: 900)")
    add("--rate", type=number, default=100, metavar="R", help="requests of one client per second (default: 100)")


def _serve(arguments: argparse.Namespace, program: str) -> None:
    door, token = _door(arguments)
    from wct_jax.server.bounds import Bounds
    from wct_jax.server.painting import warm
    from wct_jax.server.service import Service
    from wct_jax.server.serving import bind, serve
    from wct_jax.server.workers import Workers

    share_heap()

    million = 10**6
    bounds = Bounds(
        pixels=arguments.max_megapixels * million,
        upload=arguments.max_upload * million,
        queue=arguments.queue,
        seconds=arguments.time_limit,
        rate=arguments.rate,
    )

    def opened() -> "Session":
        from wct_jax.studio.limits import Limits
        from wct_jax.studio.session import Session

        return Session(arguments.model, Limits(max_pixels=bounds.pixels), keep_compiled=True)

    def warmed(session: "Session") -> Iterator[None]:
        return warm(session, arguments.warm, [kept.picture for kept in service.styles.packaged()])

    service = Service(Workers(opened, warmed, bounds.queue), bounds)
    with bind(arguments.host, arguments.port) as taken:
        host, port = taken.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        secret = f"#token={token}" if token else ""
        address = f"http://{shown}:{port}/{secret}"
        serve(service, taken, door, str(arguments.model), lambda: say(f"{program}: {address}"))


def _door(arguments: argparse.Namespace) -> "tuple[Door, str | None]":
    """Who may come in, and the token."""
    token = arguments.token or os.environ.get(_TOKEN) or None
    if token is not None and not re.fullmatch(r"[\x21-\x7e]{16,}", token):
        raise ValueError("--token must have 16 signs or more, without spaces or letters beyond ASCII")
    public = not _is_loopback(arguments.host)
    if public and token is None:
        token = secrets.token_urlsafe(24)
    from wct_jax.server.guard import Door

    own = (*Door.names, *(name.lower() for name in arguments.names))
    own += () if public else (arguments.host.lower(), f"[{arguments.host.lower()}]")
    return Door(own, public, token), token


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
