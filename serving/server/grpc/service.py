"""The gRPC server: calls that come over HTTP/2, the work handed to the execution."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from serving.server.core import Core
from serving.server.execution import NEVER_INLINE
from serving.server.grpc import messages
from serving.server.grpc.handlers import TABLE, Handler
from serving.server.grpc.health import Health
from serving.server.grpc.listen import Listening, tls_context
from serving.server.http2.connection import Connection
from serving.server.http2.headers import Header
from serving.server.http2.stream import Stream
from serving.server.listen import Acceptor, Turn
from serving.server.status import Code, ServingError, from_exception

log = logging.getLogger(__name__)

WAITING = ("HandleReloadConfigRequest",)  # for models to be loaded

# While a server stops: for requests that are on their way, and for those that are answered.
GATHER_SECONDS = 0.1
GRACE_SECONDS = 30


@dataclass(frozen=True)
class _Method:
    """A method of PredictionService or ModelService."""

    name: str
    handler: Handler

    @property
    def waits(self) -> bool:
        return self.name in WAITING


@dataclass
class GrpcServer:
    """PredictionService, ModelService and, where it is on, Health. See `http2.Application`.

    Args:
        core: what answers.
        listening: limits, options and credentials. A request that is too large, or one call more
            at a time than are allowed, is RESOURCE_EXHAUSTED.
    """

    core: Core
    listening: Listening
    turn: Turn | None = None
    _connections: set[Connection] = field(default_factory=set)
    _tasks: set[asyncio.Task] = field(default_factory=set)
    _held: int = 0  # bytes of all requests that are in memory
    _stopping: bool = False

    def __post_init__(self) -> None:
        self._acceptors: list[Acceptor] = []
        self._methods: dict[bytes, Any] = {
            f"/{service}/{name}".encode(): _Method(name, handler)
            for service, methods in TABLE.items()
            for name, handler in methods.items()
        }
        if self.listening.health:
            health = Health(lambda: not (self.core.draining or self._stopping))
            self._methods |= health.methods()

    # === Life ===

    def begin(self, sockets: Sequence[socket.socket]) -> None:
        """Listen at all `sockets`, which are bound. On return, calls are answered."""
        tls = tls_context(self.listening.ssl) if self.listening.ssl is not None else None
        log.info("Using %s", "InsecureServerCredentials" if tls is None else "SslServerCredentials")
        make = partial(
            Connection, self, self._connections, most_streams=self.listening.concurrent_streams
        )
        self._acceptors = [Acceptor(each, make, tls=tls, turn=self.turn) for each in sockets]
        for acceptor in self._acceptors:
            acceptor.begin()

    async def drain(self) -> None:
        """Finish the calls that have begun or are on their way, and take no more."""
        await asyncio.gather(*(acceptor.admit_no_more() for acceptor in self._acceptors))
        for connection in list(self._connections):
            connection.announce_end()
        await asyncio.sleep(GATHER_SECONDS)
        self._stopping = True  # whoever watches the health is told so, and its call ends
        for connection in list(self._connections):
            connection.leave()
        deadline = asyncio.get_running_loop().time() + GRACE_SECONDS
        while self._connections and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.01)
        for connection in list(self._connections):
            connection.transport.abort()

    # === What connections tell ===

    def meaning(self, headers: list[Header]) -> messages.Request | None:
        return messages.read_request(headers, self._methods)

    def begun(self, connection: Connection, stream: Stream) -> None:
        request = stream.request
        if not request.is_grpc:
            connection.respond_briefly(stream, messages.NOT_GRPC)
        elif request.method is None:
            self._fail(connection, stream, ServingError(Code.UNIMPLEMENTED, ""))

    def received(self, connection: Connection, stream: Stream, data: bytes) -> None:
        limit = self.listening.message_bytes
        size = stream.body.size + len(data) - messages.PREFIX.size
        if size > limit:
            self._fail(connection, stream, messages.too_large(size, limit))
        elif self._held + len(data) > self.listening.held_bytes:
            self._fail(connection, stream, _too_much())
        else:
            self._held += len(data)
            stream.held += len(data)

    def gone(self, stream: Stream) -> None:
        self._release(stream)
        cancel, stream.cancel = stream.cancel, None
        if cancel is not None:
            cancel()

    def complete(self, connection: Connection, stream: Stream) -> None:
        request = stream.request
        try:
            message = messages.read_message(
                stream.body.whole(), request.encoding, self.listening.message_bytes
            )
        except ServingError as error:
            self._fail(connection, stream, error)
            return
        method = request.method
        if not isinstance(method, _Method):
            self._start(connection, stream, method(connection, stream, message))
            return
        kind = (method.handler, _model_spec(message))
        call = self.core.call(method.name, "GRPC")
        work = (call, kind, len(message), method.handler, message)
        if not method.waits and self.core.is_quick(kind, len(message)):
            try:
                answer = self.core.answer_now(*work)
            except Exception as error:
                self._fail(connection, stream, error)
            else:
                self._answer(connection, stream, answer)
            return
        if method.waits:
            work = (call, NEVER_INLINE, *work[2:])
        self._start(connection, stream, self._later(connection, stream, self.core.answer, *work))

    # === Answers ===

    def _start(self, connection: Connection, stream: Stream, work: Any) -> None:
        """Answer in a task of its own, which ends with the stream or at the client's deadline."""
        most = self.listening.concurrent_calls
        if most is not None and len(self._tasks) >= most:
            work.close()
            error = ServingError(Code.RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!")
            self._fail(connection, stream, error)
            return
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._guarded(connection, stream, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        stream.cancel = task.cancel
        if stream.request.timeout is not None:
            late = loop.call_later(stream.request.timeout, self._late, connection, stream)
            task.add_done_callback(lambda _: late.cancel())

    async def _guarded(self, connection: Connection, stream: Stream, work: Awaitable) -> None:
        try:
            await work
        except asyncio.CancelledError:
            pass  # the client has gone, or the deadline has passed
        except Exception as error:
            stream.cancel = None
            self._fail(connection, stream, error)

    async def _later(
        self, connection: Connection, stream: Stream, answer: Callable[..., Awaitable], *work: Any
    ) -> None:
        data = await answer(*work)
        stream.cancel = None
        self._answer(connection, stream, data)

    def _late(self, connection: Connection, stream: Stream) -> None:
        if stream.cancel is not None:
            self._fail(
                connection, stream, ServingError(Code.DEADLINE_EXCEEDED, "Deadline Exceeded")
            )

    def _answer(self, connection: Connection, stream: Stream, message: bytes) -> None:
        """Send an answer, if somebody still waits for it. It may have to wait for its client."""
        if connection.streams.get(stream.number) is not stream:
            return
        self._release(stream)
        if self._held + len(message) > self.listening.held_bytes:
            self._fail(connection, stream, _too_much())
            return
        self._held += len(message)
        stream.held = len(message)
        connection.respond(stream, messages.ANSWER, messages.with_prefix(message), messages.OK)

    def _release(self, stream: Stream) -> None:
        self._held -= stream.held
        stream.held = 0
        stream.body.clear()

    def _fail(self, connection: Connection, stream: Stream, error: Exception) -> None:
        if connection.streams.get(stream.number) is not stream:
            return
        known = from_exception(error)
        if known is not error and not hasattr(error, "error_code"):
            # not TensorFlow's error: a bug to be traced
            log.error("A call failed", exc_info=error)
        trailers = messages.status(int(known.code), known.message)
        connection.respond_briefly(stream, messages.STATUS_200 + messages.TYPE + trailers)


def _too_much() -> ServingError:
    return ServingError(Code.RESOURCE_EXHAUSTED, "Too many large requests at a time; try again.")


def _model_spec(request: bytes) -> bytes:
    """The serialised ModelSpec, which comes first in every request; empty where it does not."""
    if len(request) > 2 and request[0] == 0x0A and request[1] < 0x80:
        return request[2 : 2 + request[1]]
    return b""
