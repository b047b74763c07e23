"""grpc.health.v1: what load balancers and Kubernetes ask a gRPC server.

Both messages have one field, so they are read and written here without a class of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import grpc
import grpc.aio

SERVICE = "grpc.health.v1.Health"
KNOWN = ("", "ModelService", "PredictionService")  # the names that TensorFlow Serving registers

_SERVING, _NOT_SERVING, _SERVICE_UNKNOWN = b"\x08\x01", b"\x08\x02", b"\x08\x03"
_WATCH_SECONDS = 0.25


class Health:
    """The Health service; `serving` says how things stand."""

    def __init__(self, serving: Callable[[], bool]):
        self._serving = serving

    def handler(self) -> grpc.GenericRpcHandler:
        """Check and Watch, ready to be added to a server."""
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "Check": grpc.unary_unary_rpc_method_handler(self._check),
                "Watch": grpc.unary_stream_rpc_method_handler(self._watch),
            },
        )

    def _status(self) -> bytes:
        return _SERVING if self._serving() else _NOT_SERVING

    async def _check(self, request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        if _service(request) not in KNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, "service name unknown")
        return self._status()

    async def _watch(
        self, request: bytes, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[bytes]:
        known, last = _service(request) in KNOWN, b""
        while True:
            status = self._status() if known else _SERVICE_UNKNOWN
            if status != last:
                last = status
                yield status
            await asyncio.sleep(_WATCH_SECONDS)


def _service(request: bytes) -> str:
    """HealthCheckRequest.service; a name is shorter than 128 bytes."""
    if len(request) >= 2 and request[0] == 0x0A and request[1] == len(request) - 2:
        return request[2:].decode("utf-8", "replace")
    return "" if not request else "\0"
