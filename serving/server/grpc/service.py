"""The gRPC server: raw bytes in and out, the work handed to the execution."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import grpc
import grpc.aio

from serving.server.execution import Execution
from serving.server.grpc.handlers import TABLE, Handler
from serving.server.manager import Manager
from serving.server.status import from_exception

log = logging.getLogger(__name__)

_CODES = {code.value[0]: code for code in grpc.StatusCode}


def make_server(
    manager: Manager,
    execution: Execution,
    *,
    message_bytes: int,
    concurrent_calls: int | None = None,
) -> grpc.aio.Server:
    """A server without a port. A larger message, or one call too many, is RESOURCE_EXHAUSTED."""
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", message_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),  # a port in use is an error, not a second server
        ],
        maximum_concurrent_rpcs=concurrent_calls,
    )
    for service, methods in TABLE.items():
        rpcs = {
            method: grpc.unary_unary_rpc_method_handler(_behaviour(manager, execution, handler))
            for method, handler in methods.items()
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, rpcs),))
    return server


def _model_spec(request: bytes) -> bytes:
    """The serialised ModelSpec, which comes first in every request; empty where it does not."""
    if len(request) > 2 and request[0] == 0x0A and request[1] < 0x80:
        return request[2 : 2 + request[1]]
    return b""


def _behaviour(
    manager: Manager, execution: Execution, handler: Handler
) -> Callable[[bytes, grpc.aio.ServicerContext], Awaitable[bytes]]:
    async def answer(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        kind = (handler, _model_spec(request))
        try:
            return await execution.run(kind, len(request), handler, manager, request)
        except Exception as error:
            known = from_exception(error)
            if known is not error and not hasattr(error, "error_code"):
                log.exception("A call failed")  # not TensorFlow's error: a bug worth its traceback
        await context.abort(_CODES[int(known.code)], known.message)
        raise AssertionError  # abort raises

    return answer
