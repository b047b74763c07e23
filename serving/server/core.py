"""The core: answers a request of either protocol, by whatever way its model is run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from serving.server.execution import Execution, until
from serving.server.manager import Manager
from serving.server.metrics import MAX_CELLS, Metrics
from serving.server.recording import Recording
from serving.server.status import Code, from_exception
from serving.server.steps import Outputs, Run, Steps

if TYPE_CHECKING:
    from serving.config.models import ModelConfig
    from serving.server.batching import Batcher

GRACE_SECONDS = 1.0


@dataclass(frozen=True)
class Options:
    """What flags change in answers."""

    check_method_names: bool = False
    tensor_content: bool = False


@dataclass(slots=True)
class Call:
    """One request while it is answered. The handler notes what it learns of it, for the metrics.

    `model` stays empty for requests that run no model: they are not counted.
    """

    core: Core
    api: str
    entrypoint: str
    model: str = ""
    version: int = 0
    signature: str = ""
    examples: int = 0
    run_seconds: float = 0.0
    started: float = field(default_factory=time.perf_counter)
    run_started: float | None = None  # while the model runs
    batched: Run | None = None  # what a batch is to run for it

    def left(self, timeout: float) -> float:
        """Seconds until this request is late.

        As in TensorFlow Serving, `timeout` is for the model. The rest of a request (waiting for a
        thread, reading, writing) has a second more, so that it does not wait without an end.
        """
        now = time.perf_counter()
        total = self.started + timeout + GRACE_SECONDS - now
        since = self.run_started  # read once: the model's thread changes it
        return min(total, timeout if since is None else since + timeout - now)

    def run(self, work: Callable[[], Outputs]) -> Outputs:
        """A run of the model on this thread, timed."""
        self.run_started = time.perf_counter()
        try:
            return work()
        finally:
            self.stop_clock()

    def stop_clock(self) -> None:
        """The model has answered."""
        self.run_seconds += time.perf_counter() - (self.run_started or 0.0)
        self.run_started = None


class Core:
    """What both protocols share: the models, the threads, the metrics.

    Args:
        manager: the models.
        execution: where the work of requests runs.
        options: what flags change in answers.
        batcher: merges runs; None for not at all.
        reload: serves another list of models; it returns when they are available.
    """

    def __init__(
        self,
        manager: Manager,
        execution: Execution,
        *,
        options: Options = Options(),
        metrics: Metrics | None = None,
        batcher: Batcher | None = None,
        reload: Callable[[list[ModelConfig]], None] | None = None,
    ):
        self.manager, self.execution, self.options = manager, execution, options
        self.metrics = metrics or Metrics()
        self._recordings: dict[tuple, Recording] = {}
        self._batcher = batcher
        self._background: set[asyncio.Task] = set()
        self.reload = reload
        self.draining = False
        self._in_flight = 0
        self.metrics.in_flight.ask = lambda: {(): self._in_flight}
        self.metrics.versions.ask = self._versions

    def call(self, api: str, entrypoint: str) -> Call:
        """A new request, by its method's name (`Predict`) and its protocol (`GRPC`, `REST`)."""
        return Call(self, api, entrypoint)

    async def answer(
        self,
        call: Call,
        kind: Hashable,
        size: int,
        handler: Callable[..., Steps | bytes],
        *args: Any,
        timeout: float | None = None,
    ) -> bytes:
        """`handler(call, *args)` with all its steps, for a request of `size` bytes.

        Raises:
            asyncio.TimeoutError: after `timeout` seconds.
            Exception: what the handler or the model raised.
        """
        left = None if timeout is None else partial(call.left, timeout)
        with _Counted(self, call):
            if self._batcher is None:
                return await self.execution.run(
                    kind, size, _straight, call, handler, *args, left=left
                )
            return await self._in_steps(call, kind, size, handler, *args, left=left)

    def is_quick(self, kind: Hashable, size: int) -> bool:
        """Whether such a request is best answered by `answer_now`, without leaving the loop."""
        return self._batcher is None and self.execution.is_quick(kind, size)

    def answer_now(
        self,
        call: Call,
        kind: Hashable,
        size: int,
        handler: Callable[..., Steps | bytes],
        *args: Any,
    ) -> bytes:
        """As `answer`, on this thread and at once."""
        with _Counted(self, call):
            return self.execution.now(kind, size, _straight, call, handler, *args)

    async def _in_steps(self, *args: Any, left: Callable[[], float] | None) -> bytes:
        """Step by step, so that runs can wait for a batch.

        The steps end even where nobody waits for them any more: a lease ends with them.
        """
        task = asyncio.create_task(self._steps(*args))
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        task.add_done_callback(_swallow)  # where the client has gone, nobody looks at its error
        work = asyncio.shield(task) if left is None else until(task, left)
        return await self._batcher.waiting(work, args[0])

    async def _steps(
        self,
        call: Call,
        kind: Hashable,
        size: int,
        handler: Callable[..., Steps | bytes],
        *args: Any,
    ) -> bytes:
        steps, found = await self.execution.run(("begin", kind), size, _begin, call, handler, *args)
        while isinstance(found, Run):
            outcome = await self._outcome(call, kind, size, found)
            found = await self.execution.run(("end", kind), size, _advance, steps, outcome)
        return found

    async def _outcome(
        self, call: Call, kind: Hashable, size: int, run: Run
    ) -> Outputs | BaseException:
        """A run's outputs, or what it raised."""
        try:
            await self.execution.run(("ready", kind), size, run.ready)
        except Exception as error:
            return error
        call.batched, call.run_started = run, time.perf_counter()
        try:
            if run.servable.batching is None:
                return await self.execution.run(("run", kind), size, run.now)
            return await self._batcher.run(run, run.servable.batching)
        except Exception as error:
            return error
        finally:
            call.stop_clock()

    async def finish(self) -> None:
        """Wait for the requests that are answered in the background."""
        if self._background:
            await asyncio.wait(self._background)
        if self._batcher is not None:
            self._batcher.stop()

    def _record(self, call: Call, code: Code, seconds: float) -> None:
        if code is not Code.OK:
            self.metrics.request_count.increment(call.model, code.name)
            return
        kind = (call.model, call.version, call.signature, call.api, call.entrypoint)
        recording = self._recordings.get(kind)
        if recording is None:
            if len(self._recordings) >= MAX_CELLS:
                self._recordings.clear()
            recording = self._recordings[kind] = Recording(self.metrics, *kind)
        recording.add(seconds, call.run_seconds)
        if call.examples:
            self.metrics.example_counts.record(call.examples, call.model)
            self.metrics.example_total.increment(call.model, by=call.examples)

    def _versions(self) -> dict[tuple[str, ...], int]:
        return {
            (version.model, str(version.number), version.state.name): 1
            for version in self.manager.all_versions()
        }


