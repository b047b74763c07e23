"""What clients may get wrong in HTTP/2, on raw sockets: a clear end, and nobody else is disturbed.

The codes are RFC 9113's. Messages that are wrong within right frames: `test_malformed`; floods:
`test_faults_floods`.
"""

from __future__ import annotations

import contextlib
import gzip
import socket
import struct
from collections.abc import Callable, Iterator

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.server import Running
from tests.serving.raw_http2 import (
    ACK,
    CLOSED,
    COMPRESSION,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FLOW,
    HEADERS,
    PADDED,
    PING,
    PREDICT,
    PREFACE,
    PRIORITY,
    PROTOCOL,
    PUSH_PROMISE,
    RST_STREAM,
    SECONDS,
    SETTINGS,
    SIZE,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    block,
    call,
    check_answer,
    frame,
    literals,
    message,
    opening,
    raw,
)


@pytest.fixture(scope="module")
def others(server: Running) -> Iterator[Callable[[], None]]:
    """Asks well on a connection of its own."""
    with grpc.insecure_channel(f"localhost:{server.grpc_port}") as channel:
        ask = channel.unary_unary(PREDICT)

        def check() -> None:
            check_answer({"grpc-status": "0"}, b"\0" * 5 + ask(message()[5:], timeout=SECONDS))

        check()
        yield check


_OPEN = opening()
_TOO_WIDE = struct.pack(">I", 2**31 - 1)
CONNECTION_FAULTS = {
    "SETTINGS of five bytes": (frame(SETTINGS, 0, 0, b"\0" * 5), SIZE),
    "SETTINGS on a stream": (frame(SETTINGS, 0, 1), PROTOCOL),
    "SETTINGS ACK with a payload": (frame(SETTINGS, ACK, 0, b"\0" * 6), SIZE),
    "ENABLE_PUSH 2": (frame(SETTINGS, 0, 0, struct.pack(">HI", 2, 2)), PROTOCOL),
    "window of 2^31": (frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 2**31)), FLOW),
    "frames of 1 byte": (frame(SETTINGS, 0, 0, struct.pack(">HI", 5, 1)), PROTOCOL),
    "PING of seven bytes": (frame(PING, 0, 0, b"\0" * 7), SIZE),
    "PING on a stream": (_OPEN + frame(PING, 0, 1, b"\0" * 8), PROTOCOL),
    "WINDOW_UPDATE by 0": (frame(WINDOW_UPDATE, 0, 0, b"\0" * 4), PROTOCOL),
    "WINDOW_UPDATE of 3 bytes": (frame(WINDOW_UPDATE, 0, 0, b"\0" * 3), SIZE),
    "window overflow": (frame(WINDOW_UPDATE, 0, 0, _TOO_WIDE), FLOW),
    "windows that settings overflow": (
        _OPEN + frame(WINDOW_UPDATE, 0, 1, struct.pack(">I", 2**31 - 1 - 65_535))
        + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 2**31 - 1)), FLOW,
    ),
    "WINDOW_UPDATE on an idle stream": (frame(WINDOW_UPDATE, 0, 5, b"\0\0\0\1"), PROTOCOL),
    "DATA on stream 0": (frame(DATA, 0, 0, b"x"), PROTOCOL),
    "DATA on an idle stream": (frame(DATA, 0, 1, b"x"), PROTOCOL),
    "HEADERS on stream 0": (frame(HEADERS, END_HEADERS, 0, block()), PROTOCOL),
    "HEADERS on an even stream": (frame(HEADERS, END_HEADERS, 2, block()), PROTOCOL),
    "CONTINUATION of nothing": (frame(CONTINUATION, END_HEADERS, 1, block()), PROTOCOL),
    "a PING within headers": (
        frame(HEADERS, 0, 1, block()) + frame(PING, 0, 0, b"\0" * 8), PROTOCOL,
    ),
    "CONTINUATION on another stream": (
        frame(HEADERS, 0, 1, block()) + frame(CONTINUATION, END_HEADERS, 3), PROTOCOL,
    ),
    "padding beyond DATA": (_OPEN + frame(DATA, PADDED, 1, b"\x09x"), PROTOCOL),
    "padding beyond HEADERS": (frame(HEADERS, END_HEADERS | PADDED, 1, b"\xff\0"), PROTOCOL),
    "PUSH_PROMISE": (_OPEN + frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2"), PROTOCOL),
    "RST_STREAM on an idle stream": (frame(RST_STREAM, 0, 1, b"\0" * 4), PROTOCOL),
    "RST_STREAM of three bytes": (_OPEN + frame(RST_STREAM, 0, 1, b"\0" * 3), SIZE),
    "RST_STREAM on stream 0": (frame(RST_STREAM, 0, 0, b"\0" * 4), PROTOCOL),
    "HPACK index 0": (frame(HEADERS, END_HEADERS, 1, b"\x80"), COMPRESSION),
    "HPACK index of no entry": (frame(HEADERS, END_HEADERS, 1, b"\xff\x7f"), COMPRESSION),
    "HPACK string cut short": (frame(HEADERS, END_HEADERS, 1, b"\0\x20x"), COMPRESSION),
    "HPACK table too large": (
        frame(HEADERS, END_HEADERS, 1, b"\x3f\xff\xff\x7f" + block()), COMPRESSION,
    ),
    "Huffman code of the end": (
        frame(HEADERS, END_HEADERS, 1, b"\0\x84\xff\xff\xff\xff\x01x"), COMPRESSION,
    ),
    "a frame of 16 MiB": (b"\xff\xff\xff" + struct.pack(">BBI", DATA, 0, 1) + b"x" * 99, SIZE),
}  # fmt: skip


