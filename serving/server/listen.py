"""The listeners: sockets that are claimed early, connections that are accepted one at a time."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import select
import socket
import ssl
import stat
import struct
import time
from collections.abc import Callable

from serving.errors import PortInUse, StartError
from serving.server.workers.turn import Turn

log = logging.getLogger(__name__)

BACKLOG = 2048
HANDSHAKE_SECONDS = 10.0  # for a client to agree on TLS
ADMIT_SECONDS = 0.05  # for the kernel to complete the connections that are being made
OPEN_SECONDS = 1.0  # for accepted connections to be set up before the drain goes on
FULL_SECONDS = 0.1  # between tries while the process may open no more files
COMPLAINT_SECONDS = 60.0  # between two lines about that
TURN_SECONDS = 0.002  # a connection that is another worker's is left to it this long ...
TURNS = 15  # ... and so often: a worker that is stopped must not keep clients waiting

_SO_ATTACH_FILTER = 26  # asm-generic/socket.h; the socket module does not name it


def claim(host: str, port: int, what: str) -> socket.socket:
    """A TCP socket bound to the port and not yet listening, so that clients are still refused.

    Raises:
        PortInUse: the port is in use, or may not be used.
    """
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
    except (OSError, OverflowError) as error:  # the latter for a number that is no port
        found.close()
        raise PortInUse(port, what, getattr(error, "strerror", None) or str(error)) from error
    return found


def claim_path(path: str) -> socket.socket:
    """A Unix socket bound to `path`; one that nobody listens at any more is replaced.

    Raises:
        StartError: somebody listens there, or it cannot be made.
    """
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if stat.S_ISSOCK(os.stat(path).st_mode):
            found.connect(path)
            found.close()
            raise StartError(f"gRPC cannot listen on {path}: another server does.")
    except ConnectionRefusedError:
        os.unlink(path)
    except OSError:
        pass  # nothing is there, or bind says what
    try:
        found.bind(path)
    except OSError as error:
        found.close()
        reason = error.strerror or str(error)
        raise StartError(f"gRPC cannot listen on {path}: {reason}.") from error
    return found


def _refuse_new(listener: socket.socket) -> None:
    """Let the kernel drop new connection attempts while those that it completed are accepted.

    Closing a listener resets the connections that wait in its queue, and a client may have sent a
    request on one. A packet filter that drops everything (one instruction: return 0) keeps the
    queue from being filled again; a client's next try finds the port closed.
    """
    return_nothing = struct.pack("HBBI", 0x06, 0, 0, 0)  # struct sock_filter {BPF_RET | BPF_K, 0}
    instruction = ctypes.create_string_buffer(return_nothing)
    program = struct.pack("HP", 1, ctypes.addressof(instruction))  # struct sock_fprog
    with contextlib.suppress(OSError):  # not Linux: then the queue is lost, as it is elsewhere
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def _inode(listener: socket.socket) -> int | None:
    """Which file a Unix socket's path is; None for TCP, or where there is no such path."""
    if listener.family == socket.AF_UNIX:
        with contextlib.suppress(OSError):
            return os.stat(listener.getsockname()).st_ino
    return None


