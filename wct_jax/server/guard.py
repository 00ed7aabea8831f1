"""The guard: who may ask, how fast, and what every answer says to browsers."""

import asyncio
import contextlib
import hmac
import ipaddress
import json
import time
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wct_jax.server.bounds import Bounds
from wct_jax.server.clients import Clients, name_of
from wct_jax.server.metrics import Metrics
from wct_jax.server.refusal import Refused

_SAFE = ("GET", "HEAD")
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; object-src 'none'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
# What a browser loads before the page has read the token.
_OPEN = ("/", "/docs", "/docs.css", "/openapi.json", "/v1/health")
# Bytes of an answer that are sent at once.
_PIECE = 2**18
# Bytes, and seconds for which they may come, of a refused body that are taken so that the client reads the answer.
_DRAINED, _DRAINING = 2**24, 2.0


@dataclass(frozen=True)
class Door:
    """Who may come in.

    Attributes:
        names: The names, in lower case, by which a browser may call this machine.
        addresses: Whether any address of a machine is such a name, too; no other site can be called by one.
        token: The token that a client must show, or None.
    """

    names: Collection[str] = ("localhost", "127.0.0.1", "[::1]")
    addresses: bool = False
    token: str | None = None

    def check(self, scope: Scope, headers: Headers) -> None:
        """Check a request.

        Raises:
            Refused: It must not come in.
        """
        host = headers.get("host", "")
        # A page of another site can have a name of its own lead to this machine, which the Host header gives away.
        if not self._knows(_name_in(host)):
            raise Refused(403, "this server is not called so: expected the address that it printed when it started")
        if scope["method"] not in _SAFE:
            origin, site = headers.get("origin"), headers.get("sec-fetch-site")
            if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
                raise Refused(403, "this request comes from a page of another site")
            if site not in (None, "same-origin", "none"):
                raise Refused(403, "this request comes from a page of another site")
        if self.token and not (scope["path"] in _OPEN or scope["path"].startswith("/page/")):
            given = headers.get("authorization", "").encode()
            if not hmac.compare_digest(given, f"Bearer {self.token}".encode()):
                raise Refused(401, "expected the token, as in Authorization: Bearer TOKEN")

    def _knows(self, name: str) -> bool:
        if name in self.names:
            return True
        try:
            return self.addresses and bool(ipaddress.ip_address(name.strip("[]")))
        except ValueError:
            return False


def _name_in(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdecimal() else host).lower()


class Guard:
    """Middleware around the whole application."""

    def __init__(self, app: ASGIApp, door: Door, bounds: Bounds, metrics: Metrics) -> None:
        """Wrap an application.

        Args:
            app: The application.
            door: Who may come in.
            bounds: How much they may send, and how fast.
            metrics: Counts the requests.
        """
        self._app, self._door, self.bounds, self._metrics = app, door, bounds, metrics
        self._clients = Clients(bounds.rate, bounds.requests)
        self._held = 0  # Bytes of bodies on their way.

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request as ASGI describes."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close"})

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers, start = Headers(scope=scope), time.monotonic()
        body = _Body(self, receive, headers)
        answer = _Answer(scope, send, body)
        client = name_of((scope["client"] or ("",))[0])
        scope["state"] = {**scope.get("state", {}), "client": client}
        try:
            self._door.check(scope, headers)
            with self._clients.admitted(client):
                body.check()
                await self._app(scope, body.receive, answer.send)
        except Refused as error:
            if not answer.status:
                await answer.refuse(error)
        finally:
            self._held -= body.held
            self._metrics.request(scope, answer.status, time.monotonic() - start)

    def hold(self, size: int) -> None:
        """Count bytes of a body.

        Raises:
            Refused: They are too many together.
        """
        self._held += size
        if self._held > 4 * self.bounds.upload:
            raise Refused(503, "too many uploads are on their way: expected to be asked again later", 5)


class _Body:
    """A request's body as it comes in."""

    def __init__(self, guard: Guard, receive: Receive, headers: Headers) -> None:
        self._guard, self._receive, self._bounds = guard, receive, guard.bounds
        self._end = time.monotonic() + self._bounds.body
        self._length = headers.get("content-length", "")
        self.held, self.whole = 0, self._length in ("", "0") and "transfer-encoding" not in headers

    def check(self) -> None:
        """Refuse a body that says it is too large."""
        length = self._length
        if length.isdecimal() and (len(length) > 15 or int(length) > self._bounds.upload):
            self._refuse()

    def _refuse(self) -> None:
        raise Refused(413, f"the request is too large: expected at most {self._bounds.upload / 1e6:g} MB")

    async def receive(self) -> Message:
        """Receive a part of the body; afterwards, that the client has gone."""
        if self.whole:
            return await self._receive()
        seconds = min(self._bounds.idle, self._end - time.monotonic())
        try:
            async with asyncio.timeout(max(0, seconds)):
                message = await self._receive()
        except TimeoutError:
            raise Refused(408, "the request comes too slowly") from None
        self.whole = not message.get("more_body", False)
        size = len(message.get("body", b""))
        self.held += size
        self._guard.hold(size)
        if self.held > self._bounds.upload:
            self._refuse()
        return message

    async def drain(self) -> None:
        """Take the rest for a moment, or the connection would be reset before the client reads the answer."""
        taken = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAINING):
                while not self.whole and taken < _DRAINED:
                    message = await self._receive()
                    taken += len(message.get("body", b""))
                    self.whole = not message.get("more_body", False)


class _Answer:
    """An answer, with the headers that all have."""

    def __init__(self, scope: Scope, send: Send, body: _Body) -> None:
        self._kept = "no-store" if scope["path"].startswith("/v1/") else "no-cache"
        self._send, self._body, self.status = send, body, 0

    async def send(self, message: Message) -> None:
        """Send a part, to a client that takes it."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(raw=message["headers"])
            headers.setdefault("Cache-Control", self._kept)
            for name, value in _HEADERS.items():
                headers[name] = value
            if not self._body.whole:
                headers["Connection"] = "close"
        elif not self._body.whole and not message.get("more_body", False):
            await self._pass_on({**message, "more_body": True})
            if self.status != 408:
                await self._body.drain()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._pass_on(message)

    async def _pass_on(self, message: Message) -> None:
        # In pieces, or a client that takes nothing would keep the whole of it in memory.
        body = message.get("body", b"")
        last = max(0, (len(body) - 1) // _PIECE * _PIECE)
        for start in range(0, last, _PIECE):
            await self._send({**message, "body": body[start : start + _PIECE], "more_body": True})
        await self._send({**message, "body": body[last:]} if last else message)

    async def refuse(self, error: Refused) -> None:
        """Send a refusal."""
        content = json.dumps({"detail": error.sentence}).encode()
        headers = {"content-type": "application/json", "content-length": str(len(content)), **error.headers}
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await self.send({"type": "http.response.start", "status": error.status, "headers": raw})
        await self.send({"type": "http.response.body", "body": content})
