"""uvicorn's HTTP protocol, with limits that keep a bad client from holding a connection.

A request must arrive at a least speed, its head within a size, and its answer must be read.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

ARRIVAL_SECONDS = 30.0  # for a request to be complete, and a second more for each
BYTES_PER_SECOND = 64 * 1024  # of what has arrived
READING_SECONDS = 60.0  # for a client to take in what is written to it
HEAD_BYTES = 64 * 1024


class GuardedProtocol(HttpToolsProtocol):
    """One client's connection."""

    arrival_seconds = ARRIVAL_SECONDS
    reading_seconds = READING_SECONDS

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._arriving: asyncio.TimerHandle | None = None
        self._reading: asyncio.TimerHandle | None = None
        self._started, self._received, self._in_head = 0.0, 0, True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._arriving, self._reading):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    # === What the client sends ===

    def _expect_request(self) -> None:
        if self._arriving is None:
            self._started, self._received = self.loop.time(), 0
            self._arriving = self.loop.call_later(self.arrival_seconds, self._check_arrival)

    def _check_arrival(self) -> None:
        earned = self.arrival_seconds + self._received / BYTES_PER_SECOND
        left = self._started + earned - self.loop.time()
        if left > 0:
            self._arriving = self.loop.call_later(left, self._check_arrival)
        elif not self.transport.is_closing():
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        super().data_received(data)
        if self._in_head and self._arriving is not None and self._received > HEAD_BYTES:
            self.send_400_response("Request head is too large.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._expect_request()

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self._arriving is not None:
            self._arriving.cancel()
            self._arriving = None

    # === What the client reads ===

    def pause_writing(self) -> None:
        super().pause_writing()
        self._reading = self.loop.call_later(self.reading_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
