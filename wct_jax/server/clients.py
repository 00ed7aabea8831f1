"""Clients: how many requests each has been making."""

import contextlib
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from wct_jax.server.refusal import Refused

_REMEMBERED = 4096
# Seconds over which the rate is an average.
_SPAN = 5.0


@dataclass
class _Client:
    tokens: float
    seen: float
    now: int = 0


class Clients:
    """Clients by address, the last ones seen."""

    def __init__(self, rate: float, requests: int) -> None:
        """Take the bounds of a client.

        Args:
            rate: Requests per second.
            requests: Requests at the same time.
        """
        self._rate, self._requests = rate, requests
        self._clients: OrderedDict[str, _Client] = OrderedDict()

    @contextlib.contextmanager
    def admitted(self, name: str) -> Iterator[None]:
        """Count a request while it is answered.

        Args:
            name: The client, by `name_of`.

        Raises:
            Refused: The client has asked too much.
        """
        now = time.monotonic()
        client = self._clients.setdefault(name, _Client(self._rate * _SPAN, now))
        self._clients.move_to_end(name)
        client.tokens = min(self._rate * _SPAN, client.tokens + self._rate * (now - client.seen))
        client.seen = now
        while len(self._clients) > _REMEMBERED:
            self._clients.popitem(last=False)
        if client.tokens < 1:
            raise Refused(429, f"too many requests: expected at most {self._rate:g} per second", 1)
        if client.now >= self._requests:
            raise Refused(429, f"too many requests at the same time: expected at most {self._requests}", 1)
        client.tokens -= 1
        client.now += 1
        try:
            yield
        finally:
            client.now -= 1


def name_of(address: str) -> str:
    """The name of a client: its address, or its network's where one client has as many addresses as it wants."""
    with contextlib.suppress(ValueError):
        if (found := ipaddress.ip_address(address)).version == 6:
            return str(ipaddress.ip_network((found, 64), strict=False))
    return address
