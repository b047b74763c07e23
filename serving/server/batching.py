"""Batching: concurrent requests for one signature are run as one.

Requests queue by model version, signature and the shape of a row. A batch is run when it is full,
or when its first request has waited for the timeout and a thread is free. Where TensorFlow Serving
lets requests spoil each other, these do not: rows of different shapes go into different batches,
an empty request is answered at once, and a batch that fails is run again request by request.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from serving.config.batching import Batching
from serving.server.merging import merged, split
from serving.server.metrics import Metrics
from serving.server.status import Code, ServingError, invalid
from serving.server.steps import Outputs, Run

if TYPE_CHECKING:
    from serving.server.core import Call

MICRO = 1e6


@dataclass
class _Task:
    """One request, or a piece of a large one."""

    run: Run
    rows: int
    future: asyncio.Future[Outputs]
    enqueued: float = field(default_factory=perf_counter)


@dataclass
class _Batch:
    tasks: list[_Task] = field(default_factory=list)
    rows: int = 0
    opened: float = field(default_factory=perf_counter)


class Batcher:
    """Merges runs. Used from one event loop; the batches run on threads of its own.

    Args:
        parameters: how many threads there are, and what they are called; the rest comes with each
            servable.
        metrics: are told of queue times and batch sizes.
    """

    def __init__(self, parameters: Batching, metrics: Metrics):
        self._metrics = metrics
        self._pool = ThreadPoolExecutor(parameters.threads, parameters.pool_name)
        self._idle = parameters.threads
        self._queues: dict[Hashable, deque[_Batch]] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def run(self, run: Run, parameters: Batching) -> Outputs:
        """The outputs of `run`, computed together with those of other requests.

        Raises:
            ServingError: the queue is full (UNAVAILABLE), or the tensors cannot be batched.
            Exception: what the model raised.
        """
        rows = _rows(run)
        if rows > parameters.max_batch_size:
            raise invalid(
                f"Task size {rows} is larger than maximum input batch size "
                f"{parameters.max_batch_size}"
            )
        if rows == 0:
            return await asyncio.get_running_loop().run_in_executor(self._pool, run.now)
        if rows <= parameters.max_execution_size and not parameters.splits:
            return await self._enqueue(run, rows, parameters)
        start, parts = 0, []
        for size in self._pieces(run, rows, parameters):
            parts.append(self._enqueue(_slice(run, start, size), size, parameters))
            start += size
        found = await asyncio.gather(*parts)
        return {name: np.concatenate([part[name] for part in found]) for name in found[0]}

    def _pieces(self, run: Run, rows: int, parameters: Batching) -> list[int]:
        """How a request is split: its first rows fill up the batch that is open.

        Raises:
            ServingError: UNAVAILABLE, before a part of it is in the queue.
        """
        queue = self._queues.get(_key(run, parameters), ())
        batches, last = max(1, len(queue)), queue[-1].rows if queue else 0
        limit, most = parameters.max_execution_size, parameters.max_enqueued_batches
        capacity = (most - batches) * limit + limit - last
        if rows > capacity:
            raise ServingError(
                Code.UNAVAILABLE,
                "The batch scheduling queue to which this task was submitted is full; task size is "
                f"{rows} but scheduling capacity is only {capacity} (num_enqueued_batches="
                f"{batches}, max_enqueued_batches={most}, open_batch_size={last}, "
                f"max_execution_batch_size={limit})",
            )
        first = min(rows, limit - last)
        later = [min(limit, rows - start) for start in range(first, rows, limit)]
        return [first, *later] if first else later

    def _enqueue(self, run: Run, rows: int, parameters: Batching) -> asyncio.Future[Outputs]:
        key = _key(run, parameters)
        queue = self._queues.setdefault(key, deque())
        if not queue or queue[-1].rows + rows > parameters.max_execution_size:
            if len(queue) >= parameters.max_enqueued_batches:
                raise ServingError(
                    Code.UNAVAILABLE,
                    "The batch scheduling queue to which this task was submitted is full; "
                    f"currently {len(queue)} batches enqueued and max_enqueued_batches is "
                    f"{parameters.max_enqueued_batches}",
                )
            queue.append(_Batch())
        batch = queue[-1]
        task = _Task(run, rows, asyncio.get_running_loop().create_future())
        batch.tasks.append(task)
        batch.rows += rows
        self._dispatch()
        return task.future

    async def waiting(self, work: Awaitable[bytes], call: Call) -> bytes:
        """The result of `work`, in which `call` may wait for a batch.

        Raises:
            ServingError: RESOURCE_EXHAUSTED, where its time was up before a batch began with it.
            Exception: what `work` raises.
        """
        try:
            return await work
        except asyncio.TimeoutError:
            batches = (batch for queue in self._queues.values() for batch in queue)
            if any(task.run is call.batched for batch in batches for task in batch.tasks):
                raise ServingError(
                    Code.RESOURCE_EXHAUSTED,
                    "Run() timeout exceeded while waiting in batching queue",
                ) from None
            raise

    # === Which batch is next ===

    def _dispatch(self) -> None:
        """Start batches while a thread is free and one is due; come back when the next is."""
        while self._idle:
            due, wait = self._next_due()
            if due is None:
                self._wake_in(wait)
                return
            queue = self._queues.pop(due)
            batch = queue.popleft()
            if queue:
                self._queues[due] = queue  # at the end: queues take turns
            self._idle -= 1
            self._start(batch)

    def _next_due(self) -> tuple[Hashable | None, float | None]:
        now, soonest = perf_counter(), None
        for key, queue in self._queues.items():
            batch, parameters = queue[0], _parameters(queue[0])
            left = parameters.timeout_seconds - (now - batch.opened)
            if len(queue) > 1 or batch.rows >= parameters.max_execution_size or left <= 0:
                return key, None
            soonest = left if soonest is None else min(left, soonest)
        return None, soonest

    def _wake_in(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(seconds, self._dispatch)

    def _start(self, batch: _Batch) -> None:
        now = perf_counter()
        for task in batch.tasks:
            micros = (now - task.enqueued) * MICRO
            self._metrics.queuing_latency.record(micros, "")  # TensorFlow Serving names no pool
            self._metrics.queue_time.record(micros, *_labels(task.run))
        self._metrics.batch_runs.increment()
        self._metrics.batch_size.record(batch.rows, *_labels(batch.tasks[0].run))
        future = asyncio.get_running_loop().run_in_executor(self._pool, self._process, batch)
        future.add_done_callback(partial(self._finish, batch))

    def _finish(self, batch: _Batch, done: asyncio.Future) -> None:
        self._idle += 1
        for task, result in zip(batch.tasks, done.result(), strict=True):
            if task.future.cancelled():
                continue
            if isinstance(result, BaseException):
                task.future.set_exception(result)
            else:
                task.future.set_result(result)
        self._dispatch()

    # === On a batch thread ===

    def _process(self, batch: _Batch) -> list[Outputs | BaseException]:
        """An answer or an error for each task."""
        tasks = batch.tasks
        try:
            return self._together(tasks, batch.rows)
        except Exception as error:
            if len(tasks) == 1:
                return [error]
        results: list[Outputs | BaseException] = []
        for task in tasks:  # one of them is at fault: the others are answered all the same
            try:
                results += self._together([task], task.rows)
            except Exception as error:
                results.append(error)
        return results

    def _together(self, tasks: Sequence[_Task], rows: int) -> list[Outputs]:
        first = tasks[0].run
        parameters = first.servable.batching
        padding = parameters.padded(rows) - rows
        if padding:
            self._metrics.batch_padding.increment(*_labels(first), by=padding)
        feeds = {
            name: merged([task.run.feeds[name] for task in tasks], padding, parameters)
            for name in first.feeds
        }
        outputs = first.servable.run(first.signature, feeds, first.outputs)
        for array in outputs.values():
            if array.ndim == 0:
                raise ServingError(
                    Code.FAILED_PRECONDITION, "Batched output tensor has 0 dimensions"
                )
            if len(array) != rows + padding:
                raise ServingError(
                    Code.FAILED_PRECONDITION,
                    "Batched output tensor's 0th dimension does not equal the sum of the 0th "
                    "dimension sizes of the input tensors",
                )
        return split(outputs, [task.rows for task in tasks])

    def stop(self) -> None:
        """Wait for the batches under way."""
        self._pool.shutdown(wait=True)


def _labels(run: Run) -> tuple[str, str]:
    return run.servable.name, run.signature.key


def _parameters(batch: _Batch) -> Batching:
    return batch.tasks[0].run.servable.batching


def _rows(run: Run) -> int:
    """The common size of the inputs' first dimension."""
    arrays = list(run.feeds.values())
    if not arrays:
        raise invalid("Batching Run() must have at least one input tensor")
    if any(array.ndim == 0 for array in arrays):
        raise invalid("Batching Run() input tensors must have at least one dimension")
    if any(len(array) != len(arrays[0]) for array in arrays):
        raise invalid("Batching Run() input tensors must have equal 0th-dimension size")
    return len(arrays[0])


def _key(run: Run, parameters: Batching) -> Hashable:
    """What two runs have in common that can be one. Padded ones need only agree in rank."""
    shapes = tuple(
        array.ndim if parameters.pad_variable_length else array.shape[1:]
        for array in run.feeds.values()
    )
    return id(run.servable), run.signature.key, tuple(run.outputs or ()), shapes


def _slice(run: Run, start: int, size: int) -> Run:
    feeds = {name: array[start : start + size] for name, array in run.feeds.items()}
    return Run(run.servable, run.signature, feeds, run.outputs)