@pytest.mark.parametrize("name", CONNECTION_FAULTS)
def test_a_fault_of_the_connection_ends_it(server: Running, others, name: str) -> None:
    sent, code = CONNECTION_FAULTS[name]
    with raw(server) as client:
        client.send(sent)
        assert client.ended() == code
    others()


@pytest.mark.parametrize(
    "first",
    [
        b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x5a" * 64,
        PREFACE[:-1] + b"x",
        b"\0" * 24,
    ],
)
def test_something_else_than_http2_is_closed(server: Running, others, first: bytes) -> None:
    with raw(server, first) as client:
        client.ended()
        assert client.socket.recv(1) == b""
    others()


STREAM_FAULTS = {
    "WINDOW_UPDATE by 0": (_OPEN + frame(WINDOW_UPDATE, 0, 1, b"\0" * 4), {PROTOCOL}),
    "window overflow": (_OPEN + frame(WINDOW_UPDATE, 0, 1, _TOO_WIDE), {FLOW}),
    "more than the window": (
        _OPEN + frame(DATA, 0, 1, b"\0" * (2**19 - 1)) + frame(DATA, 0, 1, b"\0" * 2**20), {FLOW},
    ),
    "PRIORITY of four bytes": (_OPEN + frame(PRIORITY, 0, 1, b"\0" * 4), {PROTOCOL, SIZE}),
    "no path": (frame(HEADERS, END_HEADERS, 1, literals((":method", "POST"))), {PROTOCOL}),
    "two paths": (frame(HEADERS, END_HEADERS, 1, block() + block()), {PROTOCOL}),
    "a name in capitals": (
        frame(HEADERS, END_HEADERS, 1, block() + literals(("X-A", "b"))), {PROTOCOL},
    ),
    "HEADERS twice": (_OPEN + _OPEN, {PROTOCOL}),
    "DATA after the end": (call(1) + frame(RST_STREAM, 0, 1, b"\0" * 4) + call(1), {CLOSED}),
}  # fmt: skip


@pytest.mark.parametrize("name", STREAM_FAULTS)
def test_a_fault_of_a_stream_ends_no_more_than_it(server: Running, others, name: str) -> None:
    sent, codes = STREAM_FAULTS[name]
    with raw(server) as client:
        client.send(sent)
        assert client.reset(1) in codes
        client.check_alive()
        client.send(call(3))
        check_answer(*client.answer(3))
    others()


