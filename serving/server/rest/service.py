"""The REST server: HTTP/1.1 connections in front of the application."""

from __future__ import annotations

import asyncio
import socket
from functools import partial

from serving.server.http1.connection import PATIENT, Connection, Guards
from serving.server.listen import Acceptor, Turn
from serving.server.rest.app import RestApp

# A keep-alive client that is idle when the server drains may be about to send: its connection is
# left open this long, and what it still sends is answered with `Connection: close`.
DRAIN_SECONDS = 0.3
CHECK_SECONDS = 0.5  # between looks at how slow the clients are


class RestServer:
    """The application at a socket, in a loop that somebody else owns."""

    def __init__(
        self,
        app: RestApp,
        listener: socket.socket,
        turn: Turn | None = None,
        guards: Guards = PATIENT,
    ):
        self._app = app
        self._connections: set[Connection] = set()
        make = partial(Connection, app, self._connections, guards)
        self._acceptor = Acceptor(listener, make, turn=turn)
        self._check_seconds = min(CHECK_SECONDS, guards.arrival_seconds / 4)
        self._clock: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Listen. On return, requests are answered."""
        self._acceptor.begin()
        self._check()

    def _check(self) -> None:
        loop = asyncio.get_running_loop()
        for connection in list(self._connections):
            connection.check(loop.time())
        self._clock = loop.call_later(self._check_seconds, self._check)

    async def drain(self) -> None:
        """Answer what has been sent, then close; no request that was accepted is lost."""
        self._app.closing = True
        await self._acceptor.admit_no_more()
        await asyncio.sleep(DRAIN_SECONDS)
        for connection in list(self._connections):
            connection.shutdown()
        while self._connections:
            await asyncio.sleep(0.02)
        if self._clock is not None:
            self._clock.cancel()
