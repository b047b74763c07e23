"""The gRPC server: raw bytes in and out, the work handed to the execution."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import grpc
import grpc.aio

from serving.server.core import Core
from serving.server.execution import NEVER_INLINE
from serving.server.grpc.handlers import TABLE, Handler
from serving.server.grpc.health import Health
from serving.server.grpc.listen import Listening, credentials
from serving.server.status import from_exception

log = logging.getLogger(__name__)

_CODES = {code.value[0]: code for code in grpc.StatusCode}

WAITING = ("HandleReloadConfigRequest",)  # for models to be loaded

GATHER_SECONDS = 0.05
GRACE_SECONDS = 30


class GrpcServer:
    """PredictionService and ModelService on a port.

    Args:
        core: what answers.
        listening: limits, options and credentials. A request that is too large, or one call more
            at a time than are allowed, is RESOURCE_EXHAUSTED.
    """

    def __init__(self, core: Core, listening: Listening):
        self._core, self._listening = core, listening
        self._answers_may_go = asyncio.Event()
        self._answers_may_go.set()
        self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", listening.message_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),  # a port in use is an error, not a second server
                *listening.options,
            ],
            maximum_concurrent_rpcs=listening.concurrent_calls,
        )
        if listening.health:
            health = Health(lambda: not core.draining)
            self._server.add_generic_rpc_handlers((health.handler(),))
        for service, methods in TABLE.items():
            rpcs = {
                method: grpc.unary_unary_rpc_method_handler(self._behaviour(method, handler))
                for method, handler in methods.items()
            }
            generic = grpc.method_handlers_generic_handler(service, rpcs)
            self._server.add_generic_rpc_handlers((generic,))

    async def begin(self, *addresses: str) -> list[int]:
        """Listen at all `addresses` (`HOST:PORT` or `unix:PATH`); returns their ports.

        Raises:
            RuntimeError: one of them cannot be used.
        """
        if self._listening.ssl is None:
            log.info("Using InsecureServerCredentials")
            ports = [self._server.add_insecure_port(address) for address in addresses]
        else:
            log.info("Using SslServerCredentials")
            trust = credentials(self._listening.ssl)
            ports = [self._server.add_secure_port(address, trust) for address in addresses]
        await self._server.start()
        return ports

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
            kind = NEVER_INLINE if method in WAITING else (handler, _model_spec(request))
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
