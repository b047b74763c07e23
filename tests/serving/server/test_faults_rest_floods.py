"""REST clients that send without end: cut off or held up, others served, memory bounded.

Clients that do not read, and that are too slow: `test_protocol`.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from serving.server import Running
from tests.serving.bystander import Others

HEAD = b"POST /v1/models/mat:predict HTTP/1.1\r\nHost: h\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
BODY = b'{"instances": [[1, 2, 3]]}'
GOOD = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
SECONDS = 30


def flood(server: Running, first: bytes, pieces: Iterator[bytes]) -> str:
    """How it ends.

    Returns:
        "ended": by the server, or it answered without having seen an end. "held up": it did not
        read for a second. "taken": all of it, and not a word in three seconds.
    """
    with socket.create_connection(("localhost", server.rest_port), timeout=1) as client:
        try:
            client.sendall(first)
            for piece in pieces:
                client.sendall(piece)
        except TimeoutError:
            return "held up"
        except (BrokenPipeError, ConnectionResetError):
            return "ended"
        client.settimeout(3)
        try:
            client.recv(65536)
        except TimeoutError:
            return "taken"
        except ConnectionResetError:
            pass
        return "ended"


def lines(piece: bytes, mebibytes: int) -> Iterator[bytes]:
    many = piece * (65536 // len(piece))
    return (many for _ in range(mebibytes * 16))


# name → what begins a request, what goes on, how it may end.
FLOODS: dict[str, tuple[bytes, Callable[[], Iterator[bytes]], set[str]]] = {
    "a target": (b"GET /", lambda: lines(b"a", 64), {"ended", "held up"}),
    "headers": (HEAD, lambda: lines(b"a: b\r\n", 64), {"ended", "held up"}),
    "one header": (HEAD + b"a: ", lambda: lines(b"b", 64), {"ended", "held up"}),
    "empty lines": (b"", lambda: lines(b"\r\n", 64), {"ended", "held up", "taken"}),
    "a chunk's extension": (CHUNKED + b"1;", lambda: lines(b"x", 64), {"ended", "taken"}),
    "requests without reading": (
        b"", lambda: lines(b"GET /v1/models/mat HTTP/1.1\r\n\r\n", 64), {"ended", "held up"},
    ),
    "wrong requests without reading": (b"", lambda: lines(b"nonsense\r\n\r\n", 64), {"ended"}),
}  # fmt: skip


@pytest.mark.parametrize("name", FLOODS)
def test_floods(server: Running, name: str) -> None:
    first, pieces, ends = FLOODS[name]
    with Others(server) as others:
        assert flood(server, first, pieces()) in ends
    others.check()


def test_trailers_without_end(server: Running) -> None:
    with Others(server) as others:
        first = CHUNKED + b"1a\r\n" + BODY + b"\r\n0\r\n"
        assert flood(server, first, lines(b"a: b\r\n", 8)) in ("ended", "held up")
    others.check()


def test_a_body_in_crumbs(server: Running) -> None:
    """Chunks of two bytes are held as what they carry, not as a piece of memory each."""
    with (
        Others(server) as others,
        socket.create_connection(("localhost", server.rest_port), timeout=SECONDS) as client,
    ):
        client.sendall(CHUNKED)
        for _ in range(2**10):  # 2 MiB of body
            client.sendall(b"2\r\n  \r\n" * 1024)
        client.sendall(b"1a\r\n" + BODY + b"\r\n")
        time.sleep(1)
        client.sendall(b"0\r\n\r\n")
        answer = client.recv(65536)
    assert re.match(rb"HTTP/1\.1 200 ", answer), answer
    assert others.peak - others.before < 12
    others.check()


def test_the_server_never_had_a_bug_to_report(server: Running) -> None:
    assert server.process.poll() is None
    assert "Traceback" not in server.log_text()
