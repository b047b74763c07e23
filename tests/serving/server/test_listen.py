"""Connections are accepted one at a time, fairly, and none that was made is lost at the end."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvloop

from serving.server import listen
from serving.server.workers.turn import Board, Turn


class Echo(asyncio.Protocol):
    """Answers what it is sent; `name` first."""

    def __init__(self, name: bytes = b""):
        self.name = name

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        transport.write(self.name)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


@contextmanager
def accepting(
    listener: socket.socket,
    protocol: Callable[[], asyncio.Protocol] = Echo,
    *,
    tls: ssl.SSLContext | None = None,
    turn: Turn | None = None,
) -> Iterator[tuple[listen.Acceptor, asyncio.AbstractEventLoop]]:
    """An acceptor on a loop of its own, as it would run in a process of its own."""
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    acceptor = listen.Acceptor(listener, protocol, tls=tls, turn=turn)

    async def begin() -> None:
        acceptor.begin()

    try:
        asyncio.run_coroutine_threadsafe(begin(), loop).result(30)
        yield acceptor, loop
    finally:
        if listener.fileno() >= 0:
            asyncio.run_coroutine_threadsafe(acceptor.admit_no_more(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def connect(address: tuple[str, int] | str) -> socket.socket:
    client = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    client.settimeout(30)
    client.connect(address)
    return client


def first(client: socket.socket) -> bytes:
    """What a connection was sent, and the connection closed."""
    with client:
        return client.recv(100)


def unix_listener(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    return listener


@pytest.mark.parametrize("unix", [False, True])
def test_connections_that_wait_are_accepted_before_the_end(unix: bool, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    listener = unix_listener(path) if unix else listen.claim("127.0.0.1", 0, "test")
    address = str(path) if unix else listener.getsockname()
    with accepting(listener, lambda: Echo(b"hello")) as (acceptor, loop):
        held = threading.Event()
        loop.call_soon_threadsafe(held.wait, 30)  # the loop is busy while clients connect
        clients = [connect(address) for _ in range(40)]
        ended = asyncio.run_coroutine_threadsafe(acceptor.admit_no_more(), loop)
        held.set()
        ended.result(30)
        assert [first(client) for client in clients] == [b"hello"] * 40
        with pytest.raises((ConnectionRefusedError, FileNotFoundError)):
            connect(address)
    assert not path.exists()


def test_the_path_of_a_successor_stays(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with accepting(unix_listener(path)), unix_listener(tmp_path / "next"):
        (tmp_path / "next").rename(path)
    assert path.exists()


def test_a_handshake_that_does_not_come_keeps_nobody_waiting(tmp_path: Path) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # without a certificate: no handshake succeeds
    listener = listen.claim("127.0.0.1", 0, "test")
    address = listener.getsockname()
    with accepting(listener, tls=tls), connect(address):
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
        with connect(address) as second, pytest.raises(OSError):
            client.wrap_socket(second)


def test_processes_share_connections_evenly() -> None:
    board = Board(3)  # the third slot is empty
    listener = listen.claim("127.0.0.1", 0, "test")
    address, other = listener.getsockname(), listener.dup()
    with (
        accepting(listener, lambda: Echo(b"0"), turn=Turn(board, 0)),
        accepting(other, lambda: Echo(b"1"), turn=Turn(board, 1)),
    ):
        clients = [connect(address) for _ in range(8)]
        names = [client.recv(1) for client in clients]
        assert sorted(names) == [b"0"] * 4 + [b"1"] * 4
        assert list(board.counts) == [4, 4, -1]
        for client, name in zip(clients, names, strict=True):
            if name == b"0":
                client.close()
        wait_until(lambda: list(board.counts) == [0, 4, -1])
        again = [connect(address) for _ in range(4)]
        assert [client.recv(1) for client in again] == [b"0"] * 4
        for client in (*clients, *again):
            client.close()
        wait_until(lambda: list(board.counts) == [0, 0, -1])


def test_a_worker_that_sleeps_keeps_nobody_waiting() -> None:
    board = Board(2)
    Turn(board, 1).join()  # says that it accepts, and never does
    listener = listen.claim("127.0.0.1", 0, "test")
    address = listener.getsockname()
    with accepting(listener, lambda: Echo(b"0"), turn=Turn(board, 0)):
        started = time.monotonic()
        clients = [connect(address) for _ in range(20)]
        assert [first(client) for client in clients] == [b"0"] * 20
        assert time.monotonic() - started < 5


def test_too_many_open_files_is_one_line_and_passes(caplog: pytest.LogCaptureFixture) -> None:
    listener = listen.claim("127.0.0.1", 0, "test")
    address = listener.getsockname()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with accepting(listener, lambda: Echo(b"hello")):
        with connect(address) as warm:
            assert warm.recv(10) == b"hello"
        clients = [socket.socket() for _ in range(3)]
        try:
            lowest = os.dup(0)
            os.close(lowest)
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, limits[1]))
            for client in clients:
                client.settimeout(30)
                client.connect(address)
            wait_until(lambda: "Too many open files" in caplog.text)
            time.sleep(0.5)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert [first(client) for client in clients] == [b"hello"] * 3
    assert caplog.text.count("Too many open files") == 1


def wait_until(check: Callable[[], bool], timeout: float = 30) -> None:
    deadline = time.monotonic() + timeout
    while not check():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