@pytest.mark.parametrize(
    "sent",
    [
        frame(0x42, 0xFF, 0, b"?" * 99) + frame(0xFF, 0, 77, b"") + call(),
        frame(SETTINGS, 0, 0, struct.pack(">HI", 0x4242, 7)) + call(),
        frame(PRIORITY, 0, 9, b"\0\0\0\0\1") + call(),
        b"".join(call()[i : i + 1] for i in range(len(call()))),
        frame(HEADERS, 0, 1, block()[:20])
        + b"".join(frame(CONTINUATION, 0, 1, block()[i : i + 1]) for i in range(20, len(block())))
        + frame(CONTINUATION, END_HEADERS, 1)
        + frame(DATA, END_STREAM, 1, message()),
        frame(HEADERS, END_HEADERS | PADDED | WITH_PRIORITY, 1,
              b"\3" + b"\0\0\0\0\1" + block() + b"\0" * 3)
        + frame(DATA, PADDED, 1, b"\2" + message() + b"\0\0") + frame(DATA, END_STREAM, 1),
        _OPEN + b"".join(frame(DATA, 0, 1, bytes((byte,))) for byte in message())
        + frame(HEADERS, END_HEADERS | END_STREAM, 1, literals(("x-trailer", "1"))),
    ],
    ids=["unknown frames", "unknown settings", "priority", "bytes", "continuations", "padding",
         "pieces and trailers"],
)  # fmt: skip
def test_what_is_unusual_and_right_is_answered(server: Running, sent: bytes) -> None:
    with raw(server) as client:
        client.send(sent)
        check_answer(*client.answer(1))


_GZIPPED = gzip.compress(message()[5:])
BODIES = {
    "nothing": b"",
    "half a prefix": message()[:3],
    "half a message": message()[:-7],
    "more than it says": message() + b"\0",
    "two messages": message() * 2,
    "flag 2": b"\2" + message()[1:],
    "compressed with nothing": b"\1" + message()[1:],
    "compressed with what is unknown": b"\1" + message()[1:],
    "broken gzip": b"\1\0\0\0\x08" + b"\x1f\x8b\x08\0abcd",
    "half a gzip": b"\1" + struct.pack(">I", len(_GZIPPED) - 9) + _GZIPPED[:-9],
    "4 GiB that do not come": b"\0\xff\xff\xff\xff" + b"x" * 99,
}


@pytest.mark.parametrize("name", BODIES)
def test_messages_in_wrong_frames_of_grpc(server: Running, name: str) -> None:
    encodings = {"compressed with what is unknown": "brotli", "compressed with nothing": "identity"}
    with raw(server) as client:
        client.send(opening(grpc_encoding=encodings.get(name, "gzip")))
        client.send(frame(DATA, END_STREAM, 1, BODIES[name]))
        headers, body = client.answer(1)
        assert headers["grpc-status"] in ("3", "8", "12", "13"), headers
        assert (headers[":status"], body) == ("200", b"")
        client.send(call(3))
        check_answer(*client.answer(3))


# === Whatever a generator thinks of ===

_FRAMES = st.builds(
    frame,
    st.integers(0, 12),
    st.integers(0, 255) | st.sampled_from([0, 1, 4, 5]),
    st.sampled_from([0, 1, 1, 3, 2, 2**31 - 1, 2**32 - 1]),
    st.binary(max_size=24) | st.just(block()) | st.just(message()),
)
_SESSIONS = st.lists(_FRAMES | st.just(call()) | st.just(_OPEN), min_size=1, max_size=6).map(
    b"".join
)


@st.composite
def _damaged(draw: st.DrawFn) -> bytes:
    """A good call with some bytes cut, changed or added."""
    sent = bytearray(call())
    for _ in range(draw(st.integers(1, 4))):
        position = draw(st.integers(0, len(sent)))
        sent[position : position + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
    return bytes(sent)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(sent=_SESSIONS | _damaged() | st.binary(max_size=80), greeted=st.integers(0, 9))
def test_random_frames(server: Running, others, sent: bytes, greeted: int) -> None:
    """The server hangs up when the client has, whatever it was sent, and serves the others."""
    with raw(server, PREFACE + frame(SETTINGS, 0, 0) if greeted else b"") as client:
        client.send(sent)
        with contextlib.suppress(OSError):  # the server was faster
            client.socket.shutdown(socket.SHUT_WR)
        for _ in client.frames():
            pass
    others()


def test_the_server_never_had_a_bug_to_report(server: Running) -> None:
    assert "Traceback" not in server.log_text()
