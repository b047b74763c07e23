"""The server as a whole: models, listeners, a start that waits and a stop that drains."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

from serving.config.batching import Batching
from serving.config.models import ModelConfig
from serving.errors import StartError
from serving.server.batching import Batcher
from serving.server.core import Core, Options
from serving.server.execution import INLINE_SECONDS, ONE_CORE_INLINE_SECONDS, Execution
from serving.server.flags import Flags, cores, processes, share_of
from serving.server.grpc.listen import from_flags as grpc_listening
from serving.server.listen import claim, claim_path
from serving.server.loading import (
    calm_collector,
    import_tensorflow,
    make_loader,
    set_environment,
)
from serving.server.metrics import Metrics
from serving.server.workers.lister import Lister
from serving.server.workers.role import Alone, Member
from serving.server.workers.supervisor import Supervisor
from serving.server.workers.turn import Turn
from zoo.errors import ZooError

if TYPE_CHECKING:
    from serving.server.grpc.service import GrpcServer
    from serving.server.rest.service import RestServer

log = logging.getLogger(__name__)

NO_TIMEOUT_SECONDS = 365 * 24 * 3600.0  # for a timeout of 0 or less, which is none


@dataclass(frozen=True)
class Plan:
    """What to serve and where. A port of None is off; 0 lets the system choose.

    Args:
        flags: everything that has a flag, but for the two ports.
        batching: how concurrent requests are merged; None for not at all.
        list_models: which models; called again every `list_seconds`, 0 for once.
        reloadable: whether a client may replace the models with HandleReloadConfigRequest.
        metrics_path: where the Prometheus page is; empty for nowhere.
        strict: whether one model that cannot be loaded keeps the server from starting, as it does
            in TensorFlow Serving. A store is served as far as it can be.
    """

    flags: Flags
    list_models: Callable[[], Sequence[ModelConfig]]
    rest_port: int | None
    grpc_port: int | None
    host: str = "0.0.0.0"  # noqa: S104 — as the server it stands in for
    batching: Batching | None = None
    list_seconds: float = 0
    reloadable: bool = True
    metrics_path: str = ""
    strict: bool = True


def serve(plan: Plan) -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests under way and return.

    Raises:
        StartError, ConfigError: the server could not start.
    """
    ports = [("REST", plan.rest_port), ("gRPC", plan.grpc_port)]
    sockets = {what: claim(plan.host, port, what) for what, port in ports if port is not None}
    if plan.flags.grpc_socket_path:
        sockets["Unix"] = claim_path(plan.flags.grpc_socket_path)
    # A missing store or a broken file is found before TensorFlow is imported.
    if not plan.list_models():
        log.warning("There is no model to serve yet; waiting for one")
    if "REST" in sockets and find_spec("serving.server.rest._numbers") is None:
        log.warning("Installed without a C compiler: REST reads numbers several times as slowly")
    count = processes(plan.flags)
    if count > 1:
        lister = Lister(plan.list_models, plan.list_seconds)
        work = partial(_work, plan, sockets, count)
        Supervisor(work, count, lister=lister, sockets=sockets, lines=_lines(plan, sockets)).run()
        return
    signal.signal(signal.SIGTERM, _exit_at_once)
    signal.signal(signal.SIGINT, _exit_at_once)
    _run(plan, sockets, Alone())


def _work(
    plan: Plan, sockets: Mapping[str, socket.socket], count: int, end: socket.socket, turn: Turn
) -> None:
    """One of `count` processes: `end` is its channel to the supervisor."""
    member = Member(end, turn)
    try:
        _run(replace(plan, flags=share_of(plan.flags, count)), sockets, member)
    except ZooError as error:
        member.failed(error)


def _run(plan: Plan, sockets: Mapping[str, socket.socket], role: Alone) -> None:
    set_environment(plan.flags)
    import_tensorflow()
    calm_collector()
    import uvloop

    loop = uvloop.new_event_loop()
    try:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(_Server(plan, role).run(sockets))
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def _lines(plan: Plan, sockets: Mapping[str, socket.socket]) -> list[str]:
    """What is logged when requests are answered: scripts wait for it."""
    lines = []
    if "gRPC" in sockets:
        port = sockets["gRPC"].getsockname()[1]
        lines.append(f"Running gRPC ModelServer at {plan.host}:{port} ...")
    if "Unix" in sockets:
        path = plan.flags.grpc_socket_path
        lines.append(f"Running gRPC ModelServer at UNIX socket {path} ...")
    if "REST" in sockets:
        port = sockets["REST"].getsockname()[1]
        lines.append(f"Exporting HTTP/REST API at:localhost:{port} ...")
    return lines


