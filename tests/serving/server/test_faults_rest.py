"""REST requests whose heads, lengths and chunks are wrong: a refusal or an end, and others served.

Bodies that are wrong: `test_malformed`. Clients that are too slow: `test_protocol`.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.server import Running

SECONDS = 30
BODY = b'{"instances": [[1, 2, 3]]}'
HEAD = b"POST /v1/models/mat:predict HTTP/1.1\r\nHost: h\r\n"
GOOD = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY

_MANY = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def others(server: Running) -> Iterator[Callable[[], None]]:
    """Asks well on a connection of its own."""
    connection = http.client.HTTPConnection("localhost", server.rest_port, timeout=SECONDS)

    def check() -> None:
        connection.request("POST", "/v1/models/mat:predict", BODY)
        response = connection.getresponse()
        text = response.read()
        assert (response.status, json.loads(text)) == (200, {"predictions": [[6.0, 6.0]]}), text

    check()
    yield check
    connection.close()


def exchange(server: Running, sent: bytes, *, hang_up: bool = True) -> bytes:
    """Everything that comes back until the server hangs up, which it must once the client has."""
    with socket.create_connection(("localhost", server.rest_port), timeout=SECONDS) as client:
        received = b""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            client.sendall(sent)
            if hang_up:
                client.shutdown(socket.SHUT_WR)
            while chunk := client.recv(65536):
                received += chunk
        return received


def statuses(received: bytes) -> list[int]:
    return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)]


@st.composite
def _damaged(draw: st.DrawFn) -> bytes:
    """A good request with some bytes of it, mostly of its head, cut, changed or repeated."""
    sent = bytearray(GOOD)
    for _ in range(draw(st.integers(1, 3))):
        position = draw(st.integers(0, len(sent) - len(BODY)) | st.integers(0, len(sent)))
        sent[position : position + draw(st.integers(0, 6))] = draw(
            st.binary(max_size=4)
            | st.sampled_from([b"\r\n", b"\r\n\r\n", b":", b" ", b"\0", b"%", b"/", b"HTTP/9.9"])
        )
    return bytes(sent)


_NAMES = st.sampled_from(
    ["Content-Length", "Transfer-Encoding", "Content-Encoding", "Connection", "Expect", "Host",
     "Upgrade", "Accept-Encoding", "Origin", "Range", "X"]
)  # fmt: skip
_HEADS = st.lists(
    st.tuples(
        _NAMES,
        st.sampled_from(["chunked", "gzip", "-1", "0", "5", "99999999999999999999", "close",
                         "100-continue", "h2c", "websocket", "identity, chunked", ""])
        | st.text(st.characters(max_codepoint=255), max_size=8),
    ),
    max_size=5,
).map(
    lambda headers: HEAD
    + b"".join(f"{name}: {value}\r\n".encode("latin-1") for name, value in headers)
    + b"\r\n"
    + BODY
)  # fmt: skip
_CHUNKS = st.lists(
    st.sampled_from(
        [b"5\r\nabcde\r\n", b"0\r\n\r\n", b"fffffffff\r\n", b"-1\r\n", b"1a\r\n" + BODY + b"\r\n",
         b"5;x=y\r\n{\"a\":\r\n", b"\r\n", b"zz\r\n"]
    ) | st.binary(max_size=6),
    max_size=5,
).map(lambda chunks: HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(chunks))  # fmt: skip


@_MANY
@given(sent=_damaged() | _HEADS | _CHUNKS | st.binary(max_size=80))
def test_random_requests(server: Running, others, sent: bytes) -> None:
    assert all(status < 600 and status != 500 for status in statuses(exchange(server, sent)))
    others()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\0" * 64, 400),
        (b"GET\r\n\r\n", 400),
        (HEAD + b"Content-Length: x\r\n\r\n", 400),
        (HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef", 400),
        (HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 413),
        (HEAD + b"Expect: a miracle\r\nContent-Length: 5\r\n\r\nabcde", 417),
        (HEAD.replace(b"POST", b"post"), 501),
        (HEAD.replace(b"POST", b"FOO"), 501),
        (HEAD.replace(b"POST", b"CONNECT") + b"\r\n", 501),
        (GOOD.replace(b"POST", b"CONNECT"), 501),
        (GOOD.replace(b"POST", b"TRACE"), 501),
        (HEAD.replace(b"POST /", b"POST "), 404),
        (HEAD.replace(b"mat", "m\u00e4t".encode()), 400),
        (HEAD.replace(b"/1.1", b"/2.0") + b"\r\n", 400),
        (HEAD + b"X: " + b"y" * 100_000 + b"\r\n\r\n", 400),
        (HEAD + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nabcde", 400),
        (HEAD.replace(b"mat", b"%zz%00") + b"Content-Length: 2\r\n\r\n{}", 400),
        (HEAD.replace(b"mat", b"%7a%00") + b"Content-Length: 2\r\n\r\n{}", 404),
    ],
)
def test_what_is_refused(server: Running, others, sent: bytes, status: int) -> None:
    assert statuses(exchange(server, sent))[:1] == [status]
    others()


@pytest.mark.parametrize("cut", [10, len(HEAD), len(GOOD) - len(BODY), len(GOOD) - 1])
def test_a_truncated_request_is_never_run(server: Running, others, cut: int) -> None:
    """The client hangs up in the middle: whatever it is told, it is no answer of the model."""
    assert 200 not in statuses(exchange(server, GOOD[:cut]))
    others()


def test_right_requests_on_the_same_connection(server: Running) -> None:
    """A body in chunks, and one that a client asks for leave to send."""
    chunked = HEAD + b"Transfer-Encoding: chunked\r\n\r\n1a;x=y\r\n" + BODY + b"\r\n0\r\n\r\n"
    expected = HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
    last = GOOD.replace(b"Host: h", b"Host: h\r\nConnection: close")
    received = exchange(server, chunked + expected + last, hang_up=False)
    assert [found for found in statuses(received) if found != 100] == [200, 200, 200]
    assert received.count(b"6.0, 6.0") == 3


def test_a_client_that_offers_another_protocol_is_answered_in_this_one(server: Running) -> None:
    offered = GOOD.replace(b"Host: h", b"Host: h\r\nConnection: Upgrade\r\nUpgrade: h2c")
    last = GOOD.replace(b"Host: h", b"Host: h\r\nConnection: close")
    received = exchange(server, offered + GOOD + offered + last, hang_up=False)
    assert statuses(received) == [200] * 4


def test_clients_of_http_1_0(server: Running) -> None:
    """The connection ends with an answer, unless the client asks for more."""
    old = GOOD.replace(b"HTTP/1.1", b"HTTP/1.0")
    kept = old.replace(b"Host: h", b"Connection: Keep-Alive")
    received = exchange(server, kept + kept + old + old, hang_up=False)
    assert received.count(b"HTTP/1.0 200 OK\r\n") == received.count(b"6.0, 6.0") == 3
    assert received.count(b"Connection: keep-alive") == 2
    assert received.count(b"Connection: close") == 1


def test_the_server_never_had_a_bug_to_report(server: Running) -> None:
    assert server.process.poll() is None
    assert "Traceback" not in server.log_text()
