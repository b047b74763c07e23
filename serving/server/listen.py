"""The two listeners: sockets that are claimed early, and uvicorn without its signal handling."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import socket
import struct
from collections.abc import Iterator

import uvicorn

from serving.errors import PortInUse, StartError
from serving.server.rest.app import RestApp
from serving.server.rest.protocol import GuardedProtocol

# A keep-alive client that is idle when the server drains may be about to send: its connection is
# left open this long, and what it still sends is answered with `Connection: close`.
DRAIN_SECONDS = 0.3
ADMIT_SECONDS = 0.05  # for the event loop to accept the connections that were already made

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
    except OSError as error:
        found.close()
        raise PortInUse(port, what, error.strerror or str(error)) from error
    return found


def _admit_no_more(listener: socket.socket) -> None:
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


class RestServer(uvicorn.Server):
    """uvicorn in a loop that somebody else owns, with signals that somebody else handles."""

    def __init__(self, app: RestApp, listener: socket.socket):
        config = uvicorn.Config(
            app,
            http=GuardedProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=75,
        )
        super().__init__(config)
        self._app, self._listener = app, listener
        self._task: asyncio.Task | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def begin(self) -> None:
        """Listen. On return, requests are answered."""
        self._task = asyncio.create_task(self.serve(sockets=[self._listener]))
        while not self.started:
            if self._task.done():
                await self._task
                raise StartError("The REST server ended as it started.")
            await asyncio.sleep(0.005)

    async def drain(self) -> None:
        """Answer what has been sent, then close; no request that was accepted is lost."""
        self._app.closing = True
        _admit_no_more(self._listener)
        await asyncio.sleep(ADMIT_SECONDS)
        for server in self.servers:
            server.close()
        await asyncio.sleep(DRAIN_SECONDS)
        self.should_exit = True
        if self._task is not None:
            await self._task
