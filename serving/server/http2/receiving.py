"""The receiving half of a connection: frames to requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from serving.server.http2 import frames
from serving.server.http2.frames import ConnectionFault, ErrorCode, StreamFault
from serving.server.http2.headers import Header, HeaderReader
from serving.server.http2.sending import Sender
from serving.server.http2.stream import Stream

if TYPE_CHECKING:
    from serving.server.http2.connection import Connection

RECEIVED_FRAME = 1 << 20  # payload of the largest frame a client may send
STREAM_WINDOW, CONNECTION_WINDOW = 1 << 20, 1 << 24
LARGEST_BLOCK = 64 * 1024  # of headers, compressed
MOST_STREAMS = 1024
MOST_AT_ONCE = 500  # frames, before other connections have their turn
MOST_RESETS = 1_000  # of calls that wait for an answer, more than there were answers
MOST_IDLE_FRAMES = 10_000  # that ask for something and carry no request, for each request


class Application(Protocol):
    """What answers requests."""

    def meaning(self, headers: list[Header]) -> Any:
        """What a request's headers say: given to `Stream.request`. None: they are malformed."""

    def begun(self, connection: Connection, stream: Stream) -> None:
        """The headers have come."""

    def received(self, connection: Connection, stream: Stream, data: bytes) -> None:
        """A piece of the body has come, and is not kept yet."""

    def complete(self, connection: Connection, stream: Stream) -> None:
        """All of the request has come."""

    def gone(self, stream: Stream) -> None:
        """Nothing more will be sent or received on a stream."""