class Acceptor:
    """Accepts the connections of a socket, one at a time.

    An event loop takes as many as wait; of several processes that share the socket, the first one
    to wake up would then have them all.

    Args:
        listener: bound, TCP or Unix.
        protocol: makes the protocol of each connection. With a turn, its `connection_lost` is
            replaced for as long as the connection lasts.
        tls: for a handshake before the protocol sees its connection; None for plain text.
        turn: this process's place among others that share the socket; None where it is alone.
    """

    def __init__(
        self,
        listener: socket.socket,
        protocol: Callable[[], asyncio.Protocol],
        *,
        tls: ssl.SSLContext | None = None,
        turn: Turn | None = None,
    ):
        self._listener, self._protocol, self._tls, self._turn = listener, protocol, tls, turn
        self._handshake = None if tls is None else HANDSHAKE_SECONDS
        self._opening: set[asyncio.Task] = set()
        self._resting: asyncio.TimerHandle | None = None
        self._waits, self._polite = 0, True
        self._complained = -COMPLAINT_SECONDS
        self._file: int | None = None

    def begin(self) -> None:
        """Listen, on the loop that runs now."""
        self._loop = asyncio.get_running_loop()
        self._listener.setblocking(False)
        self._listener.listen(BACKLOG)
        self._queue = select.poll()
        self._queue.register(self._listener, select.POLLIN)
        self._file = _inode(self._listener)
        if self._turn is not None:
            self._turn.join()
        self._watch()

    async def admit_no_more(self) -> None:
        """Accept the connections that were made already, then close the listener."""
        self._polite = False
        if self._file is None:
            _refuse_new(self._listener)
        elif _inode(self._listener) == self._file:  # a successor may listen at the path by now
            with contextlib.suppress(OSError):
                os.unlink(self._listener.getsockname())
        await asyncio.sleep(ADMIT_SECONDS)
        if self._resting is not None:
            self._resting.cancel()
        self._loop.remove_reader(self._listener)
        with contextlib.suppress(OSError):  # the rest finds the listener closed
            while (connection := self._next()) is not None:
                self._open(connection)
        self._listener.close()
        if self._opening:
            await asyncio.wait(self._opening, timeout=OPEN_SECONDS)

    # === Accepting ===

    def _watch(self) -> None:
        self._resting = None
        if not self._queue.poll(0):
            self._waits = 0  # another worker has come for it
        self._loop.add_reader(self._listener, self._accept)

    def _rest(self, seconds: float) -> None:
        """Look away: the connection that waits would wake this process again at once."""
        self._loop.remove_reader(self._listener)
        self._resting = self._loop.call_later(seconds, self._watch)

    def _accept(self) -> None:
        """Take one connection, or leave it to a worker who has fewer.

        Where that one does not come for it, everything that waits is taken.
        """
        others = self._turn is not None and self._polite and self._turn.of_others()
        if others and self._waits < TURNS:
            self._waits += 1
            self._rest(TURN_SECONDS)
            return
        self._waits = 0
        try:
            while (connection := self._next()) is not None:
                self._open(connection)
                if not others:
                    return
        except OSError as error:
            self._complain(error)
            self._rest(FULL_SECONDS)

    def _next(self) -> socket.socket | None:
        """The next connection, None where none waits.

        Raises:
            OSError: it cannot be taken, mostly since too many files are open.
        """
        while True:
            try:
                return self._listener.accept()[0]
            except BlockingIOError:
                return None
            except ConnectionAbortedError:
                continue  # its client went away; there may be others

    def _complain(self, error: OSError) -> None:
        now = time.monotonic()
        if now - self._complained >= COMPLAINT_SECONDS:
            self._complained = now
            log.error("Connections are kept waiting: %s", error.strerror or error)

    # === The connections ===

    def _open(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        if connection.family != socket.AF_UNIX:
            with contextlib.suppress(OSError):  # its client is gone, which the loop will find
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = self._loop.create_task(self._connect(connection))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _connect(self, connection: socket.socket) -> None:
        counted = _Counted(self._protocol, self._turn)
        try:
            await self._loop.connect_accepted_socket(
                counted, connection, ssl=self._tls, ssl_handshake_timeout=self._handshake
            )
        except (OSError, asyncio.TimeoutError) as error:  # no TLS, or none that this one speaks
            counted.close()
            log.debug("A connection ended before its first byte: %s", error)


class _Counted:
    """Makes the protocol of one connection, which counts for this process until it is lost."""

    def __init__(self, protocol: Callable[[], asyncio.Protocol], turn: Turn | None):
        self._protocol, self._turn = protocol, turn
        if turn is not None:
            turn.opened()

    def __call__(self) -> asyncio.Protocol:
        made = self._protocol()
        if self._turn is None:
            return made
        lost = made.connection_lost

        def connection_lost(error: Exception | None) -> None:
            del made.connection_lost  # a cycle otherwise
            self.close()
            lost(error)

        made.connection_lost = connection_lost
        return made

    def close(self) -> None:
        """The connection is gone."""
        if self._turn is not None:
            self._turn.closed()
            self._turn = None
