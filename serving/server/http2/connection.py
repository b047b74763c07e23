"""A client's connection: the transport, the clocks that the client is held to, the end."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from serving.server.http2 import frames
from serving.server.http2.frames import ConnectionFault, ErrorCode
from serving.server.http2.receiving import MOST_STREAMS, Application, Receiver
from serving.server.http2.stream import Stream

log = logging.getLogger(__name__)

LINGER_SECONDS = 1.0  # for a client to close a connection that the server has left


@dataclass(frozen=True)
class Guards:
    """What keeps a bad client from holding a connection. Seconds and bytes."""

    arrival_seconds: float = 30.0  # for a request to be complete
    bytes_per_second: float = 64 * 1024  # a second more for each so many bytes
    reading_seconds: float = 60.0  # for a client to take in what is written to it


class Connection(Receiver, asyncio.Protocol):
    """One client.

    Args:
        application: what answers.
        connections: the open ones; this one is among them while it is.
        guards: limits of time.
        most_streams: requests at a time.
    """

    def __init__(
        self,
        application: Application,
        connections: set[Connection],
        guards: Guards = Guards(),
        most_streams: int = MOST_STREAMS,
    ):
        super().__init__(application, most_streams)
        self._connections, self._guards = connections, guards
        self._arriving: asyncio.TimerHandle | None = None
        self._reading: asyncio.TimerHandle | None = None
        self._blocked: asyncio.TimerHandle | None = None
        self._since = self._blocked_since = self._sent = 0.0

    # === asyncio ===

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self._connections.add(self)
        self._expect()  # the preface
        self._greet()

    def connection_lost(self, error: Exception | None) -> None:
        self._connections.discard(self)
        for timer in (self._arriving, self._reading, self._blocked):
            if timer is not None:
                timer.cancel()
        self._drop_all()

    def data_received(self, data: bytes) -> None:
        if self._take(data):
            self.transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        if self._closing():
            return
        if self._take(b""):
            asyncio.get_running_loop().call_soon(self._go_on)
        elif self._reading is None and not self._closing():
            self.transport.resume_reading()

    def _take(self, data: bytes) -> bool:
        """Whether there is more to do."""
        try:
            return self.take(data)
        except ConnectionFault as fault:
            self._end(fault.code, str(fault))
        except Exception:
            log.exception("A connection failed")
            self._end(ErrorCode.INTERNAL_ERROR, "internal error")
        return False

    def pause_writing(self) -> None:
        # Who does not read is not read from, or answers to its frames would fill the memory.
        self.transport.pause_reading()
        loop = asyncio.get_running_loop()
        self._reading = loop.call_later(self._guards.reading_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
        if not self._closing():
            self._go_on()

    # === The end ===

    def announce_end(self) -> None:
        """Ask the client to send its next requests elsewhere; those on their way are answered."""
        if self._greeted:
            self._write(frames.goaway(frames.LARGEST_WINDOW, ErrorCode.NO_ERROR))

    def leave(self) -> None:
        """Close as soon as every request that has come is answered."""
        self._leaving = True
        self._write(frames.goaway(self._last, ErrorCode.NO_ERROR))
        self._close_if_done()

    def _forget(self, stream: Stream) -> None:
        if stream.number not in self.streams:
            return
        super()._forget(stream)
        self._application.gone(stream)
        if self._blocked is not None and not self._waiting:
            self._blocked.cancel()
            self._blocked = None
        self._expect_nothing()
        self._close_if_done()

    def _close_if_done(self) -> None:
        if not self._leaving or self.streams or self._closing():
            return
        # Closing at once would reset the connection if the client has just written, and the
        # client might lose the last answer by it: so it gets the end of the file first.
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self._ended = True
            asyncio.get_running_loop().call_later(LINGER_SECONDS, self.transport.abort)
        else:
            self.transport.close()

    def _end(self, code: ErrorCode, reason: str) -> None:
        if not self._closing():
            log.debug("A connection ends: %s", reason)
            self._write(frames.goaway(self._last, code, reason))
            self.transport.close()
        self._drop_all()

    def _drop_all(self) -> None:
        for stream in list(self.streams.values()):
            self._forget(stream)
        self._buffer = b""

    # === A client must send in time ===

    def _expect(self) -> None:
        if self._arriving is None:
            loop = asyncio.get_running_loop()
            self._since, self._received = loop.time(), 0
            self._arriving = loop.call_later(self._guards.arrival_seconds, self._check_arrival)

    def _expect_nothing(self) -> None:
        if self._arriving is None or not self._greeted or self._block is not None:
            return
        if all(stream.complete for stream in self.streams.values()):
            self._arriving.cancel()
            self._arriving = None

    def _check_arrival(self) -> None:
        loop, guards = asyncio.get_running_loop(), self._guards
        earned = guards.arrival_seconds + self._received / guards.bytes_per_second
        left = self._since + earned - loop.time()
        if left > 0:
            self._arriving = loop.call_later(left, self._check_arrival)
        else:
            self.transport.abort()

    # === A client must take its answers in time ===

    def _expect_room(self, sent: int) -> None:
        loop = asyncio.get_running_loop()
        self._sent += sent
        if self._blocked is None:
            self._blocked_since, self._sent = loop.time(), 0
            self._blocked = loop.call_later(self._guards.reading_seconds, self._check_room)

    def _check_room(self) -> None:
        loop, guards = asyncio.get_running_loop(), self._guards
        earned = guards.reading_seconds + self._sent / guards.bytes_per_second
        left = self._blocked_since + earned - loop.time()
        self._blocked = None
        if not self._waiting:
            return
        if left > 0:
            self._blocked = loop.call_later(left, self._check_room)
        else:
            self.transport.abort()
