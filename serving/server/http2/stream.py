"""One request and its answer."""

from __future__ import annotations

from typing import Any

from serving.server.body import Body


class Stream:
    """A stream that is open. Made by a connection, kept by it until both sides have ended.

    Attributes:
        number: the stream's identifier.
        request: what the application made of the request's headers.
        body: what has come of the request's body.
        held: the application's, to count memory with.
        complete: whether the client has ended its side.
        window: bytes that may still be sent before the client asks for more.
        unread: bytes received that the client has not been given back.
        cancel: called once if the client gives up, or the connection ends.
    """

    __slots__ = (
        "body", "cancel", "complete", "held", "number", "pending", "request", "tail", "unread",
        "window",
    )  # fmt: skip

    def __init__(self, number: int, request: Any, window: int):
        self.number, self.request, self.window = number, request, window
        self.body = Body()
        self.held = self.unread = 0
        self.complete = False
        self.pending: memoryview | bytes = b""  # of the answer's body, held up by a window
        self.tail: bytes | None = None  # the frame that ends the answer, once it is known
        self.cancel: Any = None
