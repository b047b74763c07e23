"""A worker's end of the channel to its supervisor, on the worker's event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from serving.server.workers.channel import Message, Unpacker, pack

log = logging.getLogger(__name__)


class Link(asyncio.Protocol):
    """Messages in both directions. All methods are for the loop's thread.

    Args:
        heard: called with each message that is no reply.
        lost: called when the supervisor is gone.
    """

    def __init__(self, heard: Callable[[Message], None], lost: Callable[[], None]):
        self._heard, self._lost = heard, lost
        self._unpacker = Unpacker()
        self._transport: Any = None
        self._asked: dict[int, asyncio.Future[Message]] = {}
        self._number = 0

    def tell(self, kind: str, **fields: Any) -> None:
        """Send; where the supervisor is gone, nobody hears it."""
        if self._transport is not None:
            self._transport.write(pack({"kind": kind, **fields}))

    async def ask(self, kind: str, **fields: Any) -> Message:
        """Send, and wait for the reply.

        Raises:
            ConnectionError: the supervisor is gone.
        """
        if self._transport is None:
            raise ConnectionError
        self._number += 1
        number = self._number
        future = self._asked[number] = asyncio.get_running_loop().create_future()
        self.tell(kind, id=number, **fields)
        try:
            return await future
        finally:
            del self._asked[number]

    # === asyncio ===

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        for message in self._unpacker.feed(data):
            if message["kind"] != "reply":
                try:
                    self._heard(message)
                except Exception:  # a bug, which must not cost this worker its supervisor
                    log.exception("A message of the supervisor's was not understood")
            elif (future := self._asked.get(message["id"])) is not None and not future.done():
                future.set_result(message)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        for future in self._asked.values():
            if not future.done():
                future.set_exception(ConnectionError())
        self._lost()
