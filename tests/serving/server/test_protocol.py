"""Clients that are too slow, or send too much, lose their connection and nobody else's."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from serving.server import listen
from serving.server.core import Core
from serving.server.execution import Execution
from serving.server.http1.connection import Guards
from serving.server.manager import Manager
from serving.server.metrics import Metrics
from serving.server.rest import json_parse
from serving.server.rest.app import Limits, RestApp
from serving.server.rest.json_parse import parse_object
from serving.server.rest.service import RestServer
from serving.server.status import Code, ServingError

HEAD = b"POST /v1/models/m:predict HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"


IMPATIENT = Guards(arrival_seconds=0.3, reading_seconds=0.3)


@contextmanager
def rest(limits: Limits | None = None, metrics: Metrics | None = None) -> Iterator[int]:
    """The port of a REST server without models, in this process."""
    manager, execution = Manager(lambda *_: None), Execution(2)
    app = RestApp(
        Core(manager, execution, metrics=metrics),
        limits or Limits(),
        metrics_path="/metrics" if metrics else "",
    )
    listener = listen.claim("127.0.0.1", 0, "REST")
    loop = asyncio.new_event_loop()
    server = RestServer(app, listener, guards=IMPATIENT)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(_begin(server), loop).result(10)
        yield listener.getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(server.drain(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        execution.stop()
        manager.stop()


async def _begin(server: RestServer) -> None:
    server.begin()


def _answer(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.settimeout(10)
        client.sendall(b"GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n")
        return client.recv(4096)


def _seconds_until_closed(client: socket.socket) -> float:
    started = time.monotonic()
    client.settimeout(10)
    try:
        while client.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return time.monotonic() - started


def _trickle(client: socket.socket, pieces: list[bytes]) -> None:
    for piece in pieces:
        client.sendall(piece)
        time.sleep(0.02)


@pytest.mark.parametrize(
    "sent",
    [b"", b"POST /v1/mod", HEAD % 100, HEAD % 100 + b"{", b"GET /livez HTTP/1.1\r\nA: b\r\n"],
)
def test_a_request_that_does_not_arrive(sent: bytes) -> None:
    with rest() as port, socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(sent)
        assert _answer(port).startswith(b"HTTP/1.1 200")
        assert 0.1 < _seconds_until_closed(client) < 5


def test_a_request_that_trickles_in() -> None:
    """Each byte is in time for an idle limit; the whole is not."""
    with rest() as port, socket.create_connection(("127.0.0.1", port)) as client:
        started = time.monotonic()
        with pytest.raises(OSError):
            _trickle(client, [bytes((byte,)) for byte in HEAD % 1000 + b" " * 1000])
        assert time.monotonic() - started < 10


def test_a_client_that_does_not_read() -> None:
    metrics = Metrics()
    for index in range(20_000):  # a page of megabytes
        metrics.request_count.increment(f"model-with-a-long-name-{index % 10_000:050}", str(index))
    with rest(metrics=metrics) as port, socket.create_connection(("127.0.0.1", port)) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for _ in range(20):
            client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        time.sleep(1.0)
        assert _answer(port).startswith(b"HTTP/1.1 200")
        with pytest.raises(OSError):  # reset, since the rest was thrown away
            _trickle(client, [b"GET /metrics HTTP/1.1\r\n\r\n"] * 1000)


def test_all_bodies_together_have_a_limit() -> None:
    with rest(Limits(body_bytes=1000, held_bytes=1500)) as port:
        first = socket.create_connection(("127.0.0.1", port))
        first.sendall(HEAD % 1000 + b" " * 900)
        time.sleep(0.1)
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.settimeout(10)
            client.sendall(HEAD % 900 + b" " * 900)
            answer = client.recv(4096)
        first.close()
        assert answer.startswith(b"HTTP/1.1 429")
        time.sleep(0.1)
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.settimeout(10)
            client.sendall(HEAD % 900 + b" " * 900)
            assert client.recv(4096).startswith(b"HTTP/1.1 400")  # not JSON, and taken in again


def test_values_that_would_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_parse, "MAX_PARSED_BYTES", 10_000)
    assert parse_object(json.dumps({"instances": [[1.0]] * 50}).encode())
    with pytest.raises(ServingError) as caught:
        parse_object(b'{"instances": [' + b"[]," * 1000 + b"[]]}")
    assert caught.value.code is Code.RESOURCE_EXHAUSTED