class _Counted:
    """While a request is answered: it is in flight, and then it is in the metrics."""

    __slots__ = ("_call", "_core")

    def __init__(self, core: Core, call: Call):
        self._core, self._call = core, call

    def __enter__(self) -> None:
        self._core._in_flight += 1

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        core, call = self._core, self._call
        core._in_flight -= 1
        if not call.model:
            return
        code = Code.OK
        if isinstance(error, asyncio.TimeoutError):
            code = Code.DEADLINE_EXCEEDED
        elif isinstance(error, asyncio.CancelledError):
            code = Code.CANCELLED
        elif error is not None:
            code = from_exception(error).code
        core._record(call, code, time.perf_counter() - call.started)


def _straight(call: Call, handler: Callable[..., Steps | bytes], *args: Any) -> bytes:
    """Take all steps of a request here and now; returns its answer."""
    steps = handler(call, *args)
    if isinstance(steps, bytes):
        return steps
    try:
        run = next(steps)
        while True:
            try:
                run.ready()
                outputs = call.run(run.now)
            except BaseException as error:
                run = steps.throw(error)
            else:
                run = steps.send(outputs)
    except StopIteration as end:
        return end.value


def _begin(
    call: Call, handler: Callable[..., Steps | bytes], *args: Any
) -> tuple[Steps | None, Run | bytes]:
    """The steps of a request, and its first run or already its answer."""
    steps = handler(call, *args)
    if isinstance(steps, bytes):
        return None, steps
    try:
        run = next(steps)
    except StopIteration as end:
        return None, end.value
    return steps, run


def _advance(steps: Steps, outcome: Outputs | BaseException) -> Run | bytes:
    """Tell the handler what its run gave; returns its next run or its answer."""
    try:
        if isinstance(outcome, BaseException):
            return steps.throw(outcome)
        return steps.send(outcome)
    except StopIteration as end:
        return end.value


def _swallow(task: asyncio.Task) -> None:
    """Look at a result that nobody waits for, so that its error is not logged as forgotten."""
    if not task.cancelled():
        task.exception()
