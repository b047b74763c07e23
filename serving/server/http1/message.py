"""A request, and an answer as bytes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus

from serving.server.body import Body

Headers = list[tuple[bytes, bytes]]

# As libevent words them.
_PHRASES = {status.value: status.phrase for status in HTTPStatus} | {
    413: "Request Entity Too Large",
    429: "Client Error",
    499: "Client Error",
    504: "Gateway Time-out",
}
_LINES = {status: f"HTTP/1.1 {status} {phrase}\r\n".encode() for status, phrase in _PHRASES.items()}
_END = b"Content-Length: %d\r\n\r\n"
_LAST_END = b"Content-Length: %d\r\nConnection: close\r\n\r\n"


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
    is_old: bool = False  # of HTTP/1.0
    refusal: Response | None = None  # its answer, known before it was complete

    def header(self, name: bytes) -> bytes:
        """The first header of that name; empty where there is none."""
        for key, value in self.headers:
            if key == name:
                return value
        return b""

    def head_without(self, *names: bytes) -> bytes:
        """Its first line and its headers but those of these names."""
        pieces = [b"%b %b HTTP/1.1\r\n" % (self.method.encode(), self.target)]
        pieces += [b"%b: %b\r\n" % header for header in self.headers if header[0] not in names]
        return b"".join(pieces) + b"\r\n"

    def has_body(self) -> bool:
        """Whether its head says that one follows."""
        length = self.header(b"content-length")
        return length not in (b"", b"0") or bool(self.header(b"transfer-encoding"))

    def may_go_on(self) -> bool:
        """Whether what follows the head of an offer to change the protocol is its body."""
        return self.has_body() and self.method != "CONNECT"


@dataclass(slots=True)
class Response:
    """One answer. `close`: the connection ends with it."""

    status: int
    headers: Headers
    body: bytes = b""
    close: bool = False

    def to_bytes(self, *, with_body: bool = True) -> bytes:
        """As it goes over the wire."""
        pieces = [_LINES[self.status]]
        for name, value in self.headers:
            pieces += (name, b": ", value, b"\r\n")
        pieces.append(_date())
        pieces.append((_LAST_END if self.close else _END) % len(self.body))
        if with_body:
            pieces.append(self.body)
        return b"".join(pieces)


def error_page(status: int) -> Response:
    """What libevent itself answers where a request does not get as far as the application."""
    phrase = _PHRASES[status]
    page = (
        f"<HTML><HEAD>\n<TITLE>{status} {phrase}</TITLE>\n</HEAD><BODY>\n<H1>{phrase}</H1>\n"
        "</BODY></HTML>\n"
    )
    return Response(status, [(b"Content-Type", b"text/html")], page.encode(), close=True)


_today: tuple[int, bytes] = (0, b"")


def _date() -> bytes:
    """The Date header, made anew each second."""
    global _today
    now = int(time.time())
    if _today[0] != now:
        _today = (now, b"Date: " + formatdate(now, usegmt=True).encode() + b"\r\n")
    return _today[1]
