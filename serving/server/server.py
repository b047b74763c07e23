"""The server as a whole: models, two listeners, a start that waits and a stop that drains."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from serving.config.models import ModelConfig
from serving.errors import PortInUse, StartError
from serving.server.core import Core, Options
from serving.server.execution import Execution
from serving.server.flags import Flags
from serving.server.listen import RestServer, claim
from serving.server.loading import calm_collector, import_tensorflow, make_loader
from serving.server.manager import Manager
from serving.server.source import Source

if TYPE_CHECKING:
    from serving.server.grpc.service import GrpcServer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """What to serve and where. A port of None is off; 0 lets the system choose.

    `strict`: whether one model that cannot be loaded keeps the server from starting, as it does
    in TensorFlow Serving. A store is served as far as it can be.
    """

    flags: Flags
    list_models: Callable[[], Sequence[ModelConfig]]
    rest_port: int | None
    grpc_port: int | None
    host: str = "0.0.0.0"  # noqa: S104 — as the server it stands in for
    strict: bool = True


def serve(plan: Plan) -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests under way and return.

    Raises:
        StartError, ConfigError: the server could not start.
    """
    ports = [("REST", plan.rest_port), ("gRPC", plan.grpc_port)]
    sockets = {what: claim(plan.host, port, what) for what, port in ports if port is not None}
    # A missing store or a broken file is found before TensorFlow is imported.
    if not plan.list_models():
        log.warning("There is no model to serve yet; waiting for one")
    if "gRPC" in sockets:
        sockets.pop("gRPC").close()  # grpcio binds for itself; this only found out that it can
    signal.signal(signal.SIGTERM, _exit_at_once)
    signal.signal(signal.SIGINT, _exit_at_once)
    import_tensorflow()
    calm_collector()
    import uvloop

    loop = uvloop.new_event_loop()
    try:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(_Server(plan).run(sockets.get("REST")))
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def _exit_at_once(number: int, frame: object) -> None:
    """Until models are loaded there is nothing to finish."""
    os._exit(0)


class _Server:
    def __init__(self, plan: Plan):
        flags = plan.flags
        self._plan = plan
        self._manager = Manager(
            make_loader(flags),
            load_threads=flags.num_load_threads or 2,
            max_retries=flags.max_num_load_retries,
            retry_seconds=flags.load_retry_interval_micros / 1e6,
        )
        self._source = Source(self._manager, plan.list_models, flags.file_system_poll_wait_seconds)
        self._execution = Execution(max(1, flags.rest_api_num_threads))
        self._core = Core(self._manager, self._execution, options=Options())
        self._stop = asyncio.Event()

    async def run(self, rest_socket: socket.socket | None) -> None:
        """The server's whole life, from the first poll of the models to the last session closed."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        await asyncio.to_thread(self._source.start)
        grpc_server = rest_server = None
        try:
            await self._wait_for_models()
            if self._stop.is_set():
                return
            grpc_server = await self._start_grpc()
            rest_server = await self._start_rest(rest_socket)
            await self._stop.wait()
            log.info("Stopping: finishing the requests under way")
        finally:
            await self._shut_down(grpc_server, rest_server)

    async def _wait_for_models(self) -> None:
        while self._manager.undecided(patient=self._plan.strict) and not self._stop.is_set():
            await asyncio.sleep(0.02)
        failed = self._manager.failures()
        if failed and self._plan.strict:
            reasons = ", ".join(f"{{{v} due to error: {v.message}}}" for v in failed)
            raise StartError(f"{len(failed)} servable(s) did not become available: {{{reasons}}}")

    async def _start_grpc(self) -> GrpcServer | None:
        if self._plan.grpc_port is None:
            return None
        from serving.server.grpc.service import GrpcServer

        flags = self._plan.flags
        server = GrpcServer(
            self._core,
            message_bytes=flags.max_request_bytes,
            concurrent_calls=flags.grpc_max_threads or None,
        )
        address = f"{self._plan.host}:{self._plan.grpc_port}"
        try:
            port = await server.begin(address)
        except RuntimeError as error:
            raise PortInUse(self._plan.grpc_port, "gRPC", "it was free a moment ago") from error
        log.info("Running gRPC ModelServer at %s:%d ...", self._plan.host, port)
        return server

    async def _start_rest(self, listener: socket.socket | None) -> RestServer | None:
        if listener is None:
            return None
        from serving.server.rest.app import Limits, RestApp

        flags = self._plan.flags
        limits = Limits(flags.rest_api_timeout_in_ms / 1000, flags.max_request_bytes)
        app = RestApp(self._core, limits, cors=flags.rest_api_enable_cors_support)
        server = RestServer(app, listener)
        await server.begin()
        log.info("Exporting HTTP/REST API at:localhost:%d ...", listener.getsockname()[1])
        return server

    async def _shut_down(
        self, grpc_server: GrpcServer | None, rest_server: RestServer | None
    ) -> None:
        draining = []
        if grpc_server is not None:
            draining.append(grpc_server.drain())
        if rest_server is not None:
            draining.append(rest_server.drain())
        await asyncio.gather(*draining)
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._source.stop()
        self._execution.stop()
        self._manager.stop()
