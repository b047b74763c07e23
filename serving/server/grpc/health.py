"""grpc.health.v1: what load balancers and Kubernetes ask a gRPC server.

Both messages have one field, so they are read and written here without a class of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from serving.server.grpc import messages
from serving.server.http2.connection import Connection
from serving.server.http2.stream import Stream
from serving.server.status import Code, ServingError

SERVICE = "grpc.health.v1.Health"
KNOWN = ("", "ModelService", "PredictionService")  # the names that TensorFlow Serving registers

_SERVING, _NOT_SERVING, _SERVICE_UNKNOWN = b"\x08\x01", b"\x08\x02", b"\x08\x03"
_WATCH_SECONDS = 0.25


class Health:
    """The Health service; `serving` says how things stand."""

    def __init__(self, serving: Callable[[], bool]):
        self._serving = serving

    def methods(self) -> dict[bytes, Any]:
        """Path → coroutine function of a connection, a stream and a request's message."""
        return {
            f"/{SERVICE}/Check".encode(): self._check,
            f"/{SERVICE}/Watch".encode(): self._watch,
        }

    def _status(self) -> bytes:
        return _SERVING if self._serving() else _NOT_SERVING

    async def _check(self, connection: Connection, stream: Stream, request: bytes) -> None:
        if _service(request) not in KNOWN:
            raise ServingError(Code.NOT_FOUND, "service name unknown")
        stream.cancel = None
        body = messages.with_prefix(self._status())
        connection.respond(stream, messages.ANSWER, body, messages.OK)

    async def _watch(self, connection: Connection, stream: Stream, request: bytes) -> None:
        """Every change until the client has enough, or the server stops."""
        known, last = _service(request) in KNOWN, b""
        connection.begin(stream, messages.ANSWER)
        while last != _NOT_SERVING:
            status = self._status() if known else _SERVICE_UNKNOWN
            if status != last:
                last = status
                connection.send(stream, messages.with_prefix(status))
            await asyncio.sleep(_WATCH_SECONDS)
        stream.cancel = None
        connection.finish(stream, messages.status(Code.UNAVAILABLE, "The server is stopping."))


def _service(request: bytes) -> str:
    """HealthCheckRequest.service; a name is shorter than 128 bytes."""
    if len(request) >= 2 and request[0] == 0x0A and request[1] == len(request) - 2:
        return request[2:].decode("utf-8", "replace")
    return "" if not request else "\0"
