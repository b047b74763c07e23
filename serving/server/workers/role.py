"""What a serving process is: the only one of its server, or one of several."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from serving.config.models import ModelConfig
from serving.server.manager import Manager
from serving.server.metrics import Metrics
from serving.server.source import ListModels, Source
from serving.server.status import Code, ServingError, from_exception
from serving.server.workers import failure, totals
from serving.server.workers.channel import Message, pack
from serving.server.workers.link import Link
from serving.server.workers.shared import (
    SharedManager,
    SharedSource,
    models_from_json,
    models_to_json,
)
from serving.server.workers.turn import Turn
from serving.server.workers.view import Report
from zoo.errors import ZooError

log = logging.getLogger(__name__)

PUSH_SECONDS = 1.0  # between two reports of what was counted: a death loses no more
ORPHAN_SECONDS = 5.0  # for a supervisor that has closed its files to be gone
RELOADS = 16  # that may wait for models at a time


class Alone:
    """The only process of its server."""

    turn: Turn | None = None

    def manager(self, *args: Any, **options: Any) -> Manager:
        """The models."""
        return Manager(*args, **options)

    def source(
        self, manager: Manager, list_models: ListModels, poll: float, relist: float, **options: Any
    ) -> Source:
        """What says which models there are."""
        self._source = Source(manager, list_models, poll, relist, **options)
        return self._source

    def reload(self, models: list[ModelConfig]) -> None:
        """Serve these models; returns when they are available. Not on the loop's thread.

        Raises:
            ServingError: they are not, or labels cannot be assigned.
        """
        self._source.reload(models)

    async def begin(self, stop: asyncio.Event, metrics: Metrics) -> None:
        """The loop runs: `stop` is set when the process shall end."""
        self._metrics = metrics
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, stop)

    def _stop(self, stop: asyncio.Event) -> None:
        if not stop.is_set():
            log.info("Stopping: finishing the requests under way")
        stop.set()

    async def loaded(self) -> None:
        """The models are loaded; on return, connections may be accepted."""

    def serving(self, lines: Sequence[str]) -> None:
        """Requests are answered; `lines` say where."""
        for line in lines:
            log.info("%s", line)

    async def page(self) -> bytes:
        """The Prometheus page."""
        return self._metrics.page()


class Member(Alone):
    """One of several processes. What it is told, and asked, comes from the supervisor.

    Args:
        end: its end of the channel.
        turn: its place among those who accept connections.
    """

    _manager: SharedManager
    _source: SharedSource
    _stop_event: asyncio.Event

    def __init__(self, end: socket.socket, turn: Turn):
        self._end, self.turn = end, turn
        self._last_words, self._parent = end.dup(), os.getppid()
        self._link = Link(self._heard, self._orphaned)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._models: list[ModelConfig] = []
        self._told: Report | None = None
        self._told_counts: totals.States = {}
        self._report_is_due = False
        self._may_accept = asyncio.Event()
        self._order = asyncio.Lock()
        self._waiting = ThreadPoolExecutor(RELOADS, thread_name_prefix="reload")
        self._tasks: set[asyncio.Task] = set()

    # === What this process does in its own way ===

    def manager(self, *args: Any, **options: Any) -> Manager:
        self._manager = SharedManager(*args, changed=self._changed, **options)
        return self._manager

    def source(
        self, manager: Manager, list_models: ListModels, poll: float, relist: float, **options: Any
    ) -> Source:
        """The supervisor lists the models, so that all workers have the same ones."""
        self._source = SharedSource(manager, lambda: self._models, poll, 0, **options)
        return self._source

    def reload(self, models: list[ModelConfig]) -> None:
        asked = self._link.ask("reload", models=models_to_json(models))
        try:
            answer = asyncio.run_coroutine_threadsafe(asked, self._loop).result()
        except ConnectionError:
            raise ServingError(Code.UNAVAILABLE, "The server is stopping.") from None
        if answer["code"]:
            raise ServingError(Code(answer["code"]), answer["message"])

    async def begin(self, stop: asyncio.Event, metrics: Metrics) -> None:
        self._metrics, self._stop_event = metrics, stop
        self._loop = asyncio.get_running_loop()
        await self._loop.create_unix_connection(lambda: self._link, sock=self._end)
        try:
            told = await self._link.ask("hello")
        except ConnectionError:
            return
        self._models = models_from_json(told["models"])
        self._source.allow_all_labels(told["late"])

    async def loaded(self) -> None:
        self._report()
        self._link.tell("loaded")
        waiting = [asyncio.ensure_future(e.wait()) for e in (self._may_accept, self._stop_event)]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for each in waiting:
            each.cancel()
        self._source.allow_all_labels(False)

    def serving(self, lines: Sequence[str]) -> None:
        self._link.tell("serving")
        self._begin_task(self._push())

    async def page(self) -> bytes:
        try:
            others = (await self._link.ask("collect"))["states"]
        except ConnectionError:
            others = []
        return totals.page(self._metrics, others)

    def failed(self, error: ZooError) -> None:
        """The last words of a process that cannot start."""
        self._last_words.setblocking(True)
        with contextlib.suppress(OSError):  # nobody is there to hear it
            self._last_words.sendall(pack({"kind": "failed", "error": failure.to_json(error)}))

    # === What the supervisor tells ===

    def _heard(self, message: Message) -> None:
        {
            "view": self._show,
            "accept": lambda _: self._may_accept.set(),
            "stop": lambda _: self._stop_event.set(),
            "check": self._check,
            "reload": lambda message: self._begin_task(self._reload(message)),
            "collect": self._collect,
            "sync": self._reply,
        }[message["kind"]](message)

    def _orphaned(self) -> None:
        if not self._stop_event.is_set():
            self._begin_task(self._end_alone())

    async def _end_alone(self) -> None:
        """Finish, once it is sure that the supervisor is gone: its files go before it does.

        While it lives, the listeners are still the other workers', and must not be closed for all.
        """
        deadline = time.monotonic() + ORPHAN_SECONDS
        while os.getppid() == self._parent:
            if time.monotonic() > deadline:
                log.error("The channel to the supervisor is broken")
                os._exit(1)
            await asyncio.sleep(0.02)
        log.error("The supervisor is gone: finishing the requests under way")
        self._stop_event.set()

    def _reply(self, question: Message, /, **fields: Any) -> None:
        self._link.tell("reply", id=question["id"], **fields)

    def _show(self, message: Message) -> None:
        self._manager.show(Report.from_json(message))

    def _collect(self, message: Message) -> None:
        self._reply(message, states=totals.states(self._metrics, all_kinds=True))

    def _check(self, message: Message) -> None:
        """Whether the labels of a reload can be assigned: else no worker changes anything."""
        try:
            self._source.check(models_from_json(message["models"]))
        except ServingError as error:
            self._reply_error(message, error)
        else:
            self._reply_error(message, None)

    def _reply_error(self, message: Message, error: Exception | None) -> None:
        known = None if error is None else from_exception(error)
        code, text = (int(known.code), known.message) if known else (0, "")
        self._reply(message, code=code, message=text)

    async def _reload(self, message: Message) -> None:
        """Serve other models. Those of the next reload are taken as soon as these are."""
        models, loop = models_from_json(message["models"]), asyncio.get_running_loop()
        work = self._source.reload if message["wait"] else self._source.replace
        async with self._order:
            before = self._source.generation
            running = loop.run_in_executor(self._waiting, partial(work, models))
            while not running.done() and self._source.generation == before:
                await asyncio.sleep(0.005)
        error = None
        try:
            await running
        except Exception as raised:
            error = raised
        self._report()
        self._reply_error(message, error)

    # === What the supervisor is told ===

    def _changed(self) -> None:
        """From any thread: something about the versions is different."""
        if self._loop is not None and not self._report_is_due:
            self._report_is_due = True
            with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody asks any more
                self._loop.call_soon_threadsafe(self._report)

    def _report(self) -> None:
        self._report_is_due = False
        report = self._manager.report()
        if report != self._told:
            self._told = report
            self._link.tell("report", **report.to_json())

    async def _push(self) -> None:
        while True:
            self._report()
            counts = totals.states(self._metrics, all_kinds=False)
            if counts != self._told_counts:
                self._told_counts = counts
                self._link.tell("counts", states=counts)
            await asyncio.sleep(PUSH_SECONDS)

    def _begin_task(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
