"""Serving: the port, and an end that loses nothing."""

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

import uvicorn

from wct_jax.server.app import application
from wct_jax.server.connection import Connection
from wct_jax.server.guard import Door
from wct_jax.server.service import Service
from wct_jax.system.atomic import discard_unfinished

# Seconds in which what is being painted may be finished; in which it must have stopped, and been answered; and for its
# last step.
_FINISHING, _ANSWERING, _STOPPING = 2.0, 3, 1.0


def bind(host: str, port: int) -> socket.socket:
    """Take a port.

    Args:
        host: An address or name of this machine.
        port: The port; 0 for one that is free.

    Raises:
        ValueError: It cannot be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with contextlib.ExitStack() as opened:
            taken = opened.enter_context(socket.socket(family, kind, protocol))
            if os.name == "posix":  # Windows would share the port with another program.
                taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(address)
            taken.listen(128)
            opened.pop_all()
    except (OSError, UnicodeError) as error:
        raise ValueError(f"cannot serve at port {port} of {host}: {getattr(error, 'strerror', error)}") from None
    return taken


class _Server(uvicorn.Server):
    """uvicorn, which leaves signals to us: it would raise them again at the end, and that would look like a crash."""

    def __init__(self, config: uvicorn.Config, service: Service, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._service, self._started = service, started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.should_exit:
            self._started()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {}
        if threading.current_thread() is threading.main_thread():
            for which in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(which) not in (signal.SIG_IGN, None):
                    before[which] = signal.signal(which, self.handle_exit)
        try:
            yield
        finally:
            for which, handler in before.items():
                signal.signal(which, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            self._service.tidy()
            leave(128 + sig)
        self.should_exit = True
        threading.Thread(target=self._service.end, args=(_FINISHING,), daemon=True).start()


def leave(status: int) -> NoReturn:
    """End the process at once, whatever its threads do."""
    discard_unfinished()
    os._exit(status)


def serve(service: Service, taken: socket.socket, door: Door, model: str, started: Callable[[], None]) -> None:
    """Serve until the process is asked to end. It may have to end without returning.

    Args:
        service: The service; its workers are started here.
        taken: The port.
        door: Who may come in.
        model: The model's name.
        started: Called once the port answers.

    Raises:
        Exception: The workers cannot paint.
    """
    config = uvicorn.Config(
        application(service, door, model),
        http=Connection,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=_ANSWERING,
    )
    server = _Server(config, service, started)

    def failed() -> None:
        server.should_exit = True

    service.failed = failed
    server.run(sockets=[taken])
    # A step of the networks cannot be broken off, and Python would crash under it.
    done = service.join(_STOPPING)
    service.tidy()
    if not done:
        leave(0)
    if service.workers.failure:
        raise service.workers.failure
