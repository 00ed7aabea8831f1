"""Connections: those whose clients neither ask nor take are closed."""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol


class Connection(H11Protocol):
    """A connection that is looked at every now and then: uvicorn waits for ever for headers, and for answers to go."""

    # Seconds from one look to the next.
    interval = 10.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to look."""
        super().connection_made(transport)
        self._seen: object = None
        self._next = self.loop.call_later(self.interval, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Look no more."""
        self._next.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        self._next = self.loop.call_later(self.interval, self._look)
        between = self.cycle is None or self.cycle.response_complete
        state: object = None
        if self.transport.is_closing():
            state = "closing"  # What is left is not taken.
        elif between and self.timeout_keep_alive_task is None:
            state = ("header", self.cycle)  # Some of a request may be there, but not all.
        elif self.flow.write_paused:
            state = ("answer", self.transport.get_write_buffer_size())
        if state is not None and state == self._seen:
            self.transport.abort()
        self._seen = state
