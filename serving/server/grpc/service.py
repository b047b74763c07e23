"""The gRPC server: raw bytes in and out, the work handed to the execution."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import grpc
import grpc.aio

from serving.server.core import Core
from serving.server.grpc.handlers import TABLE, Handler
from serving.server.status import from_exception

log = logging.getLogger(__name__)

_CODES = {code.value[0]: code for code in grpc.StatusCode}

GATHER_SECONDS = 0.05
GRACE_SECONDS = 30


class GrpcServer:
    """PredictionService and ModelService on a port.

    Args:
        core: what answers.
        message_bytes: a larger request is RESOURCE_EXHAUSTED.
        concurrent_calls: one more at a time is RESOURCE_EXHAUSTED; None for no limit.
    """

    def __init__(
        self,
        core: Core,
        *,
        message_bytes: int,
        concurrent_calls: int | None = None,
    ):
        self._core = core
        self._answers_may_go = asyncio.Event()
        self._answers_may_go.set()
        self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", message_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),  # a port in use is an error, not a second server
            ],
            maximum_concurrent_rpcs=concurrent_calls,
        )
        for service, methods in TABLE.items():
            rpcs = {
                method: grpc.unary_unary_rpc_method_handler(self._behaviour(method, handler))
                for method, handler in methods.items()
            }
            generic = grpc.method_handlers_generic_handler(service, rpcs)
            self._server.add_generic_rpc_handlers((generic,))

    async def begin(self, address: str) -> int:
        """Listen at `address`; returns the port.

        Raises:
            RuntimeError: the port cannot be used.
        """
        port = self._server.add_insecure_port(address)
        await self._server.start()
        return port

    async def drain(self) -> None:
        """Finish the calls that have begun, and take no more.

        grpcio cancels a call that arrives between its stop and the moment when the client reads
        of it. So answers are held back for a moment: whoever waits for one starts no new call,
        and reads that this connection is going away before its answer.
        """
        self._answers_may_go.clear()
        await asyncio.sleep(GATHER_SECONDS)
        stopping = asyncio.create_task(self._server.stop(GRACE_SECONDS))
        await asyncio.sleep(GATHER_SECONDS)
        self._answers_may_go.set()
        await stopping

    def _behaviour(
        self, method: str, handler: Handler
    ) -> Callable[[bytes, grpc.aio.ServicerContext], Awaitable[bytes]]:
        core = self._core

        async def answer(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
            kind = (handler, _model_spec(request))
            try:
                data = await core.answer(
                    core.call(method, "GRPC"), kind, len(request), handler, request
                )
            except Exception as error:
                known = from_exception(error)
                if known is not error and not hasattr(error, "error_code"):
                    log.exception("A call failed")  # not TensorFlow's error: a bug to be traced
            else:
                await self._answers_may_go.wait()
                return data
            await context.abort(_CODES[int(known.code)], known.message)
            raise AssertionError  # abort raises

        return answer


def _model_spec(request: bytes) -> bytes:
    """The serialised ModelSpec, which comes first in every request; empty where it does not."""
    if len(request) > 2 and request[0] == 0x0A and request[1] < 0x80:
        return request[2 : 2 + request[1]]
    return b""