class Receiver(Sender):
    """What a connection reads. `take` may be given its bytes in any pieces."""

    def __init__(self, application: Application, most_streams: int = MOST_STREAMS):
        super().__init__()
        self._application, self._most_streams = application, most_streams
        self._headers = HeaderReader(application.meaning)
        self._buffer = b""
        self._greeted = False
        self._last = 0  # the newest stream
        self._block: tuple[int, int, bytearray] | None = None  # headers that go on
        self._unread = self._idle_frames = self._resets = 0
        self._leaving = False
        self._received = 0  # bytes of bodies, for the clock that a client is held to

    def _greet(self) -> None:
        """What the server says first."""
        self._write(
            frames.settings(
                {
                    frames.MAX_CONCURRENT_STREAMS: self._most_streams,
                    frames.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
                    frames.MAX_FRAME_SIZE: RECEIVED_FRAME,
                    frames.MAX_HEADER_LIST_SIZE: LARGEST_BLOCK,
                }
            )
            + frames.window_update(0, CONNECTION_WINDOW - frames.DEFAULT_WINDOW)
        )

    def reset(self, stream: Stream, code: ErrorCode) -> None:
        """End a stream without an answer."""
        self._write(frames.rst_stream(stream.number, code))
        self._forget(stream)

    # === What the connection adds ===

    def _expect(self) -> None:
        """A request has begun, and must be complete in time."""

    def _expect_nothing(self) -> None:
        """No request is incomplete."""

    # === Frames ===

    def take(self, data: bytes) -> bool:
        """Handle the complete frames of what has come, and keep the rest.

        Returns:
            Whether there may be more of them: it is somebody else's turn after so many.

        Raises:
            ConnectionFault: the client broke the protocol.
        """
        if self._buffer:
            data = self._buffer + data if data else self._buffer
        position, end = 0, len(data)
        if not self._greeted:
            position = len(frames.PREFACE)
            if data[:position] != frames.PREFACE[:end]:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "this port speaks HTTP/2 (gRPC)")
            if end < position:
                self._buffer = data
                return False
            self._greeted = True
            self._expect_nothing()
        count = 0
        while end - position >= frames.HEADER_BYTES and count < MOST_AT_ONCE:
            count += 1
            high, low, kind, flags, stream = frames.HEADER.unpack_from(data, position)
            length = high << 16 | low
            if length > RECEIVED_FRAME:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
            start = position + frames.HEADER_BYTES
            if end - start < length:
                break
            position = start + length
            self._handle(kind, flags, stream & frames.LARGEST_WINDOW, data[start:position])
            if self._closing():
                return False
        self._buffer = data[position:]
        return count == MOST_AT_ONCE

    def _handle(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if self._block is not None and kind != frames.CONTINUATION:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a frame within a header block")
        try:
            if kind == frames.DATA:
                self._on_data(number, flags, payload)
            elif kind == frames.HEADERS:
                self._on_headers(number, flags, payload)
            else:
                self._on_other(kind, flags, number, payload)
        except StreamFault as fault:
            stream = self.streams.get(fault.stream)
            if stream is not None:
                self.reset(stream, fault.code)
            else:
                self._write(frames.rst_stream(fault.stream, fault.code))

    def _on_other(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        self._idle_frames += 1
        if self._idle_frames > MOST_IDLE_FRAMES:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many frames without a request")
        if kind == frames.CONTINUATION:
            self._on_continuation(number, flags, payload)
        elif kind == frames.SETTINGS:
            self._on_settings(number, flags, payload)
        elif kind == frames.WINDOW_UPDATE:
            self._on_window_update(number, payload)
        elif kind == frames.PING:
            self._on_ping(number, flags, payload)
        elif kind == frames.RST_STREAM:
            self._on_rst_stream(number, payload)
        elif kind == frames.PUSH_PROMISE:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE from a client")
        elif kind == frames.GOAWAY:
            if number or len(payload) < 8:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a broken GOAWAY")
        elif kind == frames.PRIORITY:
            self._check_known(number, kind)
            if len(payload) != 5:
                raise StreamFault(number, ErrorCode.PROTOCOL_ERROR)
        # Frames of unknown types are left alone (section 5.5).

    # === Requests ===

    def _on_headers(self, number: int, flags: int, payload: bytes) -> None:
        payload = frames.without_padding(payload, flags)
        if flags & frames.HAS_PRIORITY:
            if len(payload) < 5:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a short HEADERS frame")
            payload = payload[5:]
        if not number % 2:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"HEADERS on stream {number}")
        if flags & frames.END_HEADERS:
            self._on_block(number, flags, payload)
        else:
            self._block = (number, flags, bytearray(payload))
            self._expect()

    def _on_continuation(self, number: int, flags: int, payload: bytes) -> None:
        if self._block is None or self._block[0] != number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "CONTINUATION of nothing")
        _, first_flags, block = self._block
        block += payload
        if len(block) > LARGEST_BLOCK:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many headers")
        if flags & frames.END_HEADERS:
            self._block = None
            self._on_block(number, first_flags, bytes(block))

    def _on_block(self, number: int, flags: int, block: bytes) -> None:
        """A complete header block: a request begins, or its body ends with trailers."""
        request = self._headers.read(block)  # always: the next block builds on this one
        stream = self.streams.get(number)
        if stream is not None:
            if not flags & frames.END_STREAM or stream.complete:
                raise StreamFault(number, ErrorCode.PROTOCOL_ERROR)
            self._complete(stream)
            return
        if number <= self._last:
            raise StreamFault(number, ErrorCode.STREAM_CLOSED)
        self._last = number
        if self._leaving or len(self.streams) >= self._most_streams:
            raise StreamFault(number, ErrorCode.REFUSED_STREAM)
        if request is None:
            raise StreamFault(number, ErrorCode.PROTOCOL_ERROR)
        stream = self.streams[number] = Stream(number, request, self._stream_window)
        self._application.begun(self, stream)
        if number not in self.streams:
            return  # answered already
        if flags & frames.END_STREAM:
            self._complete(stream)
        else:
            self._expect()

    def _on_data(self, number: int, flags: int, payload: bytes) -> None:
        self._give_back(len(payload))
        stream = self.streams.get(number)
        if stream is None or stream.complete:
            self._check_known(number, frames.DATA)
            if stream is not None:
                raise StreamFault(number, ErrorCode.STREAM_CLOSED)
            return  # sent before the client knew that the stream had ended
        data = frames.without_padding(payload, flags)
        self._received += len(data)
        if data:
            self._application.received(self, stream, data)
            if number not in self.streams:
                return
            stream.body.add(data)
        if flags & frames.END_STREAM:
            self._complete(stream)
            return
        self._idle_frames += not data
        stream.unread += len(payload)
        if stream.unread > STREAM_WINDOW:
            raise StreamFault(number, ErrorCode.FLOW_CONTROL_ERROR)
        if stream.unread >= STREAM_WINDOW // 2:
            self._write(frames.window_update(number, stream.unread))
            stream.unread = 0

    def _complete(self, stream: Stream) -> None:
        stream.complete = True
        self._idle_frames = 0
        self._expect_nothing()
        self._application.complete(self, stream)

    def _give_back(self, size: int) -> None:
        """The connection's window: what has come is in memory, and the streams' windows count."""
        self._unread += size
        if self._unread > CONNECTION_WINDOW:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "more than the window allows")
        if self._unread >= CONNECTION_WINDOW // 2:
            self._write(frames.window_update(0, self._unread))
            self._unread = 0

    # === Frames about the connection ===

    def _on_settings(self, number: int, flags: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "SETTINGS on a stream")
        if flags & frames.ACK:
            if payload:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS ACK with a payload")
            return
        for name, value in dict(frames.read_settings(payload)).items():  # the last of each counts
            self._apply(name, value)
        self._write(frames.frame(frames.SETTINGS, frames.ACK, 0))

    def _on_ping(self, number: int, flags: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"PING of {len(payload)} bytes")
        if not flags & frames.ACK:
            self._write(frames.frame(frames.PING, frames.ACK, 0, payload))

    def _on_window_update(self, number: int, payload: bytes) -> None:
        increment = frames.word(payload, "WINDOW_UPDATE")
        if number:
            self._check_known(number, frames.WINDOW_UPDATE)
        if not increment:
            if number:
                raise StreamFault(number, ErrorCode.PROTOCOL_ERROR)
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE by nothing")
        if not number:
            self._widen(None, increment)
        elif number in self.streams:
            self._widen(self.streams[number], increment)

    def _on_rst_stream(self, number: int, payload: bytes) -> None:
        frames.word(payload, "RST_STREAM")
        self._check_known(number, frames.RST_STREAM)
        stream = self.streams.get(number)
        if stream is None:
            return
        self._resets += 1
        if self._resets > MOST_RESETS + self.answers:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many calls begun and reset")
        self._forget(stream)

    def _check_known(self, number: int, kind: int) -> None:
        """A stream that no HEADERS frame has opened yet can have no other frame (section 5.1)."""
        if kind != frames.PRIORITY and (number > self._last or not number % 2):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"a frame on the idle stream {number}")
        if not number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a stream's frame on stream 0")
