"""HTTP/2 clients that send without end, or hold on to what they have: others are served.

Each flood runs in a connection of its own while another one asks well. Its outcome may be an end or
that the server stops reading; what it must not be is a slow answer for others, or memory that stays
taken.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator

import pytest

from serving.server import Running
from tests.serving.bystander import Others, mib
from tests.serving.raw_http2 import (
    ACK,
    CALM,
    COMPRESSION,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    RST_STREAM,
    SECONDS,
    SETTINGS,
    WINDOW_UPDATE,
    Raw,
    block,
    call,
    check_answer,
    frame,
    opening,
    raw,
)


def flood(client: Raw, pieces: Iterator[bytes], seconds: float = 4.0) -> str:
    """Sends without reading: how it ends.

    Returns:
        "ended": by the server. "held up": it did not read for a second. "taken": all of it, or
        what could be sent in time, and the connection answers.
    """
    client.socket.settimeout(1.0)
    deadline = time.monotonic() + seconds
    try:
        for piece in pieces:
            if not client.send(piece):
                return "ended"
            if time.monotonic() > deadline:
                break
    except TimeoutError:
        return "held up"
    client.socket.settimeout(SECONDS)
    client.send(frame(PING, 0, 0, b"the last"))
    for kind, flags, _, payload in client.frames():
        if (kind, flags, payload) == (PING, ACK, b"the last"):
            return "taken"
    return "ended"


def many(piece: bytes, count: int) -> Iterator[bytes]:
    """`count` times the same frame, a hundred in a piece."""
    return (piece * 100 for _ in range(count // 100))


def _resets(start: Callable[[int], bytes], count: int) -> Iterator[bytes]:
    for index in range(count):
        number = 2 * index + 1
        yield start(number) + frame(RST_STREAM, 0, number, struct.pack(">I", 8))


_INDEXED_BOMB = b"\x40\x01a\x7f\x9d\x1f" + b"x" * 4124 + b"\xbe" * 16_000
_ENDLESS_INTEGER = b"\x00\x7f" + b"\xff" * 60_000

# name → what is sent, and how it may end.
FLOODS: dict[str, tuple[Callable[[], Iterator[bytes]], set[str]]] = {
    "CONTINUATION": (
        lambda: iter(
            [frame(HEADERS, 0, 1, block())] + [frame(CONTINUATION, 0, 1, b"\0\1a\1b" * 200)] * 5_000
        ),
        {"ended"},
    ),
    "empty CONTINUATION": (
        lambda: iter([frame(HEADERS, 0, 1), *many(frame(CONTINUATION, 0, 1), 200_000)]),
        {"ended"},
    ),
    "PING": (lambda: many(frame(PING, 0, 0, b"\0" * 8), 500_000), {"ended", "held up"}),
    "SETTINGS": (lambda: many(frame(SETTINGS, 0, 0), 500_000), {"ended", "held up"}),
    "WINDOW_UPDATE": (lambda: many(frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1"), 500_000), {"ended"}),
    "empty DATA": (lambda: iter([opening(), *many(frame(DATA, 0, 1), 500_000)]), {"ended"}),
    "unknown frames": (lambda: many(frame(0x77, 0, 0, b"?"), 500_000), {"ended"}),
    "calls begun and reset": (lambda: _resets(opening, 100_000), {"ended", "held up"}),
    "calls sent and reset": (lambda: _resets(call, 20_000), {"ended", "held up", "taken"}),
    "calls begun": (
        lambda: (opening(2 * index + 1) for index in range(20_000)),
        {"ended", "held up", "taken"},
    ),
}


@pytest.mark.parametrize("name", FLOODS)
def test_floods(server: Running, name: str) -> None:
    pieces, ends = FLOODS[name]
    with Others(server) as others, raw(server) as client:
        assert flood(client, pieces()) in ends
    others.check()


def test_headers_that_unpack_to_a_thousand_times_as_much(server: Running) -> None:
    with Others(server) as others, raw(server) as client:
        client.send(frame(HEADERS, END_HEADERS, 1, _INDEXED_BOMB))
        assert client.ended() in (CALM, COMPRESSION)
    others.check()


def test_numbers_without_end(server: Running) -> None:
    """An integer of 60,000 digits takes half a second to read, and cannot mean anything."""
    with Others(server) as others:
        began = time.monotonic()
        for _ in range(4):
            with raw(server) as client:
                client.send(frame(HEADERS, END_HEADERS, 1, _ENDLESS_INTEGER))
                assert client.ended() in (CALM, COMPRESSION)
        assert time.monotonic() - began < 1
    others.check()


def test_settings_for_many_streams(server: Running) -> None:
    """Each of them concerns every stream."""
    with Others(server) as others, raw(server) as client:
        client.send(b"".join(opening(2 * index + 1) for index in range(1000)))
        began = time.monotonic()
        client.send(frame(SETTINGS, 0, 0, struct.pack(">HIHI", 4, 1, 4, 2) * 10_000))
        client.send(frame(PING, 0, 0, b"the last"))
        for kind, *_ in client.frames():
            if kind == PING:
                break
        assert time.monotonic() - began < 1
    others.check()


def test_a_body_in_crumbs(server: Running) -> None:
    """Frames of two bytes are held as what they carry, not as a piece of memory each."""
    size = 2**20
    with Others(server) as others, raw(server) as client:
        client.send(opening() + frame(DATA, 0, 1, b"\0" + struct.pack(">I", size)))
        crumbs = frame(DATA, 0, 1, b"ab") * 1000
        if flood(client, (crumbs for _ in range(size // 2000)), SECONDS) == "taken":
            assert mib(server) - others.before < 8
    others.check()


def test_answers_that_are_never_taken(server: Running) -> None:
    """The client gives no window, and goes on asking."""
    small_window = frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0))
    with Others(server) as others, raw(server) as client:
        client.send(small_window)
        flood(client, (call(2 * index + 1) for index in range(20_000)))
    others.check()


def test_messages_of_which_nothing_more_comes(server: Running) -> None:
    """As many as fit on many connections: what is announced is not what memory is taken for."""
    announced = b"\0" + struct.pack(">I", 200 * 2**20)
    clients = []
    with Others(server) as others:
        try:
            for _ in range(20):
                clients.append(Raw(server.grpc_port))
                for index in range(50):
                    number = 2 * index + 1
                    clients[-1].send(opening(number) + frame(DATA, 0, number, announced))
        finally:
            for client in clients:
                client.socket.close()
    others.check()


def test_the_server_never_had_a_bug_to_report(server: Running) -> None:
    assert server.process.poll() is None
    assert "Traceback" not in server.log_text()
    with raw(server) as client:
        client.send(call() + frame(DATA, END_STREAM, 3))
        check_answer(*client.answer(1))
