"""A request, and an answer as bytes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus

from serving.server.body import Body

Headers = list[tuple[bytes, bytes]]

_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}


@dataclass(slots=True)
class Request:
    """One request. Names of headers are in lower case; `held` is the application's to count with.

    `target` is what was sent, percent signs and query included.
    """

    method: str = ""
    target: bytes = b""
    headers: Headers = field(default_factory=list)
    body: Body = field(default_factory=Body)
    held: int = 0
    keep_alive: bool = True
    refusal: Response | None = None  # its answer, known before it was complete

    def header(self, name: bytes) -> bytes:
        """The first header of that name; empty where there is none."""
        for key, value in self.headers:
            if key == name:
                return value
        return b""


@dataclass(slots=True)
class Response:
    """One answer. `close`: the connection ends with it."""

    status: int
    headers: Headers
    body: bytes = b""
    close: bool = False

    def to_bytes(self, *, with_body: bool = True) -> bytes:
        """As it goes over the wire."""
        pieces = [_LINES[self.status], _date()]
        for name, value in self.headers:
            pieces += (name, b": ", value, b"\r\n")
        if self.close:
            pieces.append(b"connection: close\r\n")
        pieces.append(b"content-length: %d\r\n\r\n" % len(self.body))
        if with_body:
            pieces.append(self.body)
        return b"".join(pieces)


_today: tuple[int, bytes] = (0, b"")


def _date() -> bytes:
    """The Date header, made anew each second."""
    global _today
    now = int(time.time())
    if _today[0] != now:
        _today = (now, b"date: " + formatdate(now, usegmt=True).encode() + b"\r\n")
    return _today[1]
