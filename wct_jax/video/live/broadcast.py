"""A live picture for browsers on this machine, as a stream of JPEG pictures."""

import contextlib
import functools
import html
import json
import re
import socket
import threading
from collections.abc import Callable, Sequence
from fractions import Fraction
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from wct_jax.video.flow import opencv
from wct_jax.video.live.newest import Newest

_ADDRESS = "127.0.0.1"
_HOSTS = (_ADDRESS, "localhost")
_BOUNDARY = "frame"
_QUALITY = 85
# Seconds after which a client that takes nothing is left, and bytes on their way to it: some pictures, not seconds.
_TIMEOUT, _BUFFER = 10.0, 2**17
_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>wct-jax live</title>
<style>
body {{ margin: 0; background: #111; color: #ccc; font: 15px sans-serif; text-align: center }}
img {{ width: 100%; max-height: 90vh; object-fit: contain }}
</style>
<img src="/stream" alt="The live picture">
<p>{buttons}</p>
<script>
for (const button of document.querySelectorAll("button"))
  button.onclick = () => fetch(`/style/${{button.value}}`, {{method: "POST"}});
</script>
"""


class Broadcast:
    """A server at `http://127.0.0.1:PORT/` with a page, `/stream`, `/stats`, and `POST /style/N`, counted from 1.

    Each client gets the newest frame that it can take, so a slow one slows nobody.

    Attributes:
        port: The port.
    """

    def __init__(
        self, port: int, styles: Sequence[str], switch: Callable[[int], None], stats: Callable[[], dict[str, Any]]
    ) -> None:
        """Begin to serve.

        Args:
            port: The port; 0 for one that is free.
            styles: The names of the styles.
            switch: Called with the number of a style, from 0.
            stats: Returns plain values for `/stats`.

        Raises:
            ValueError: OpenCV is not installed, or the port cannot be had.
        """
        opencv()
        self.styles, self.switch, self.stats = styles, switch, stats
        self.pictures: Newest[_Picture] = Newest()
        try:
            self._server = _Server((_ADDRESS, port), functools.partial(_Client, self))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ValueError(f"cannot serve at port {port} of {_ADDRESS}: {reason}") from None
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)
        self._thread.start()

    def show(self, pixels: np.ndarray, time: Fraction) -> None:
        """Show a frame to whoever watches."""
        self.pictures.put(_Picture(pixels))

    def close(self) -> None:
        """End the streams and the server."""
        self.pictures.end()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Picture:
    """A frame, which is encoded at most once, and only if somebody watches."""

    def __init__(self, pixels: np.ndarray) -> None:
        self._pixels, self._lock, self._encoded = pixels, threading.Lock(), b""

    def encoded(self) -> bytes:
        cv2 = opencv()
        with self._lock:
            if not self._encoded:
                options = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
                _, encoded = cv2.imencode(".jpg", cv2.cvtColor(self._pixels, cv2.COLOR_RGB2BGR), options)
                self._encoded = encoded.tobytes()
        return self._encoded


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Another program's port is not shared on Windows.
    allow_reuse_port = False


class _Client(BaseHTTPRequestHandler):
    timeout = _TIMEOUT
    wbufsize = 0

    def __init__(self, broadcast: Broadcast, *given: Any) -> None:
        self._broadcast = broadcast
        super().__init__(*given)

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # The client has gone.
            super().handle()

    def do_GET(self) -> None:
        if self._is_foreign():
            return
        if self.path == "/":
            buttons = [
                f'<button value="{number}">{html.escape(name)}</button>'
                for number, name in enumerate(self._broadcast.styles, 1)
            ]
            self._answer(_PAGE.format(buttons=" ".join(buttons)).encode(), "text/html; charset=utf-8")
        elif self.path == "/stats":
            self._answer(json.dumps(self._broadcast.stats()).encode(), "application/json")
        elif self.path == "/stream":
            self._stream()
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        if self._is_foreign():
            return
        match = re.fullmatch(r"/style/([0-9]{1,4})", self.path)
        count = len(self._broadcast.styles)
        if not match or not 1 <= int(match[1]) <= count:
            self.send_error(HTTPStatus.NOT_FOUND, f"expected /style/1 to /style/{count}")
            return
        self._broadcast.switch(int(match[1]) - 1)
        self._answer(b"{}", "application/json")

    def log_message(self, format: str, *values: object) -> None:
        """Say nothing."""

    def _is_foreign(self) -> bool:
        """Refuse pages of other sites, which could reach us by a name of theirs that leads to this machine."""
        hosts = [f"{host}:{self._broadcast.port}" for host in _HOSTS] + [*_HOSTS] * (self._broadcast.port == 80)
        origin = self.headers.get("Origin")
        if self.headers.get("Host") in hosts and origin in (None, *(f"http://{host}" for host in hosts)):
            return False
        self.send_error(HTTPStatus.FORBIDDEN, f"expected a request to {hosts[0]} from a page of its own")
        return True

    def _begin(self, kind: str, length: int | None = None) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Cache-Control", "no-store")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("X-Content-Type-Options", "nosniff")
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def _answer(self, body: bytes, kind: str) -> None:
        self._begin(kind, len(body))
        self.wfile.write(body)

    def _stream(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        self._begin(f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
        number = 0
        while (taken := self._broadcast.pictures.after(number)) is not None:
            number, picture = taken
            body = picture.encoded()
            head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(body)}\r\n\r\n"
            self.wfile.write(head.encode() + body + b"\r\n")
