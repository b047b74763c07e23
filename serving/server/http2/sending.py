"""The sending half of a connection: answers, within the windows that the client gives."""

from __future__ import annotations

import asyncio

from serving.server.http2 import frames
from serving.server.http2.frames import ConnectionFault, ErrorCode
from serving.server.http2.stream import Stream


class Sender:
    """What a connection writes, and how much it may.

    A client sets how many bytes it takes on each stream and on all together; what is beyond that
    waits in its stream until the client has read.
    """

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.streams: dict[int, Stream] = {}
        self._window = self._stream_window = frames.DEFAULT_WINDOW
        self._largest = frames.SMALLEST_FRAME
        self.answers = 0  # how many have been given
        self._ended = False  # nothing more can be written
        self._waiting: dict[int, Stream] = {}  # those that a window holds up, in order

    # === What the application says ===

    def respond(self, stream: Stream, headers: bytes, body: bytes, trailers: bytes) -> None:
        """A whole answer: blocks of headers and trailers, and the body between them."""
        number, length = stream.number, len(body)
        start = frames.frame(frames.HEADERS, frames.END_HEADERS, number, headers)
        ending = frames.END_HEADERS | frames.END_STREAM
        end = frames.frame(frames.HEADERS, ending, number, trailers)
        if length <= self._largest and length <= self._window and length <= stream.window:
            self._window -= length
            self._write(b"".join((start, frames.head(length, 0, 0, number), body, end)))
            self._answered(stream)
            return
        self._write(start)
        stream.pending, stream.tail = memoryview(body), end
        self._send_pending(stream)

    def respond_briefly(self, stream: Stream, headers: bytes) -> None:
        """An answer of headers alone."""
        ending = frames.END_HEADERS | frames.END_STREAM
        self._write(frames.frame(frames.HEADERS, ending, stream.number, headers))
        self._answered(stream)

    def begin(self, stream: Stream, headers: bytes) -> None:
        """The start of an answer that `send` goes on with."""
        self._write(frames.frame(frames.HEADERS, frames.END_HEADERS, stream.number, headers))

    def send(self, stream: Stream, data: bytes) -> None:
        """More of an answer's body."""
        stream.pending = memoryview(bytes(stream.pending) + data)
        self._send_pending(stream)

    def finish(self, stream: Stream, trailers: bytes) -> None:
        """The end of an answer that `begin` began."""
        ending = frames.END_HEADERS | frames.END_STREAM
        stream.tail = frames.frame(frames.HEADERS, ending, stream.number, trailers)
        self._send_pending(stream)

    # === What the client allows ===

    def _widen(self, stream: Stream | None, by: int) -> None:
        """The client takes `by` more bytes on a stream, or on the connection."""
        if stream is None:
            self._window += by
            self._check_window(self._window)
        else:
            stream.window += by
            if stream.window > frames.LARGEST_WINDOW:
                raise frames.StreamFault(stream.number, ErrorCode.FLOW_CONTROL_ERROR)
        for waiting in list(self._waiting.values()):
            if self._window <= 0:
                break
            self._send_pending(waiting)

    def _apply(self, name: int, value: int) -> None:
        """One of the client's settings."""
        if name == frames.MAX_FRAME_SIZE:
            self._largest = value
        elif name == frames.INITIAL_WINDOW_SIZE:
            change, self._stream_window = value - self._stream_window, value
            for stream in self.streams.values():
                stream.window += change
                self._check_window(stream.window)
            self._widen(None, 0)

    @staticmethod
    def _check_window(window: int) -> None:
        if window > frames.LARGEST_WINDOW:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window above 2^31 - 1")

    # === Bytes ===

    def _send_pending(self, stream: Stream) -> None:
        """As much of what waits in a stream as its windows allow."""
        pending, before = stream.pending, len(stream.pending)
        while pending:
            size = min(len(pending), self._largest, self._window, stream.window)
            if size <= 0:
                break
            self._write(frames.head(size, frames.DATA, 0, stream.number) + pending[:size])
            self._window -= size
            stream.window -= size
            pending = pending[size:]
        stream.pending, sent = pending, before - len(pending)
        if pending:
            self._waiting[stream.number] = stream
            self._expect_room(sent)
            return
        self._waiting.pop(stream.number, None)
        if stream.tail is not None:
            self._write(stream.tail)
            self._answered(stream)

    def _expect_room(self, sent: int) -> None:
        """A window holds answers up; `sent` more bytes have gone."""

    def _answered(self, stream: Stream) -> None:
        """The answer is complete; a client that still sends is told that nobody reads it."""
        self.answers += 1
        if not stream.complete:
            self._write(frames.rst_stream(stream.number, ErrorCode.NO_ERROR))
        self._forget(stream)

    def _forget(self, stream: Stream) -> None:
        self.streams.pop(stream.number, None)
        self._waiting.pop(stream.number, None)

    def _write(self, data: bytes) -> None:
        if not self._closing():
            self.transport.write(data)

    def _closing(self) -> bool:
        """Whether nothing is to be written any more, and no more frames are to be looked at."""
        return self.transport is None or self._ended or self.transport.is_closing()
