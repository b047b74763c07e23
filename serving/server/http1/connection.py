"""A client's connection: requests in their order, answers in the same, and limits of time.

A request must arrive at a least speed, its head within a size, and its answer must be read.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol

import httptools

from serving.server.http1 import target
from serving.server.http1.message import Request, Response, error_page

log = logging.getLogger(__name__)

HEAD_BYTES = 64 * 1024
SLICE = 32 * 1024  # bytes that are read in one go ...
TURN_SECONDS = 0.005  # ... and how long that may go on before other connections have their turn
MOST_WAITING = 16  # requests that a client has sent ahead of the answers
_PLAIN = [(b"Content-Type", b"text/plain; charset=utf-8")]
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def _plain(reason: str) -> Response:
    return Response(400, _PLAIN, reason.encode(), close=True)


def _as_old(answer: bytes, last: bool) -> bytes:
    """An answer to a request of HTTP/1.0, which has to be told that a connection stays open."""
    line, _, rest = answer.partition(b"\r\n")
    kept = b"" if last else b"Connection: keep-alive\r\n"
    return line.replace(b"1.1", b"1.0", 1) + b"\r\n" + kept + rest


class Application(Protocol):
    """What answers requests."""

    def received(self, request: Request, data: bytes) -> Response | None:
        """A piece of a body has come. An answer already given for it ends the connection."""

    def start(self, request: Request) -> Response | Awaitable[Response]:
        """All of a request has come: its answer, now or later."""

    def gone(self, request: Request) -> None:
        """A request has been answered, or its client has left."""


@dataclass(frozen=True)
class Guards:
    """What keeps a bad client from holding a connection. Seconds and bytes."""

    arrival_seconds: float = 30.0  # for a request to be complete
    bytes_per_second: float = 64 * 1024  # a second more for each so many bytes
    reading_seconds: float = 60.0  # for a client to take in what is written to it
    idle_seconds: float = 75.0  # between requests


PATIENT = Guards()


class Connection(asyncio.Protocol):
    """One client.

    Args:
        application: what answers.
        connections: the open ones; this one is among them while it is. `check` is to be called
            for each of them once in a while.
        guards: limits of time.
    """

    def __init__(
        self, application: Application, connections: set[Connection], guards: Guards = PATIENT
    ):
        self._application, self._connections, self._guards = application, connections, guards
        self._parser = httptools.HttpRequestParser(self)
        self._request: Request | None = None  # that is arriving
        self._in_head, self._trailers = False, 0
        self._waiting: deque[Request] = deque()
        self._task: asyncio.Task | None = None
        self._refused = False  # nothing more is read
        self._last = False  # the connection ends when it is idle
        self._since = self._received = 0.0
        self._unread_since: float | None = None
        self._rest = b""  # that has come and is not read yet
        self._again = b""  # a head to read before it

    # === asyncio ===

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()
        self._first = True
        self._connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._connections.discard(self)
        for request in (self._request, *self._waiting):
            if request is not None:
                self._application.gone(request)
        self._request = None
        self._waiting.clear()

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        started = self._loop.time()
        for start in range(0, len(data), SLICE):
            if start and self._loop.time() - started > TURN_SECONDS:
                # Crumbs take long to read: it is somebody else's turn.
                self._rest = data[start:]
                self.transport.pause_reading()
                self._loop.call_soon(self._go_on)
                return
            self._feed(data if len(data) <= SLICE else data[start : start + SLICE])

    def _go_on(self) -> None:
        rest, self._rest = self._rest, b""
        if rest and not self.transport.is_closing():
            self._received -= len(rest)
            if self._unread_since is None and len(self._waiting) <= MOST_WAITING:
                self.transport.resume_reading()
            self.data_received(rest)

    def _feed(self, data: bytes) -> None:
        while data and not self._refused:
            try:
                self._parser.feed_data(data)
                break
            except httptools.HttpParserUpgrade as upgrade:
                # Answered as if nothing had been offered, and so is what follows.
                self._refused = self._parser.get_method() == b"CONNECT"
                self._parser = httptools.HttpRequestParser(self)
                head, self._again = self._again, b""
                data = head + data[upgrade.args[0] :]
            except httptools.HttpParserError:
                # libevent finds a head that is wrong a bad request, a chunk that is too large.
                in_body = self._request is not None and not self._in_head
                self._refuse(error_page(413 if in_body else target.refusal(data)))
        if self._in_head and self._received > HEAD_BYTES:
            self._refuse(_plain("Request head is too large."))

    def eof_received(self) -> bool:
        """A client that has ended its side may still wait for answers."""
        self._last = self._refused = True
        return self._task is not None

    def pause_writing(self) -> None:
        self._unread_since = self._loop.time()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self._unread_since = None
        if not self.transport.is_closing():
            self.transport.resume_reading()
            self._next()

    # === Time ===

    def check(self, now: float) -> None:
        """Cut the connection if its client is too slow."""
        guards = self._guards
        if self.transport.is_closing():
            return
        if self._unread_since is not None:
            if now - self._unread_since > guards.reading_seconds:
                self.transport.abort()
        elif self._request is not None or self._first:
            earned = guards.arrival_seconds + self._received / guards.bytes_per_second
            if now - self._since > earned:
                self.transport.abort()
        elif self._is_idle() and now - self._since > guards.idle_seconds:
            self.transport.close()

    def shutdown(self) -> None:
        """Close as soon as the requests that have come are answered."""
        self._last = True
        self._close_if_idle()

    def _is_idle(self) -> bool:
        return self._task is None and not self._waiting

    def _close_if_idle(self) -> None:
        if self._last and self._is_idle() and (self._request is None or self._refused):
            self.transport.close()

    # === What httptools finds ===

    def on_message_begin(self) -> None:
        self._request, self._in_head, self._first = Request(), True, False
        self._trailers = 0
        self._since, self._received = self._loop.time(), 0.0

    def on_url(self, url: bytes) -> None:
        self._request.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:
            self._request.headers.append((name.lower(), value))
            return
        self._trailers += len(name) + len(value)  # they mean nothing here
        if self._trailers > HEAD_BYTES:
            self._refuse(_plain("Request trailers are too large."))

    def on_headers_complete(self) -> None:
        request, self._in_head = self._request, False
        request.method = self._parser.get_method().decode("latin-1")
        expected = request.header(b"expect")
        if expected and request.has_body():
            if expected.lower() != b"100-continue":
                self._refuse(error_page(417))
            elif self._is_idle():
                self.transport.write(_CONTINUE)

    def on_body(self, data: bytes) -> None:
        request = self._request
        if self._refused:
            return
        refusal = self._application.received(request, data)
        if refusal is not None:
            self._refused = True
            self._queue(request, refusal)
            return
        request.body.add(data)

    def on_message_complete(self) -> None:
        request, self._request = self._request, None
        if self._refused:
            return
        request.keep_alive = self._parser.should_keep_alive()
        version = self._parser.get_http_version()
        if version != "1.1":
            request.is_old = version == "1.0"
            if not request.is_old:
                self._refused, request.refusal = True, error_page(400)
        if not request.body.size and self._parser.should_upgrade() and request.may_go_on():
            self._again = request.head_without(b"connection", b"upgrade", b"expect")
            return  # httptools has left out the body
        self._queue(request)

    # === Answers ===

    def _refuse(self, answer: Response) -> None:
        if not self._refused:
            self._refused = True
            self._queue(self._request or Request(), answer)

    def _queue(self, request: Request, refusal: Response | None = None) -> None:
        """Answer a request when those before it are answered."""
        if refusal is not None:
            self._request = None
            request.keep_alive, request.refusal = False, refusal
        self._waiting.append(request)
        if len(self._waiting) > MOST_WAITING:
            self.transport.pause_reading()
        self._next()

    def _next(self) -> None:
        """Answer what can be answered now."""
        while self._waiting and self._task is None and self._unread_since is None:
            request = self._waiting.popleft()
            if len(self._waiting) == MOST_WAITING:
                self.transport.resume_reading()
            answer = request.refusal or self._application.start(request)
            if isinstance(answer, Response):
                self._write(request, answer)
            else:
                self._task = self._loop.create_task(self._later(request, answer))

    async def _later(self, request: Request, answer: Awaitable[Response]) -> None:
        try:
            response = await answer
        except Exception:
            log.exception("%s %r failed", request.method, request.target)
            response = Response(500, _PLAIN, b"Internal error.", close=True)
        self._task = None
        self._write(request, response)
        self._next()

    def _write(self, request: Request, response: Response) -> None:
        self._application.gone(request)
        if self.transport.is_closing():
            return
        last = response.close or not request.keep_alive
        if last or (self._last and not self._waiting):
            response.close = True
        data = response.to_bytes(with_body=request.method != "HEAD")
        self.transport.write(_as_old(data, last) if request.is_old else data)
        self._since = self._loop.time()
        if last:
            self._waiting.clear()
            self.transport.close()
        else:
            self._close_if_idle()