def _exit_at_once(number: int, frame: object) -> None:
    """Until models are loaded there is nothing to finish."""
    os._exit(0)


class _Server:
    def __init__(self, plan: Plan, role: Alone):
        flags = plan.flags
        self._plan, self._role = plan, role
        metrics = Metrics()
        self._manager = role.manager(
            make_loader(flags, metrics, plan.batching),
            load_threads=flags.num_load_threads if flags.num_load_threads > 0 else 2,
            unload_threads=max(1, flags.num_unload_threads),
            max_retries=flags.max_num_load_retries,
            retry_seconds=flags.load_retry_interval_micros / 1e6,
        )
        self._source = role.source(
            self._manager,
            plan.list_models,
            flags.file_system_poll_wait_seconds,
            plan.list_seconds,
            unavailable_labels=flags.allow_version_labels_for_unavailable_models,
        )
        inline = INLINE_SECONDS if cores() > processes(flags) else ONE_CORE_INLINE_SECONDS
        self._execution = Execution(max(1, flags.rest_api_num_threads), inline)
        self._core = Core(
            self._manager,
            self._execution,
            options=Options(
                check_method_names=flags.enable_signature_method_name_check,
                tensor_content=flags.enable_serialization_as_tensor_content,
            ),
            metrics=metrics,
            batcher=Batcher(plan.batching, metrics) if plan.batching else None,
            reload=role.reload if plan.reloadable else None,
        )
        self._listening = grpc_listening(flags)
        self._stop = asyncio.Event()

    async def run(self, sockets: Mapping[str, socket.socket]) -> None:
        """The server's whole life, from the first poll of the models to the last session closed.

        Args:
            sockets: bound ones for `REST`, `gRPC` and `Unix`, where they are served.
        """
        await self._role.begin(self._stop, self._core.metrics)
        await asyncio.to_thread(self._source.start)
        grpc_server = rest_server = None
        try:
            await self._wait_for_models()
            await self._role.loaded()
            if self._stop.is_set():
                return
            grpc_server = self._start_grpc(sockets)
            rest_server = self._start_rest(sockets.get("REST"))
            self._role.serving(_lines(self._plan, sockets))
            await self._stop.wait()
            self._core.draining = True
            await asyncio.to_thread(self._source.stop)  # a reload that waits for a model gives up
        finally:
            await self._shut_down(grpc_server, rest_server)

    async def _wait_for_models(self) -> None:
        while self._manager.undecided(patient=self._plan.strict) and not self._stop.is_set():
            await asyncio.sleep(0.02)
        reason = self._manager.unavailable()
        if reason and self._plan.strict:
            raise StartError(reason)
        log.info("Finished adding/updating models")

    def _start_grpc(self, sockets: Mapping[str, socket.socket]) -> GrpcServer | None:
        listeners = [sockets[what] for what in ("gRPC", "Unix") if what in sockets]
        if not listeners:
            return None
        from serving.server.grpc.service import GrpcServer

        server = GrpcServer(self._core, self._listening, self._role.turn)
        server.begin(listeners)
        return server

    def _start_rest(self, listener: socket.socket | None) -> RestServer | None:
        if listener is None:
            return None
        from serving.server.rest.app import Limits, RestApp
        from serving.server.rest.service import RestServer

        flags = self._plan.flags
        timeout = flags.rest_api_timeout_in_ms / 1000
        limits = Limits(timeout if timeout > 0 else NO_TIMEOUT_SECONDS, flags.max_request_bytes)
        app = RestApp(
            self._core,
            limits,
            cors=flags.rest_api_enable_cors_support,
            metrics_path=self._plan.metrics_path,
            metrics_page=self._role.page,
        )
        server = RestServer(app, listener, self._role.turn)
        server.begin()
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
        await self._core.finish()
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._source.stop()
        self._execution.stop()
        self._manager.stop()
